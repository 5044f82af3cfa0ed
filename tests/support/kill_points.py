"""Kill a process at the n-th thing that it does to a directory.

A point stands before each open for writing, fsync, rename, removal and new folder, and in the middle of each file's
bytes. The interpreter's audit events see these calls wherever they are made, so nothing bypasses the count.
"""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
Command = Callable[[Path], Any]


def count_points(command: Command, root: Path) -> int:
    """How many points `command(root)` passes; it must succeed."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    exit_code = _in_child(command, root, None, sender)
    assert exit_code == 0, f"the command failed ({exit_code})"
    points: int = receiver.recv()
    return points


def kill_at(command: Command, root: Path, point: int) -> None:
    """Run `command(root)` in a child that kills itself at that point, from 1."""
    _, sender = multiprocessing.Pipe(duplex=False)
    exit_code = _in_child(command, root, point, sender)
    assert exit_code == -signal.SIGKILL, f"point {point} was not reached ({exit_code})"


@functools.cache
def _fork_server() -> multiprocessing.context.ForkServerContext:
    """Forks children of a process that has imported everything and started no thread."""
    tests = Path(__file__).parent.parent
    inherited = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(tests), str(tests.parent), inherited])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.changing_commands"])
    multiprocessing.forkserver.ensure_running()
    os.environ["PYTHONPATH"] = inherited
    return context


def _in_child(command: Command, root: Path, point: int | None, sender: Connection) -> int | None:
    child = _fork_server().Process(target=_run, args=(command, root, point, sender))
    child.start()
    sender.close()
    child.join()
    return child.exitcode


def _run(command: Command, root: Path, point: int | None, sender: Connection) -> None:
    killer = _Killer(root, point)
    killer.install()
    command(root)
    sender.send(killer.passed)


class _Killer:
    def __init__(self, root: Path, point: int | None) -> None:
        self.passed = 0
        self._root = str(root)
        self._point = point
        self._begun: set[int] = set()
        self._fsync, self._write = os.fsync, os.write

    def install(self) -> None:
        sys.addaudithook(self._audit)
        os.fsync, os.write = self._before_fsync, self._write_half_first

    def _pass(self, leave: Callable[[], Any] = lambda: None) -> None:
        self.passed += 1
        if self.passed == self._point:
            leave()
            os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if not self._is_inside(path) or not flags & WRITING:
                return
            self._begun.clear()
            self._pass()
            if mode is not None:  # a Python file object, whose writes are not seen: what a kill amid them leaves
                self._pass(lambda: Path(path).write_bytes(b"{"))
        elif event in CHANGES and self._is_inside(arguments[0]):
            self._pass()

    def _before_fsync(self, file: int) -> None:
        if self._is_inside(_path_of(file)):
            self._pass()
        self._fsync(file)

    def _write_half_first(self, file: int, data: Any) -> int:
        half = len(data) // 2
        if not half or file in self._begun or not self._is_inside(_path_of(file)):
            return self._write(file, data)
        self._begun.add(file)
        written = self._write(file, data[:half])
        self._pass()
        return written

    def _is_inside(self, path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self._root)


def _path_of(file: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{file}")
    except OSError:
        return ""
