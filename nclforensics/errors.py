"""Every error that the tool raises on purpose, each with the exit code of the command line.

    NclfError                        1   the root; never raised itself
    +-- UsageError                   2   an option or value that cannot be used
    |   +-- ConfigError              2   a TOML file with an unknown key or a wrong value
    +-- MissingInputError           11   a path that does not exist, a folder without photos
    +-- UnreadableImageError        12   one image that cannot be decoded (a batch records it and goes on)
    +-- NoReadableImageError        12   not one image of the run could be read
    +-- WeightsMissingError         13   no model at that place
    +-- WeightsMismatchError        14   the weights are not the ones that their manifest describes
    +-- DatasetError                15   a data set that is incomplete, mispaired or inverted
    +-- DeviceUnavailableError      16   a device or backend that this machine does not have
    +-- TrainingDivergedError       18   the loss stopped being a finite number
    +-- OutputError                 19   a result cannot be written (disk full, no permission, would overwrite)
    +-- VerificationError           20   a run, or this installation, that is not what its records say
    +-- ShapeError (ValueError)      1   a tensor or array of the wrong shape, from a caller of the library

The command line ends with these codes, and with: 0 done, 1 a bug of ours, 10 `--fail-on` was met,
17 some images were skipped, 130 interrupted, 141 the reader of the output went away.
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_DONE: Final = 0
EXIT_FAIL_ON_MET: Final = 10
EXIT_SOME_SKIPPED: Final = 17
EXIT_INTERRUPTED: Final = 130


class NclfError(Exception):
    """The root of all errors of this package: the message says what was expected, what was found and what to do."""

    exit_code: ClassVar[int] = 1


class UsageError(NclfError):
    """An option or value that cannot be used."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration with an unknown key or a value of the wrong type or range."""


class MissingInputError(NclfError):
    """A path that does not exist, or a folder in which nothing usable was found."""

    exit_code = 11


class UnreadableImageError(NclfError):
    """One image that cannot be decoded; a batch records it as skipped and goes on."""

    exit_code = 12


class NoReadableImageError(NclfError):
    """Not one image of the run could be read."""

    exit_code = 12


class WeightsMissingError(NclfError):
    """No model, or no weights in it, at the named place."""

    exit_code = 13


class WeightsMismatchError(NclfError):
    """Weights whose SHA-256, names or shapes differ from what their manifest and configuration say."""

    exit_code = 14


class DatasetError(NclfError):
    """A data set that is incomplete, mispaired, inverted or otherwise not what its loader expects."""

    exit_code = 15


class DeviceUnavailableError(NclfError):
    """A device or a kernel backend that this machine does not have."""

    exit_code = 16


class TrainingDivergedError(NclfError):
    """A training loss that is no longer finite; the last good checkpoint is kept."""

    exit_code = 18


class OutputError(NclfError):
    """A result that cannot be written: no space, no permission, or it would overwrite something."""

    exit_code = 19


class VerificationError(NclfError):
    """Files, records or results that differ from what was recorded."""

    exit_code = 20


class ShapeError(NclfError, ValueError):
    """A tensor or array whose shape does not fit; raised to callers of the library."""
