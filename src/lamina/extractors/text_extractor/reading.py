"""The text of an input: a string, a number, JSON, or the bytes of a file."""

import codecs
from collections.abc import Sequence
from typing import Final

import orjson
from charset_normalizer import CharsetMatch, from_bytes

from lamina.core.errors import ExtractionError
from lamina.extractors.base import BlobValue, InputValue, values_of

_ACCEPTED: Final = "accepted are text, numbers, JSON and text files."

_NOT_TEXT: Final = (
    "image/",
    "audio/",
    "video/",
    "font/",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/vnd.openxmlformats",
    "application/vnd.ms-",
    "application/msword",
    "application/vnd.apache.parquet",
)

_WESTERN: Final = "cp1252"

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like the mark of UTF-16, so it is looked for first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(given: InputValue | Sequence[InputValue], name: str) -> str:
    """The text of the input `name`; several values become paragraphs of one text.

    Raises `ExtractionError` when there is none, or when a file is not text.
    """
    texts = [_render(value, name) for value in values_of(given) if value is not None]
    text = "\n\n".join(text for text in texts if text.strip())
    if not text:
        raise ExtractionError(f"Input '{name}' holds no text.", code="empty_input", input=name)
    return text


def _render(value: InputValue, name: str) -> str:
    if isinstance(value, BlobValue):
        return _decode(value, name)
    if isinstance(value, str):
        if value.isascii() or _is_unicode(value):
            return value
        raise ExtractionError(
            f"Input '{name}' holds halves of characters (lone surrogates).", code="wrong_form", input=name
        )
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError as error:
        raise ExtractionError(
            f"Input '{name}' is {type(value).__name__}; {_ACCEPTED}",
            code="wrong_type",
            input=name,
        ) from error


def _is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8, which the libraries below need."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decode(blob: BlobValue, name: str) -> str:
    if blob.mime_type.startswith(_NOT_TEXT):
        raise _not_text(blob, name)
    for mark, encoding in _BYTE_ORDER_MARKS:
        if blob.data.startswith(mark):
            try:
                return blob.data.decode(encoding)
            except UnicodeDecodeError as error:
                raise _not_text(blob, name) from error
    if b"\0" in blob.data:  # no encoding without a byte order mark that is in use has them
        raise _not_text(blob, name)
    try:
        return blob.data.decode()
    except UnicodeDecodeError:
        text = _guessed(blob.data)
        if text is None:
            raise _not_text(blob, name) from None
        return text


def _guessed(data: bytes) -> str | None:
    """The text in the likeliest encoding.

    Western European texts are often as likely in its neighbours, which have a few letters of Polish or
    Latvian in the places of ñ and ã. Among equals it is Windows-1252, as for browsers (WHATWG Encoding).
    """
    guesses = from_bytes(data)
    best = guesses.best()
    for guess in guesses:
        if best and guess.encoding == _WESTERN and _rank(guess) <= _rank(best):
            return str(guess)
    return None if best is None else str(best)


def _rank(guess: CharsetMatch) -> tuple[float, float]:
    return guess.chaos, -guess.coherence


def _not_text(blob: BlobValue, name: str) -> ExtractionError:
    what = f"'{blob.filename}' ({blob.mime_type})" if blob.filename else f"a file of type {blob.mime_type}"
    return ExtractionError(
        f"Input '{name}' is {what} and not text; {_ACCEPTED}",
        code="not_text",
        input=name,
    )
