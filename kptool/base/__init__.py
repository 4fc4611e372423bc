"""The vocabulary: errors, geometry, skeletons, settings. Nothing here imports torch."""
