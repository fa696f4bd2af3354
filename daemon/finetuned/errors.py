"""
Everything finetuned raises on purpose.

* FinetunedError
  x ConfigError          the configuration is wrong; restarting will not help
  x DatasetError         one inbox file is unusable; the daemon goes on
    + MalformedExample   one line of it is not a training example
    + UnstableDataset    the file changed while it was being read
  x CannotImport         a user's rows cannot be read, or are not whole; nothing was written
  x SuiteError           a benchmark cannot be asked as it stands; the gate counts it as failed
  x WorkerError          a worker process failed
    + Interrupted        it was asked to stop and can go on later
    + Diverged           loss or gradients became NaN or Inf
    + OutOfMemory        one row alone does not fit in memory
  x ModelError           a model version is missing, incomplete or corrupt
    + BaseModelMissing   model.base names nothing that can be loaded
    + BrokenDownload     a model did not come whole, or not as expected
    + CorruptFile        a file does not match the hash in its manifest
    + CorruptRow         a row of the journal has a column or a word that is not known
  x RegistryError        a version may not be promoted, pruned or restored
  x ExportRefused        a version cannot be exported as asked; nothing was written
  x RecordError          a file that one process wrote for another is not what it must be
  x FilesLeft            --until-idle ended although files lie in the inbox
  x LockHeld             another process holds what must have one owner
  x AlreadyServed        a service of this root runs already
  x NoAnswer             a model that was asked gave no answer, or not all of it
  x Unavailable          the disk is full, read-only or gone; waiting may help
  x InvalidTransition    a bug in finetuned itself

Anything else that escapes is a bug too, and is left to crash the process.
"""

from __future__ import annotations

from pathlib import Path

EXIT_OK = 0
EXIT_DATAERR = 65
"""The dataset is unusable (sysexits EX_DATAERR)."""
EXIT_SOFTWARE = 70
"""A bug (EX_SOFTWARE)."""
EXIT_TEMPFAIL = 75
"""Interrupted and resumable, or the root is held by another supervisor (EX_TEMPFAIL)."""
EXIT_CONFIG = 78
"""The configuration is wrong, do not restart (EX_CONFIG)."""


class FinetunedError(Exception):
    """
    Base class of every error finetuned raises on purpose.
    """

    exit_status = EXIT_SOFTWARE
    """The exit status of a process that ends with this error."""


class ConfigError(FinetunedError):
    """
    A configuration value is missing, unknown or out of range.
    """

    exit_status = EXIT_CONFIG


class DatasetError(FinetunedError):
    """
    An inbox file cannot be trained on as it stands.
    """

    exit_status = EXIT_DATAERR


class MalformedExample(DatasetError):
    """
    One line of a dataset is not a valid training example.

    The other lines are unaffected; *code* is the short name under which the
    ingestion report counts it, *reason* names the place and what was found there,
    and *hint*, which may be empty, says what to do.
    """

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(f"{code}: {reason}" + (f". {hint}" if hint else ""))
        self.code = code
        self.reason = reason
        self.hint = hint


class UnstableDataset(DatasetError):
    """
    A file changed after it was claimed; it goes back to waiting.
    """

    exit_status = EXIT_TEMPFAIL


class CannotImport(FinetunedError):
    """
    A source of which nothing is imported; the message says what was found and what to do.
    """


class SuiteError(FinetunedError):
    """
    A suite, or one line of it, cannot be asked.

    A rule that needs it fails: a suite that cannot be read never passes.
    """

    exit_status = EXIT_DATAERR

    def __init__(self, path: Path, line: int | None, reason: str) -> None:
        super().__init__(f"{path.name}{'' if line is None else f':{line}'}: {reason}")
        self.path = path
        self.line = line
        self.reason = reason


class WorkerError(FinetunedError):
    """
    A worker process failed.
    """


class Interrupted(WorkerError):
    """
    A worker was asked to stop; its progress is in its last checkpoint.
    """

    exit_status = EXIT_TEMPFAIL


class Diverged(WorkerError):
    """
    Loss or gradients became NaN or Inf; the last good checkpoint is untouched.
    """

    exit_status = EXIT_DATAERR


class OutOfMemory(WorkerError):
    """
    A single row needs more memory than there is; no smaller micro-batch can be tried.
    """

    exit_status = EXIT_DATAERR

    def __init__(self, tokens: int, detail: str) -> None:
        super().__init__(
            f"one row of {tokens} tokens does not fit in memory ({detail.splitlines()[0][:200]}); "
            "shorten it, set data.max_length below it, use a smaller model.base, or set "
            "training.gradient_checkpointing = true"
        )
        self.tokens = tokens


class ModelError(FinetunedError):
    """
    A model version, checkpoint or base is missing, incomplete or corrupt.
    """


class BaseModelMissing(ModelError):
    """
    ``model.base`` is neither a model directory nor a cached hub id.
    """

    exit_status = EXIT_CONFIG

    def __init__(self, base: str, looked: list[Path], bases: Path | None = None) -> None:
        """
        Say where the model was looked for, and how to get it.

        Args:
            base: As the configuration names it.
            looked: Folders without a config.json.
            bases: The root's models/base/, where a download belongs; None gives no such hint.
        """
        places = ", ".join(str(p) for p in looked)
        hint = "" if bases is None or Path(base).is_absolute() else _how_to_get(base, bases)
        super().__init__(f"base model {base!r} not found (looked in {places}){hint}")
        self.base = base
        self.looked = looked


def _how_to_get(base: str, bases: Path) -> str:
    owner, _, name = base.strip("/").rpartition("/")
    whose = "" if owner else " (OWNER is the account on huggingface.co, as Qwen in Qwen/Qwen3-0.6B)"
    return (
        f"; to download it: finetuned base fetch {owner or 'OWNER'}/{name} --root "
        f'{bases.parents[1]}{whose}, then set base = "{name}" under [model] in config.toml; '
        '"micro" comes with the program; finetuned base list shows what is here and what can be '
        "fetched without an owner"
    )


class BrokenDownload(ModelError):
    """
    A model that was being downloaded did not come, not whole, or not as expected.

    Nothing of it is used; fetching it again may help.
    """

    exit_status = EXIT_TEMPFAIL


class CorruptFile(ModelError):
    """
    A file's bytes do not match its manifest, or the manifest is missing.
    """

    def __init__(self, path: Path, found: str, expected: str) -> None:
        super().__init__(f"{path}: found {found}, manifest says {expected}")
        self.path = path
        self.found = found
        self.expected = expected


class CorruptRow(ModelError):
    """
    A row of the journal is not one that this version of the program writes.
    """

    exit_status = EXIT_CONFIG
    """A start that finds it must not be repeated: a person has to put the journal right."""

    def __init__(self, journal: Path, table: str, row: str, problem: str) -> None:
        super().__init__(
            f"{journal}: table {table}, row {row}: {problem}; put back a copy of the journal, "
            "or move it away to have it made again from the versions"
        )


class RegistryError(FinetunedError):
    """
    A version may not be promoted, pruned, pinned or restored as asked.

    Nothing was changed.
    """


class ExportRefused(FinetunedError):
    """
    A version cannot be exported as asked; nothing of the export is left.
    """

    exit_status = 1


class RecordError(FinetunedError):
    """
    A file that one process wrote for another has other keys or types than expected.

    Both run the same version of the program, so this is a bug, or the file was edited.
    """

    def __init__(self, source: str, where: str, problem: str) -> None:
        place = where.lstrip(".")
        super().__init__(f"{source}: {f'{place}: ' if place else ''}{problem}")
        self.source = source
        self.where = place
        self.problem = problem


class FilesLeft(FinetunedError):
    """
    ``run --until-idle`` waited long enough for files that nobody finishes writing.

    Everything else was dealt with; the next start goes on waiting for them.
    """

    exit_status = EXIT_TEMPFAIL


class LockHeld(FinetunedError):
    """
    Another process holds a lock that has one owner at a time.
    """

    exit_status = EXIT_TEMPFAIL

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(f"{path} is held by {owner}")
        self.path = path
        self.owner = owner


class AlreadyServed(FinetunedError):
    """
    A service of this root runs already.
    """

    exit_status = EXIT_TEMPFAIL


class NoAnswer(FinetunedError):
    """
    A model that was asked gave no answer, or not all of it.
    """

    exit_status = 1

    def __init__(self, message: str, *, exit_status: int | None = None) -> None:
        """
        Args:
            message: What was found, what was expected, what to do.
            exit_status: Of a command that ends with this error; None is 1, refused.
        """
        super().__init__(message)
        if exit_status is not None:
            self.exit_status = exit_status


class Unavailable(FinetunedError):
    """
    The file system refuses for now: full, read-only, no permission, missing.

    No attempt is counted; the same action is tried again until it works.
    """

    exit_status = EXIT_TEMPFAIL

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class InvalidTransition(FinetunedError):
    """
    A job was asked to move to a state it cannot reach from where it is.
    """
