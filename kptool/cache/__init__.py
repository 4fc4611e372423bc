"""From a source to an HDF5 cache: extraction, the store and its layout."""
