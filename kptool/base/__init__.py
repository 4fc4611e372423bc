"""Errors, geometry, skeletons and settings, which everything else imports. Nothing here imports torch."""
