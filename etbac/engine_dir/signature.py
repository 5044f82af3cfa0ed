"""The user's own key: engines are code, and only those that were built with it count as built here."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from etbac.errors import EtbacError

_BYTES = 32


def sign(data: bytes) -> str:
    """HMAC-SHA256 (hex) of `data` with the user's key, which is made where there is none.

    Raises EtbacError where the key cannot be written or others may read it.
    """
    path = _key_file()
    try:
        if not os.path.lexists(path):
            _make(path)
    except FileExistsError:  # another process was faster
        pass
    except OSError as error:
        raise EtbacError(
            f"engines are signed with the key {path}, which cannot be written ({error.strerror}); set XDG_STATE_HOME "
            "to a folder of your own"
        ) from None
    found = _key()
    if found is None:
        raise EtbacError(f"{path}: this key is not a whole, private key of yours; chmod 600 it, or remove it")
    return hmac.new(found, data, hashlib.sha256).hexdigest()


def is_signed(data: bytes, signature: str) -> bool:
    """Whether `signature` was made of `data` with this user's key; False where there is no key."""
    key = _key()
    return key is not None and hmac.compare_digest(hmac.new(key, data, hashlib.sha256).hexdigest(), signature)


def _make(path: Path) -> None:
    """Either a whole key is there, or none: an empty one would sign, and anybody could sign with it."""
    if not path.is_absolute():
        raise FileNotFoundError(errno.ENOENT, "you have no home folder")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file, temporary = tempfile.mkstemp(dir=path.parent)  # private, as mkstemp makes them
    try:
        with os.fdopen(file, "wb") as key:
            key.write(secrets.token_bytes(_BYTES))
        os.link(temporary, path)
    finally:
        os.unlink(temporary)


def _key() -> bytes | None:
    path = _key_file()
    try:
        status = path.lstat()
        private = status.st_uid == os.getuid() and not status.st_mode & 0o077
        key = path.read_bytes() if private and not path.is_symlink() else b""
    except OSError:
        return None
    return key if len(key) == _BYTES else None


def _key_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = state if os.path.isabs(state) else os.path.expanduser("~/.local/state")
    return Path(folder, "etbac", "key")
