"""Training, evaluation and scanning: what the commands do, without printing."""
