"""The formats that `kptool convert` writes: one file each, all listed in `kptool.data.writers.formats`."""
