"""Copy-moves found without learning: parts of an image that occur on it twice."""
