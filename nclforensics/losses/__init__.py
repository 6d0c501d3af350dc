"""The loss terms of NCL and their sum."""
