"""Localize image manipulation: which pixels of a photo were spliced in, copied over or removed."""

__version__ = "0.2.0a14"
__all__ = ["__version__"]
