"""Damaged and hostile ONNX files, a pure function of a number.

Every file lies alone in a folder of its own, beside which `outside/` holds what no model file may reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from support import hostile_external_data, hostile_graphs
from support.sandbox import Damage, Sandbox

SECRET = b"nobody's weights " * 64


@dataclass(frozen=True)
class DamagedFile:
    """`harmless`: the damage may have hit nothing that matters, so that the file may load."""

    path: Path
    kind: str
    harmless: bool


def flipped_bytes(box: Sandbox) -> bytes:
    data = bytearray(box.model().SerializeToString())
    for _ in range(int(str(box.pick([1, 3, 40])))):
        data[int(box.rng.integers(len(data)))] ^= 1 << int(box.rng.integers(8))
    return bytes(data)


def flipped_head(box: Sandbox) -> bytes:
    data = bytearray(box.small().SerializeToString())
    data[int(box.rng.integers(40))] = int(box.rng.integers(256))
    return bytes(data)


def truncated(box: Sandbox) -> bytes:
    data = box.model().SerializeToString()
    return data[: int(box.rng.integers(1, len(data)))]


def zeroed_block(box: Sandbox) -> bytes:
    data = bytearray(box.model().SerializeToString())
    start, length = int(box.rng.integers(len(data))), int(box.rng.integers(1, 200))
    data[start : start + length] = bytes(len(data[start : start + length]))
    return bytes(data)


def foreign_block(box: Sandbox) -> bytes:
    data = box.model().SerializeToString()
    place = int(box.rng.integers(len(data)))
    return data[:place] + box.rng.bytes(int(box.rng.integers(1, 64))) + data[place:]


def doubled_block(box: Sandbox) -> bytes:
    data = box.model().SerializeToString()
    start = int(box.rng.integers(len(data) - 1))
    end = min(len(data), start + int(box.rng.integers(1, 400)))
    return data[:end] + data[start:end] + data[end:]


def noise(box: Sandbox) -> bytes:
    return box.rng.bytes(int(box.rng.integers(1, 4000)))


def not_onnx(box: Sandbox) -> bytes:
    contents = [b"", b"\n", b"<html></html>", b"\x80\x04\x95cos\nsystem\n", b"PK\x03\x04", b"\x1f\x8b\x08", b"\0" * 100]
    return bytes(box.pick(contents))  # type: ignore[call-overload]


DAMAGES: Mapping[str, Damage] = {
    damage.__name__: damage
    for damage in (
        flipped_bytes,
        flipped_head,
        truncated,
        zeroed_block,
        foreign_block,
        doubled_block,
        noise,
        not_onnx,
        hostile_graphs.cycle,
        hostile_graphs.dangling_input,
        hostile_graphs.unmade_output,
        hostile_graphs.made_twice,
        hostile_graphs.missing_types,
        hostile_graphs.unknown_element_type,
        hostile_graphs.wrong_tensor_size,
        hostile_graphs.impossible_dimensions,
        hostile_graphs.huge_input,
        hostile_graphs.memory_bomb,
        hostile_graphs.deep_nesting,
        hostile_graphs.deeper_than_parsers_go,
        hostile_graphs.recursive_function,
        hostile_graphs.unknown_operator,
        hostile_graphs.wrong_versions,
        hostile_graphs.wrong_attribute,
        hostile_graphs.missing_inputs,
        hostile_graphs.nothing_there,
        hostile_graphs.strange_exits,
        hostile_graphs.exits_unlike_the_full_model,
        hostile_graphs.mutated_graph,
        hostile_graphs.wrong_declared_shape,
        hostile_graphs.invalid_text,
        hostile_graphs.bad_sparse_tensor,
        hostile_external_data.outside_by_path,
        hostile_external_data.outside_by_link,
        hostile_external_data.not_a_file,
        hostile_external_data.strange_location,
        hostile_external_data.wrong_extent,
        hostile_external_data.external_constant,
    )
}

MAY_LOAD = frozenset(
    [
        "flipped_bytes",
        "flipped_head",
        "zeroed_block",
        "foreign_block",
        "doubled_block",
        "deep_nesting",
        "huge_input",
        "memory_bomb",
        "wrong_declared_shape",
        "wrong_attribute",
        "invalid_text",
        "mutated_graph",
    ]
)
"""Damage that can hit a name, a weight or another thing that does not make the file wrong."""


def damaged_file(number: int, folder: Path) -> DamagedFile:
    """Writes file `number` into a new folder under `folder`, beside `outside/`."""
    kind = list(DAMAGES)[number % len(DAMAGES)]
    own, outside = folder / f"{number:03d}_{kind}", folder / "outside"
    own.mkdir()
    outside.mkdir(exist_ok=True)
    box = Sandbox(own, outside, np.random.default_rng([number, 9]))
    if not box.secret.exists():
        box.secret.write_bytes(SECRET)
    content = DAMAGES[kind](box)
    if content is not None:
        box.path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return DamagedFile(box.path, kind, kind in MAY_LOAD)
