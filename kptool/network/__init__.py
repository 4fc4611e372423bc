"""The keypoint model, its layers, and its weights files."""
