"""A set of engines: what one backend built of a chain for one device and number format, as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from etbac.contract import SegmentContract
from etbac.engine_dir import names, signature

SCHEMA_VERSION = 1
SOURCE = ".onnx"


@dataclass(frozen=True)
class EngineEntry:
    """One engine, of a segment or of the full model.

    `key`: hash of all that it computes, graph and weights. `format`: its number format. `source`: the ONNX file that it
    was built from; `engine`: the file that its backend opens, the source itself where the backend runs that.
    `made_for`: what else it depends on, as its backend names it.
    """

    key: str
    format: str
    source: str
    backend: str
    engine: str
    made_for: Mapping[str, str]

    @property
    def is_code(self) -> bool:
        """Whether the engine is more than an ONNX source, whatever it is called."""
        return self.engine != self.source or not self.source.endswith(SOURCE)


@dataclass(frozen=True)
class EngineSet:
    """The engines of one folder `engines/<backend>-<device>-<dtype>`.

    `contracts`: the segments' as these engines keep them (boundaries may be float16). `full`: the full model, always
    fp32. `files`: name -> SHA-256 of every file in that folder that the engines are opened from.
    `hmac`: of all of this, with the key of the user who built it; None where nothing in it is code.
    """

    backend: str
    device: str
    dtype: str
    contracts: tuple[SegmentContract, ...]
    segments: tuple[EngineEntry, ...]
    full: EngineEntry
    files: Mapping[str, str]
    hmac: str | None = field(default=None, compare=False)

    @property
    def folder(self) -> str:
        return names.folder_of_set(self.backend, self.device, self.dtype)

    @property
    def is_code(self) -> bool:
        return any(entry.is_code for entry in self.entries())

    def entries(self) -> Iterator[EngineEntry]:
        yield from self.segments
        yield self.full

    def signed(self) -> EngineSet:
        """With this user's HMAC where something in it is code. Raises EtbacError where there can be no key."""
        hmac = signature.sign(self._signed_bytes()) if self.is_code else None
        return EngineSet(**{**vars(self), "hmac": hmac})

    def is_built_here(self) -> bool:
        """Whether it holds no code, or code that this user built."""
        return not self.is_code or (self.hmac is not None and signature.is_signed(self._signed_bytes(), self.hmac))

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA_VERSION,
            "backend": self.backend,
            "device": self.device,
            "dtype": self.dtype,
            "segments": [
                {**vars(entry), "made_for": dict(entry.made_for), "contract": contract.to_json()}
                for entry, contract in zip(self.segments, self.contracts, strict=True)
            ],
            "full": {**vars(self.full), "made_for": dict(self.full.made_for)},
            "files": dict(sorted(self.files.items())),
            "hmac": self.hmac,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> EngineSet:
        return EngineSet(
            backend=data["backend"],
            device=data["device"],
            dtype=data["dtype"],
            contracts=tuple(SegmentContract.from_json(entry["contract"]) for entry in data["segments"]),
            segments=tuple(map(_entry, data["segments"])),
            full=_entry(data["full"]),
            files=dict(data["files"]),
            hmac=data["hmac"],
        )

    def _signed_bytes(self) -> bytes:
        return json.dumps({**self.to_json(), "hmac": None}, sort_keys=True).encode()


def _entry(data: Mapping[str, Any]) -> EngineEntry:
    return EngineEntry(**{name: data[name] for name in EngineEntry.__dataclass_fields__})
