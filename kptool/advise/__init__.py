"""Advice: which model to train, how much more labels would help, which images to label next."""
