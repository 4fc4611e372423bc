"""Loggers of trainings, one per file; see `kptool.plugins.Logger`."""
