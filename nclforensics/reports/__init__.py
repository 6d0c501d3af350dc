"""Documents of results and the pure functions that render them."""
