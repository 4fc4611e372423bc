"""Errors that the user can fix.

Library code raises these with one sentence that names the offending value, what was expected and the fix; the command
line prints that sentence once and exits with status 2. Any other exception is a bug in kptool.
"""


class KptoolError(Exception):
    """Base class of the errors whose message is meant for the user."""


class DataError(KptoolError):
    """A file or array supplied by the user has invalid contents, or cannot be read or written."""


class CacheError(KptoolError):
    """An HDF5 cache is missing, damaged, or has a schema that this version does not read."""


class ConfigError(KptoolError):
    """A setting is unknown, has the wrong type, or is out of range."""


class CheckpointError(KptoolError):
    """A weights file or run folder is missing, damaged, or incompatible with its use."""
