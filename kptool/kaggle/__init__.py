"""Kaggle's submission file, and an estimate of its score."""
