"""A minimum s-t cut.

Source: Dinic, Soviet Math. Dokl. 11, 1970 (level graph breadth first, blocking flow depth first).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

INFINITE = 1 << 60


@dataclass
class Network:
    """A directed graph with whole-number capacities; vertices are anything hashable."""

    _edges: dict[Hashable, list[int]] = field(default_factory=dict)
    _heads: list[Hashable] = field(default_factory=list)
    _left: list[int] = field(default_factory=list)

    def connect(self, tail: Hashable, head: Hashable, capacity: int) -> None:
        for vertex, other, size in ((tail, head, capacity), (head, tail, 0)):
            self._edges.setdefault(vertex, []).append(len(self._heads))
            self._heads.append(other)
            self._left.append(size)

    def source_side(self, source: Hashable, sink: Hashable) -> tuple[int, set[Hashable]]:
        """The cut's capacity and the vertices on the source's side of it. Uses the network up."""
        total = 0
        while True:
            levels = self._levels(source)
            if sink not in levels:
                return total, set(levels)
            total += self._blocking_flow(source, sink, levels)
            if total >= INFINITE:
                return total, set(levels)

    def _levels(self, source: Hashable) -> dict[Hashable, int]:
        levels, queue = {source: 0}, deque([source])
        while queue:
            vertex = queue.popleft()
            for edge in self._edges.get(vertex, ()):
                head = self._heads[edge]
                if self._left[edge] > 0 and head not in levels:
                    levels[head] = levels[vertex] + 1
                    queue.append(head)
        return levels

    def _blocking_flow(self, source: Hashable, sink: Hashable, levels: dict[Hashable, int]) -> int:
        tried = dict.fromkeys(levels, 0)
        path: list[int] = []
        vertex, total = source, 0
        while True:
            if vertex == sink:
                pushed = min(self._left[edge] for edge in path)
                for used in path:
                    self._left[used] -= pushed
                    self._left[used ^ 1] += pushed
                total += pushed
                path, vertex = [], source
                continue
            edge = self._next_edge(vertex, levels, tried)
            if edge is not None:
                path.append(edge)
                vertex = self._heads[edge]
            elif path:
                back = path.pop()
                vertex = self._heads[back ^ 1]
                tried[vertex] += 1
            else:
                return total

    def _next_edge(self, vertex: Hashable, levels: dict[Hashable, int], tried: dict[Hashable, int]) -> int | None:
        edges = self._edges[vertex]
        while tried[vertex] < len(edges):
            edge = edges[tried[vertex]]
            if self._left[edge] > 0 and levels.get(self._heads[edge]) == levels[vertex] + 1:
                return edge
            tried[vertex] += 1
        return None
