"""What knows the operating system: files, HDF5, signals, processes, text, devices."""
