"""Pixel-level and image-level measures of localization, and their intervals."""
