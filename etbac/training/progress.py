"""How training tells what it is doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Where progress goes; the command line draws a bar."""

    def stage(self, description: str, total: int, done: int) -> Callable[[int], None]:
        """A stage of `total` steps begins, `done` of them finished before; the result is called with each advance."""

    def note(self, message: str) -> None:
        """One line of information."""


class Silent:
    """Says nothing."""

    def stage(self, description: str, total: int, done: int) -> Callable[[int], None]:
        return lambda steps: None

    def note(self, message: str) -> None:
        return None
