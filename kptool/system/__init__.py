"""The parts that deal with the operating system: files, HDF5, signals, processes, text, devices."""
