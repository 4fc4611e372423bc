"""Training: from a cache to a run folder."""
