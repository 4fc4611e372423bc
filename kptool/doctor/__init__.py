"""Examining a cache for labels that are wrong."""
