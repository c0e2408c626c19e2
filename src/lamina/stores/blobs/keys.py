"""What a blob's key may be, the same for every engine."""

import hashlib
import re
from typing import Final

from lamina.core.errors import ValidationError

KEY_BYTES: Final = 1024
"""Longest key in bytes of UTF-8: the limit of S3."""

NAME_BYTES: Final = 240
"""Longest part between slashes, as `escaped` writes it. A file system takes 255."""

STAGING: Final = ".partial"
"""First part of no key: engines write there what is not finished yet."""


def canonical_key(key: str) -> str:
    """The key under which an engine stores a blob.

    Names of more than `NAME_BYTES` are cut; they keep their extension and get a piece of their hash, so that
    different names stay different. A canonical key is its own canonical key. Raises
    `ValidationError` for a key that is empty, absolute, too long, or has a part that is empty, `.` or `..`.
    """
    if "\0" in key:
        raise _refused("must not contain the character NUL")
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        raise _refused("must be valid Unicode, without lone surrogates") from None
    parts = key.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise _refused("must be names parted by single slashes; '.' and '..' are no names")
    if parts[0] == STAGING:
        raise _refused(f"must not begin with '{STAGING}/'")
    if len(encoded) > NAME_BYTES // 3:
        key = "/".join(_cut(part) for part in parts)
        if len(key.encode()) > KEY_BYTES:
            raise _refused(f"must have at most {KEY_BYTES} bytes")
    return key


def canonical_prefix(prefix: str) -> str:
    """The same for a prefix: a slash at its end says nothing, and an empty one means every key."""
    prefix = prefix.removesuffix("/")
    return canonical_key(prefix) if prefix else ""


def escaped(key: str) -> str:
    """The key with `%XX` for the bytes of control characters, percent and number signs, and backslashes.

    No engine refuses what is left, or gives it a meaning. `urllib.parse.unquote` reads it back.
    """
    return _SPECIAL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode()), key)


_SPECIAL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f%#\\]")


def _cut(name: str) -> str:
    if _width(name) <= NAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f"-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    if stem and _width(extension) <= 16:
        tail += dot + extension
    room = NAME_BYTES - _width(tail)
    kept = name[:room]
    while _width(kept) > room:
        kept = kept[: -max(1, (_width(kept) - room) // 12)]  # no character is wider than 12
    return kept + tail


def _width(text: str) -> int:
    return len(escaped(text).encode())


def _refused(reason: str) -> ValidationError:
    return ValidationError(f"The blob's key {reason}.", field="key")
