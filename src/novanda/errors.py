"""The tree of errors that novanda raises on purpose.

Every message says what was expected, what came, and what to do. The command line turns each of these
into one line on standard error and exit code 2 (130 for `Interrupted`); anything else is a bug.
"""


class NovandaError(Exception):
    """Root of the tree: catch this to catch everything novanda raises on purpose."""


class InputError(NovandaError, ValueError):
    """An argument, a hyper-parameter or an array is not what is needed."""


class DataError(NovandaError, ValueError):
    """A file, a folder or a data set can not be read or can not serve."""


class CalibrationError(NovandaError, ValueError):
    """The held-out normals can not support what is asked of them."""


class ModelFileError(NovandaError, ValueError):
    """A file is not a fitted detector or a checkpoint that this version can read."""


class ExportError(NovandaError, RuntimeError):
    """A detector can not be exported, or its exported file does not score as it does."""


class TrainingError(NovandaError, RuntimeError):
    """Training can not go on, for instance because a loss is no longer finite."""


class Interrupted(NovandaError):
    """The user stopped a training run; the message says what was kept and how to go on."""
