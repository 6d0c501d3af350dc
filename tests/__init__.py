"""A real package, so that no `tests` folder that some library installed can shadow `tests.factories`."""
