"""Helpers that the dataset readers share: table columns, visibility flags, YOLO paths, foreign formats."""
