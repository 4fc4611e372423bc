"""Advice: what to train, what more labels would bring, what to label next."""
