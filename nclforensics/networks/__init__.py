"""The pivot network and its parts, and the files that hold its weights."""
