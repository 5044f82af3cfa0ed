"""How much memory the heads of a plan's exits may take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Memory:
    """`head_bytes`: by exit id, what the weights of its head take; those of a plan's exits take `most` at most."""

    head_bytes: Mapping[int, int] = field(default_factory=dict)
    most: float = math.inf

    @property
    def is_limited(self) -> bool:
        return self.most < math.inf

    def taken(self, exits: Iterable[int]) -> int:
        return sum(self.head_bytes[exit_id] for exit_id in exits)

    def holds(self, exits: Iterable[int]) -> bool:
        return not self.is_limited or self.taken(exits) <= self.most


UNLIMITED = Memory()
