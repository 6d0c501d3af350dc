"""Images, data sets and the forge."""
