"""Labels and pictures: the contents of label files, locating the pictures they name, and reading both."""
