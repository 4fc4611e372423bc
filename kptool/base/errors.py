"""What can go wrong for a reason the user can mend.

Lower layers raise these with one sentence that names the value, what was expected and the fix; the
command line prints that sentence, once, and exits with status 2. Any other exception is a bug of kptool's.
"""


class KptoolError(Exception):
    """Base of every error whose message is meant for the user."""


class DataError(KptoolError):
    """A file or array of the user's does not hold what it should."""


class CacheError(KptoolError):
    """An HDF5 cache is missing, damaged, or of a schema this version does not read."""


class ConfigError(KptoolError):
    """A setting is unknown, of the wrong type, or out of range."""


class CheckpointError(KptoolError):
    """A weights file or run folder is missing, damaged, or does not fit what it is used for."""
