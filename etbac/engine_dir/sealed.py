"""JSON files whose last field is the SHA-256 of the bytes before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etbac.errors import EngineDirError

_LAST_FIELD = b'\n  "sha256": "'


def seal(fields: Mapping[str, Any]) -> bytes:
    """The file's bytes: `fields` as indented JSON, then the hash of all that stands before the hash's own line."""
    body = json.dumps(fields, indent=2, allow_nan=False).encode()
    before = body.removesuffix(b"\n}") + b","
    return before + _LAST_FIELD + hashlib.sha256(before).hexdigest().encode() + b'"\n}\n'


def parse(data: bytes, path: Path) -> dict[str, Any]:
    """The fields, not yet checked against the hash; an EngineDirError where the bytes are not whole JSON."""
    try:
        fields = json.loads(data)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise EngineDirError(f"{path} is incomplete or damaged ({len(data)} bytes that are not whole JSON)")
    return fields


def check(data: bytes, path: Path) -> None:
    """An EngineDirError unless the last field is the hash of what stands before it."""
    before, last_field, rest = data.rpartition(_LAST_FIELD)
    if not last_field:
        raise EngineDirError(f"{path} has changed since it was written: its last field, the hash, is missing")
    found = hashlib.sha256(before).hexdigest()
    if rest != found.encode() + b'"\n}\n':
        expected = rest[:8].decode(errors="replace")
        raise EngineDirError(
            f"{path} has changed since it was written (SHA-256 {expected}… expected, {found[:8]}… found)"
        )
