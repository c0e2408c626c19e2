"""What bytes are, told from the bytes."""

import codecs
import re
from pathlib import PurePosixPath
from typing import Final

import puremagic

from lamina.core.fields import FieldType, type_of_mime_type

HEAD_BYTES: Final = 64 << 10
"""How much of a file is looked at."""


def sniff(content: bytes, filename: str | None = None) -> str | None:
    """The MIME type of a file from its first bytes; None when they belong to no known format.

    The name only tells apart what the bytes leave open: kinds of text, and old Office formats.
    """
    head = content[:HEAD_BYTES]
    if not head:
        return None
    # Text goes before the signatures, since many of these are but a few letters.
    return _container(head) or _text(head, filename) or _office(head, filename) or _known(head)


def suits(type: FieldType, mime_type: str) -> bool:
    """Whether a file of this MIME type may fill a field of this type.

    An animated GIF counts as a video, as the contract says; a container that can hold sound only
    counts as audio, since nothing in its first bytes tells.
    """
    family = type_of_mime_type(mime_type)
    if type is FieldType.VIDEO:
        return family is type or mime_type == "image/gif"
    if type is FieldType.AUDIO:
        return family is type or mime_type in _SOUND_CONTAINERS
    if type is FieldType.EXCEL:
        return family is type or mime_type in _TABLES
    if type is FieldType.TEXT:
        return family in {FieldType.TEXT, FieldType.OBJECT} or mime_type == "image/svg+xml"
    return family is type


_SOUND_CONTAINERS: Final = frozenset(
    {"video/mp4", "video/quicktime", "video/3gpp", "video/webm", "video/x-matroska", "video/x-ms-wmv"}
)
_TABLES: Final = frozenset({"text/csv", "text/tab-separated-values"})


def _container(head: bytes) -> str | None:
    """Formats that share their first bytes with others, or have them further in."""
    if head.removeprefix(codecs.BOM_UTF8).lstrip()[:5] == b"%PDF-":
        return "application/pdf"
    if head[4:8] == b"ftyp":
        return _base_media(head)
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head[:4096] else "audio/ogg"
    if head.startswith(b"PK\x03\x04"):
        return _zip(head)
    if head[:1] == head[188:189] == head[376:377] == b"G" and b"\0" in head[:376]:
        return "video/mp2t"
    return "audio/mpeg" if _is_mpeg_audio(head) else None


def _base_media(head: bytes) -> str:
    """ISO base media files (ISO/IEC 14496-12), by the first of their brands that is known."""
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(int.from_bytes(head[:4]), 128), 4))]
    for brand in brands:
        for start, mime_type in _BRANDS.items():
            if brand.startswith(start):
                return mime_type
    return "video/mp4"


_BRANDS: Final = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"hei": "image/heic",
    b"hev": "image/heic",
    b"msf1": "image/heif",
    b"M4A": "audio/mp4",
    b"M4B": "audio/mp4",
    b"qt": "video/quicktime",
    b"3gp": "video/3gpp",
    b"3g2": "video/3gpp",
    b"isom": "video/mp4",
    b"mp4": "video/mp4",
    b"mif1": "image/heif",
}


def _zip(head: bytes) -> str:
    entry = re.search(
        rb"PK\x03\x04.{26}(mimetypeapplication/[\w.+-]+?(?=PK)|xl/|word/|ppt/)", head, re.DOTALL
    )
    if entry is None:
        return "application/zip"
    name = entry[1].decode().removeprefix("mimetype")
    return _OFFICE_ZIP.get(name, name)


_OFFICE_ZIP: Final = {
    "xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}


def _is_mpeg_audio(head: bytes) -> bool:
    """Whether a valid frame header comes first (ISO/IEC 11172-3, 2.4.1.3), or an ID3v2 tag."""
    if (
        head.startswith(b"ID3")
        and len(head) > 10
        and head[3] < 0x10
        and all(byte < 0x80 for byte in head[6:10])
    ):
        return True
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or head[1] == 0xFE:  # FF FE begins UTF-16
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer != 0 and bitrate not in {0, 15} and rate != 3


def _text(head: bytes, filename: str | None) -> str | None:
    text = _decoded(head)
    if text is None or _UNPRINTABLE.search(text):
        return None
    start = text[:4096].lstrip().lower()
    if start.startswith("{\\rtf"):
        return "application/rtf"
    if start.startswith("<") and "<svg" in start and not start.startswith(("<!doctype html", "<html")):
        return "image/svg+xml"
    if start.startswith(("<!doctype html", "<html")):
        return "text/html"
    if start.startswith("<?xml"):
        return "text/xml"
    return _TEXT_KINDS.get(_suffix(filename), "text/plain")


def _decoded(head: bytes) -> str | None:
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if wide else "utf-8"
    try:
        # Not final: the head may end inside a character.
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None


_UNPRINTABLE: Final = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")

_TEXT_KINDS: Final = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".htm": "text/html",
    ".html": "text/html",
    ".xml": "text/xml",
}


def _office(head: bytes, filename: str | None) -> str | None:
    """Office files before 2007: by a stream in their directory, or by name where it lies further in."""
    if not head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return None
    for stream, mime_type in _OLE_STREAMS.items():
        if stream.encode("utf-16-le") in head:
            return mime_type
    return _OLE_SUFFIXES.get(_suffix(filename), "application/x-ole-storage")


_OLE_STREAMS: Final = {
    "Workbook": "application/vnd.ms-excel",
    "WordDocument": "application/msword",
    "PowerPoint Document": "application/vnd.ms-powerpoint",
    "Book\0": "application/vnd.ms-excel",
}
_OLE_SUFFIXES: Final = {
    ".xls": "application/vnd.ms-excel",
    ".doc": "application/msword",
    ".ppt": "application/vnd.ms-powerpoint",
}


def _known(head: bytes) -> str | None:
    """What `puremagic` takes it for, in the usual spelling."""
    if b"%PDF-" in head[:1024]:  # as readers of PDF do, which pass over bytes before the header
        return "application/pdf"
    try:
        candidates = puremagic.magic_string(head)
    except puremagic.PureError:
        return None
    for candidate in candidates:
        by_extension = _EXTENSIONS.get(candidate.extension)
        if by_extension or candidate.mime_type:
            return by_extension or _SPELLINGS.get(candidate.mime_type, candidate.mime_type)
    return None


_EXTENSIONS: Final = {".jp2": "image/jp2", ".amr": "audio/amr", ".exe": "application/x-msdownload"}

_SPELLINGS: Final = {
    "image/x-ms-bmp": "image/bmp",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/x-aiff": "audio/aiff",
    "audio/x-midi": "audio/midi",
    "video/avi": "video/x-msvideo",
    "video/dvd": "video/mpeg",
    "application/x-gzip": "application/gzip",
    "application/x-iso9660-appimage": "application/x-executable",
}


def _suffix(filename: str | None) -> str:
    return PurePosixPath(filename or "").suffix.lower()
