"""The exception tree. The command line turns each into one sentence and an exit code, in one place."""

from __future__ import annotations


def one_line(error: BaseException) -> str:
    """What an error of somebody else's says, as part of a sentence."""
    return " ".join(str(error).split())


class EtbacError(Exception):
    """Something the user can mend: the message says what was asked, what was found and what to do."""

    exit_code = 1


class UsageError(EtbacError):
    """The request itself is malformed (exit code 2, as click's own usage errors)."""

    exit_code = 2


class VerificationError(EtbacError):
    """The chain does not give the full model's answers (exit code 3)."""

    exit_code = 3


class MissingPackageError(EtbacError):
    """An optional package is needed and absent; the message holds the line that installs it."""


class UnsafeFileError(EtbacError):
    """Reading the file would execute code that it brings along."""


class EngineDirError(EtbacError):
    """An engine directory is missing, incomplete, changed or from another schema version."""


class UnsupportedModelError(EtbacError):
    """The model cannot be split or exported; the message names the operator, value or module."""


class InputError(EtbacError):
    """Inputs of the wrong name, rank, size, type or content."""


class BackendRefusal(EtbacError):  # noqa: N818
    """A backend cannot build what a segment holds; the message names the segment and the operator."""
