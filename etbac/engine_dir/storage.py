"""The only code that opens a file of an engine directory for writing, syncs, renames or removes one."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from etbac.engine_dir.names import LOCK, TEMPORARY
from etbac.errors import EngineDirError

Chunk = bytes | memoryview


class Storage:
    """Changes to one directory, made so that a process or machine that stops anywhere leaves only whole files.

    A context manager that holds the directory's lock: the operating system frees it when its owner dies.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: int | None = None

    def __enter__(self) -> Storage:
        if self.root.exists() and not self.root.is_dir():
            raise EngineDirError(f"{self.root} is a file, not a directory; name another one with --engine-dir")
        self.make_folder(self.root)
        lock = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise EngineDirError(
                f"another etbac command is writing to {self.root}; run this again when it has ended"
            ) from None
        self._lock = lock
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def make_folder(self, path: Path) -> None:
        """Private to the user (0700) where it is made here."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write_temporary(self, name: str, chunks: Iterable[Chunk]) -> tuple[Path, str]:
        """Write and sync `<name>.etbac-tmp`; returns its path and the SHA-256 of its bytes."""
        path = self.root / (name + TEMPORARY)
        self.make_folder(path.parent)
        digest = hashlib.sha256()
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            for chunk in chunks:
                digest.update(chunk)
                _write_all(file, memoryview(chunk))
            os.fsync(file)
        finally:
            os.close(file)
        return path, digest.hexdigest()

    def put_in_place(self, temporary: Path, name: str) -> None:
        os.replace(temporary, self.root / name)

    def sync_folder(self, path: Path) -> None:
        """Make the names in `path` as durable as the files' bytes."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            os.unlink(path)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file outside any engine directory so that what stood there is replaced at once, or not at all."""
    storage = Storage(path.parent)
    storage.remove(path.with_name(path.name + TEMPORARY))
    temporary, _ = storage.write_temporary(path.name, [data])
    storage.put_in_place(temporary, path.name)


def _write_all(file: int, data: memoryview) -> None:
    while data:
        data = data[os.write(file, data) :]
