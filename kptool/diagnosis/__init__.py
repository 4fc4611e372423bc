"""Examination of a cache for wrong labels, swaps, duplicates and leaks."""
