"""The user's own key: engines are code, and only those that were built with it count as built here."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from etbac.errors import EtbacError


def sign(data: bytes) -> str:
    """HMAC-SHA256 (hex) of `data` with the user's key, which is made where there is none.

    Raises EtbacError where the key cannot be written or others may read it.
    """
    path = _key_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise EtbacError(
            f"engines are signed with the key {path}, which cannot be written ({error.strerror}); set XDG_STATE_HOME "
            "to a folder of your own"
        ) from None
    else:
        with os.fdopen(file, "wb") as key:
            key.write(secrets.token_bytes(32))
    found = _key()
    if found is None:
        raise EtbacError(f"the key {path} is not a private file of yours; make it so (chmod 600), or remove it")
    return hmac.new(found, data, hashlib.sha256).hexdigest()


def is_signed(data: bytes, signature: str) -> bool:
    """Whether `signature` was made of `data` with this user's key; False where there is no key."""
    key = _key()
    return key is not None and hmac.compare_digest(hmac.new(key, data, hashlib.sha256).hexdigest(), signature)


def _key() -> bytes | None:
    path = _key_file()
    try:
        status = path.lstat()
        private = status.st_uid == os.getuid() and not status.st_mode & 0o077
        return path.read_bytes() if private and not path.is_symlink() else None
    except OSError:
        return None


def _key_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state, "etbac", "key")
