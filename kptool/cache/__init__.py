"""From a source to an HDF5 cache: extraction, the train/validation split, and the file's layout."""
