"""What a blob's `data` stands for: a value, text, or the bytes of a file."""

import asyncio
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from typing import Final
from urllib.parse import unquote_to_bytes

import orjson

from lamina.core.errors import NotEnabledError, ValidationError
from lamina.core.fields import FieldType, type_of_mime_type
from lamina.core.types import Json
from lamina.ingest.fetch import Fetcher, filename_of
from lamina.ingest.sniffing import sniff, suits

__all__ = ["Resolved", "resolve", "sniff"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A blob's data, read.

    A file has `content`; text and values have it None and are `inline`. Size and hash (SHA-256 in
    hexadecimal) are those of the file, of the text in UTF-8, or of the value as compact JSON.
    """

    content: bytes | None
    inline: Json
    mime_type: str
    filename: str | None
    size_bytes: int
    sha256: str


async def resolve(
    data: Json,
    *,
    type: FieldType,
    field: str,
    fetcher: Fetcher,
    metadata: Mapping[str, Json] | None = None,
    max_bytes: int | None = None,
) -> Resolved:
    """Read a blob's `data` as its type asks.

    Files come as base64, a `data:` URI, an http(s) URL, `{"base64": …}` or `{"url": …}`, the last two
    with `mime_type` and `filename` if wanted; `{"filename": "https://…"}` is a URL too. Text comes in
    any of these ways or as itself, objects and arrays as JSON or a URL of it, other values as
    themselves or spelled out. A file's name is taken from there, or from `filename` in `metadata`.

    Raises `ValidationError` on `field` for data that is not of the type, cannot be fetched, is larger
    than `max_bytes` (the fetcher's limit unless given) or whose bytes are not what they are said to
    be; `NotEnabledError` for s3:// sources.
    """
    if type in _SCALARS:
        return _value(_scalar(data, type, field))
    max_bytes = fetcher.max_bytes if max_bytes is None else max_bytes
    if isinstance(data, str):
        if type in _PLAIN and (type is FieldType.STRING or _reference(data) is None):
            return _plain(data, field, max_bytes)
        source = _read_string(data, type, field, max_bytes)
    elif isinstance(data, Mapping) and type is not FieldType.OBJECT:
        source = _read_mapping(data, type, field, max_bytes)
    else:
        source = _Source(value=data)
    if source.url is not None:
        source = await _fetch(source, type, field, fetcher, max_bytes)
    if source.content is None:
        return _value(_structure(source.value, type, field))
    if len(source.content) > _LARGE:
        return await asyncio.to_thread(_settle, source, type, field, metadata)
    return _settle(source, type, field, metadata)


_SCALARS: Final = frozenset(
    {
        FieldType.NUMBER,
        FieldType.INTEGER,
        FieldType.FLOAT,
        FieldType.BOOLEAN,
        FieldType.DATE,
        FieldType.DATETIME,
    }
)
_PLAIN: Final = frozenset({FieldType.STRING, FieldType.TEXT})
_STRUCTURES: Final = frozenset({FieldType.OBJECT, FieldType.ARRAY})

_LARGE: Final = 1 << 20  # from here on hashing takes longer than handing over to a thread


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the data is: bytes in hand, a URL to fetch, or a value as it is."""

    content: bytes | None = None
    url: str | None = None
    value: Json = None
    mime_type: str | None = None
    filename: str | None = None
    charset: str | None = None


# Reading the ways in which data can be written.

_DATA_URI: Final = re.compile(
    r"data:(?P<mime>[\w.+-]+/[\w.+-]+)?(?P<parameters>(?:;[\w.+-]+=(?:[^\s;,\"]+|\"[^\"]*\"))*)(?P<base64>;base64)?,",
    re.IGNORECASE,
)
_URL: Final = re.compile(r"https?://\S+", re.IGNORECASE)
_S3_URL: Final = re.compile(r"s3://\S+", re.IGNORECASE)
_OTHER_URL: Final = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)


def _reference(text: str) -> str | None:
    """`http`, `s3` or `data` when the text is such a URL; a sentence that begins with one is none."""
    text = text.strip()
    start = text[:5].lower()
    if start.startswith("http") and _URL.fullmatch(text):
        return "http"
    if start == "s3://" and _S3_URL.fullmatch(text):
        return "s3"
    if start == "data:":
        found = _DATA_URI.match(text)
        if found and (found["mime"] or found["base64"]):
            return "data"
    return None


def _read_string(text: str, type: FieldType, field: str, max_bytes: int) -> _Source:
    kind = _reference(text)
    text = text.strip()
    if kind == "http":
        return _Source(url=text)
    if kind == "s3":
        raise NotEnabledError(
            f"'{field}' is an s3:// source; with a storage connection, these are read as files and texts of "
            "objects. Use an http(s) URL or an upload here.",
            field=field,
        )
    if kind == "data":
        return _read_data_uri(text, field, max_bytes)
    if type in _STRUCTURES:
        return _Source(value=_parsed(text, type, field))
    if _OTHER_URL.match(text):
        raise ValidationError(
            f"'{field}' is a URL of a kind that is not fetched. {_accepted(type)}",
            field=field,
            code="url_refused",
        )
    return _Source(content=_base64(text, type, field, max_bytes))


def _read_mapping(data: Mapping[str, Json], type: FieldType, field: str, max_bytes: int) -> _Source:
    mime_type, filename = data.get("mime_type"), data.get("filename")
    for name, given in (("mime_type", mime_type), ("filename", filename)):
        if given is not None and not isinstance(given, str):
            raise ValidationError(f"'{field}.{name}' must be a string.", field=f"{field}.{name}")
    assert mime_type is None or isinstance(mime_type, str)
    assert filename is None or isinstance(filename, str)
    url, encoded = data.get("url"), data.get("base64")
    if url is None and encoded is None and filename is not None and _reference(filename) is not None:
        url, filename = filename, None
    if isinstance(url, str) and encoded is None:
        if _reference(url) is None:
            raise ValidationError(
                f"'{field}.url' must be an http(s) URL or a data: URI.",
                field=f"{field}.url",
                code="url_refused",
            )
        source = _read_string(url, type, f"{field}.url", max_bytes)
    elif isinstance(encoded, str) and url is None:
        content = _base64(encoded, type, f"{field}.base64", max_bytes)
        source = _Source(content=content)
    else:
        raise ValidationError(
            f"'{field}' as an object must have either 'base64' or 'url', a string. {_accepted(type)}",
            field=field,
        )
    return _Source(
        content=source.content,
        url=source.url,
        mime_type=mime_type or source.mime_type,
        filename=filename_of(filename),
        charset=source.charset,
    )


def _read_data_uri(text: str, field: str, max_bytes: int) -> _Source:
    found = _DATA_URI.match(text)
    assert found is not None
    body = text[found.end() :]
    if found["base64"]:
        content = _decoded_base64(unquote_to_bytes(body) if "%" in body else body.encode())
        if content is None:
            raise ValidationError(
                f"'{field}' is a data: URI with broken base64.", field=field, code="base64_invalid"
            )
    else:
        content = unquote_to_bytes(body)
    _check_size(len(content), field, max_bytes)
    charset = re.search(r";charset=\"?([\w.+-]+)", found["parameters"], re.IGNORECASE)
    return _Source(content=content, mime_type=found["mime"], charset=charset[1] if charset else None)


def _base64(text: str, type: FieldType, field: str, max_bytes: int) -> bytes:
    _check_size(len(text) * 3 // 4 - 2, field, max_bytes)
    try:
        content = _decoded_base64(text.encode("ascii"))
    except UnicodeEncodeError:
        content = None
    if content is None:
        raise ValidationError(
            f"'{field}' is not valid base64. {_accepted(type)}", field=field, code="base64_invalid"
        )
    return content


def _decoded_base64(encoded: bytes) -> bytes | None:
    """Bytes from base64 in either alphabet, with or without line breaks and padding; None when it is none."""
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error:
        pass
    encoded = b"".join(encoded.split()).translate(_URL_SAFE).rstrip(b"=")
    try:
        return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
    except binascii.Error:
        return None


_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


async def _fetch(source: _Source, type: FieldType, field: str, fetcher: Fetcher, max_bytes: int) -> _Source:
    assert source.url is not None
    fetched = await fetcher.fetch(source.url, accept=_SERVED_AS[type], max_bytes=max_bytes, field=field)
    return _Source(
        content=fetched.content,
        mime_type=source.mime_type,
        filename=source.filename or fetched.filename,
        charset=fetched.charset,
    )


_TEXTS: Final = frozenset(
    {
        "text/*",
        "application/json",
        "application/ld+json",
        "application/x-ndjson",
        "application/jsonl",
        "application/xml",
        "application/xhtml+xml",
        "application/yaml",
        "application/x-yaml",
        "application/javascript",
        "application/rtf",
        "image/svg+xml",
    }
)

# What servers send such files as. Wide, since the bytes are looked at afterwards.
_SERVED_AS: Final[Mapping[FieldType, frozenset[str]]] = {
    FieldType.STRING: _TEXTS,
    FieldType.TEXT: _TEXTS,
    FieldType.OBJECT: _TEXTS,
    FieldType.ARRAY: _TEXTS,
    FieldType.IMAGE: frozenset({"image/*"}),
    FieldType.AUDIO: frozenset({"audio/*", "video/*", "application/ogg"}),
    FieldType.VIDEO: frozenset({"video/*", "image/gif", "application/ogg", "application/mp4"}),
    FieldType.PDF: frozenset({"application/pdf", "application/x-pdf"}),
    FieldType.EXCEL: frozenset(
        {
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            "application/vnd.ms-excel",
            "application/vnd.ms-excel.sheet.macroenabled.12",
            "application/vnd.ms-excel.sheet.binary.macroenabled.12",
            "application/vnd.oasis.opendocument.spreadsheet",
            "application/zip",
            "text/csv",
            "text/tab-separated-values",
            "text/plain",
        }
    ),
}


# Making the type's value of it.


def _plain(text: str, field: str, max_bytes: int) -> Resolved:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise ValidationError(
            f"'{field}' holds characters that are not valid Unicode.", field=field
        ) from None
    _check_size(len(encoded), field, max_bytes)
    return Resolved(None, text, "text/plain", None, len(encoded), hashlib.sha256(encoded).hexdigest())


def _value(value: Json, filename: str | None = None) -> Resolved:
    encoded = orjson.dumps(value)
    return Resolved(
        None, value, "application/json", filename, len(encoded), hashlib.sha256(encoded).hexdigest()
    )


def _settle(source: _Source, type: FieldType, field: str, metadata: Mapping[str, Json] | None) -> Resolved:
    """Check that bytes are what they are said to be, and describe them."""
    content = source.content
    assert content is not None
    named = (metadata or {}).get("filename")
    filename = source.filename or filename_of(named if isinstance(named, str) else None)
    found = sniff(content, filename)
    if type in _STRUCTURES:
        return _value(_parsed(_text(source, type, field, found), type, field), filename)
    if type in _PLAIN:
        text = _text(source, type, field, found)
        encoded = text.encode()
        mime_type = _text_mime_type(source.mime_type, found)
        return Resolved(None, text, mime_type, filename, len(encoded), hashlib.sha256(encoded).hexdigest())
    if type is FieldType.EXCEL and found == "text/plain" and source.mime_type in _CSV:
        found = source.mime_type
    if not content:
        raise ValidationError(f"'{field}' holds no bytes. {_accepted(type)}", field=field)
    if found is None or not suits(type, found):
        raise _mismatch(type.value, found, type, field)
    claimed = type_of_mime_type(source.mime_type or "")
    if source.mime_type is not None and claimed is not None and not suits(claimed, found):
        raise _mismatch(source.mime_type, found, type, field)
    return Resolved(content, None, found, filename, len(content), hashlib.sha256(content).hexdigest())


_CSV: Final = frozenset({"text/csv", "text/tab-separated-values"})


def _text(source: _Source, type: FieldType, field: str, found: str | None) -> str:
    """Bytes as text: in the charset that came with them, else by their byte order mark, else UTF-8."""
    content = source.content or b""
    if found is not None and not suits(FieldType.TEXT, found):
        raise _mismatch(type.value, found, type, field)
    charset = source.charset or "utf-8"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        charset = "utf-16"
    elif content.startswith(b"\xef\xbb\xbf"):
        charset = "utf-8-sig"
    try:
        return content.decode(charset)
    except (UnicodeError, LookupError):
        raise ValidationError(
            f"'{field}' is said to be text, but its bytes are not text in {charset}. Accepted: UTF-8, UTF-16 "
            "with a byte order mark, or the charset that the URL's server or the data: URI names.",
            field=field,
            code="type_mismatch",
        ) from None


def _text_mime_type(claimed: str | None, found: str | None) -> str:
    if claimed is not None and suits(FieldType.TEXT, claimed):
        return claimed.lower()
    return found or "text/plain"


def _structure(value: Json, type: FieldType, field: str) -> Json:
    wanted = (list,) if type is FieldType.ARRAY else (dict, list)
    if type not in _STRUCTURES or not isinstance(value, wanted):
        raise _wrong_type(value, type, field)
    try:
        orjson.dumps(value)
    except TypeError:
        raise ValidationError(
            f"'{field}' holds what is not accepted in JSON: a number of more than 64 bits, text that is not "
            "Unicode, or more than 250 levels.",
            field=field,
        ) from None
    return value


def _parsed(text: str, type: FieldType, field: str) -> Json:
    try:
        value: Json = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise ValidationError(f"'{field}' is not valid JSON. {_accepted(type)}", field=field) from None
    return _structure(value, type, field)


def _scalar(value: Json, type: FieldType, field: str) -> Json:
    if isinstance(value, str):
        read = _read_scalar(value.strip(), type)
    elif isinstance(value, bool):
        read = value if type is FieldType.BOOLEAN else None
    elif isinstance(value, int | float) and type in _NUMBERS:
        read = (
            value if type is not FieldType.INTEGER or isinstance(value, int) or value.is_integer() else None
        )
    else:
        read = None
    if read is None or (isinstance(read, float) and not isfinite(read)):
        raise _wrong_type(value, type, field)
    if isinstance(read, int) and read.bit_length() > 63:
        raise ValidationError(f"'{field}' is a number of more than 64 bits.", field=field)
    return int(read) if type is FieldType.INTEGER and isinstance(read, float) else read


_NUMBERS: Final = frozenset({FieldType.NUMBER, FieldType.INTEGER, FieldType.FLOAT})


def _read_scalar(text: str, type: FieldType) -> Json:
    """A value that is spelled out; None when it is not of the type. Dates stay as they are written."""
    try:
        match type:
            case FieldType.BOOLEAN:
                return {"true": True, "false": False}.get(text.lower())
            case FieldType.DATE:
                date.fromisoformat(text)
                return text
            case FieldType.DATETIME:
                datetime.fromisoformat(text)
                return text
            case FieldType.INTEGER:
                return int(text) if _INTEGER.fullmatch(text) else None
            case _:
                return (
                    int(text)
                    if _INTEGER.fullmatch(text)
                    else float(text)
                    if _DECIMAL.fullmatch(text)
                    else None
                )
    except ValueError:
        return None


_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


def _check_size(size: int, field: str, max_bytes: int) -> None:
    if size > max_bytes:
        raise ValidationError(
            f"'{field}' has more than the {max_bytes} bytes that are accepted.", field=field, code="too_large"
        )


def _wrong_type(value: Json, type: FieldType, field: str) -> ValidationError:
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "this string", list: "an array"}
    name = "null" if value is None else names.get(value.__class__, "an object")
    return ValidationError(
        f"'{field}' must be of type {type.value}, not {name}. {_accepted(type)}",
        field=field,
        code="type_error",
    )


def _mismatch(claimed: str, found: str | None, type: FieldType, field: str) -> ValidationError:
    seen = f"are {found}" if found else "are of no format that is known"
    return ValidationError(
        f"'{field}' is said to be {claimed}, but its bytes {seen}. {_accepted(type)}",
        field=field,
        code="type_mismatch",
        claimed=claimed,
        found=found,
    )


def _accepted(type: FieldType) -> str:
    return f"Accepted for {type.value}: {_ACCEPTED[type]}."


_FILE_FORMS: Final = (
    'base64, a data: URI, an http(s) URL, {"base64": …, "mime_type": …, "filename": …} or {"url": …}, '
    "or an upload"
)
_ACCEPTED: Final[Mapping[FieldType, str]] = {
    FieldType.STRING: 'a string, {"base64": …} or {"url": …}',
    FieldType.NUMBER: "a number",
    FieldType.INTEGER: "a whole number",
    FieldType.FLOAT: "a number",
    FieldType.BOOLEAN: "true or false",
    FieldType.OBJECT: "JSON, as itself, as a string or behind an http(s) URL",
    FieldType.ARRAY: "a JSON array, as itself, as a string or behind an http(s) URL",
    FieldType.DATE: "a date such as 2026-01-31",
    FieldType.DATETIME: "a time such as 2026-01-31T12:00:00Z",
    FieldType.TEXT: 'text, a data: URI, an http(s) URL, {"base64": …} or {"url": …}, or an upload',
    FieldType.IMAGE: f"an image as {_FILE_FORMS}",
    FieldType.AUDIO: f"audio as {_FILE_FORMS}",
    FieldType.VIDEO: f"a video as {_FILE_FORMS}",
    FieldType.PDF: f"a PDF as {_FILE_FORMS}",
    FieldType.EXCEL: f"a spreadsheet (xlsx, xls, ods, csv) as {_FILE_FORMS}",
}
