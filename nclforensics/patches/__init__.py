"""Patches: their grid, their roles, and which of them enter the loss."""
