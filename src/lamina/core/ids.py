"""Identifiers: random ones for resources, derived ones for documents.

Lengths follow the ids that the contract's examples show (`ns_` + 10, `bkt_` + 8, `ret_` + 14 …).
"""

import hashlib
import secrets
import uuid
from typing import Final

from lamina.core.types import DocumentId

_LENGTHS: Final[dict[str, int]] = {
    "ns": 10,
    "bkt": 8,
    "obj": 24,
    "blob": 16,
    "upl": 16,
    "btch": 16,
    "col": 10,
    "ret": 14,
    "task": 24,
    "exec": 24,
    "org": 16,
    "int": 16,
    "usr": 16,
    "key": 16,
    "req": 20,
    "conn": 15,
}

_POINT_NAMESPACE: Final = uuid.UUID("6c616d69-6e61-5f64-6f63-756d656e7473").bytes


def new_id(prefix: str) -> str:
    """A random id such as `bkt_1f0c9a7e`: the prefix and lower-case hexadecimal digits."""
    length = _LENGTHS[prefix]
    return f"{prefix}_{secrets.token_hex((length + 1) // 2)[:length]}"


def new_document_id() -> DocumentId:
    """A random document id, for documents that a client creates directly."""
    return DocumentId(f"doc_{secrets.token_hex(12)}")


def document_id(collection_id: str, source_id: str, extractor: str, part: str) -> DocumentId:
    """The id of the document that one part of one source becomes in one collection.

    It depends on nothing else, so processing the same source again writes the same documents.
    `extractor` is its name with its version; `part` names the part's place in its source.
    """
    origin = "\x1f".join((collection_id, source_id, extractor, part))
    return DocumentId(f"doc_{hashlib.sha256(origin.encode()).hexdigest()[:24]}")


def point_id(document_id: str) -> str:
    """The UUID under which a document's point is stored: version 5 of its id, as RFC 9562 has it.

    `uuid.uuid5` gives the same and takes three times as long, which a read of 1,000 documents feels.
    """
    digest = bytearray(
        hashlib.sha1(_POINT_NAMESPACE + document_id.encode(), usedforsecurity=False).digest()[:16]
    )
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
