"""The functions behind the commands, as `kptool.extract`, `kptool.train`, ... offer them; each returns a result object."""
