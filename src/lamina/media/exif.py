"""What a photo's EXIF says of how, when and where it was taken (Exif 2.32, JEITA CP-3451)."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from PIL import ExifTags, Image

from lamina.core.types import Json, JsonObject

_LONGEST: Final = 500
"""Characters of a text that are kept."""


def photo_facts(exif: Image.Exif) -> JsonObject:
    """The facts there are, as JSON values; an empty object where there are none.

    `exposure_time` is in seconds, focal lengths in millimetres, `altitude` in metres above the sea,
    `latitude` and `longitude` in degrees, and `location` holds both as filters by place read them.
    `taken_at` is an ISO time, with its offset from UTC where the camera noted it.
    """
    try:
        details = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
        place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    except Exception:  # a broken directory, of which Pillow makes any error: the picture is good
        return {}
    found: JsonObject = {}
    for name, (tag, read) in _FACTS.items():
        value = read(details.get(tag))
        if value is not None:
            found[name] = value
    taken_at = _moment(details)
    if taken_at is not None:
        found["taken_at"] = taken_at
    return {**found, **_place(place)}


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    kept = "".join(sign for sign in value if sign.isprintable()).strip()
    return kept[:_LONGEST].encode("utf-8", "replace").decode() or None


def _number(value: object) -> float | None:
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    try:
        number = float(value)  # type: ignore[arg-type]  # of Pillow's own rational, too
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return round(number, 6) if math.isfinite(number) else None


def _count(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _positive(value: object) -> float | None:
    """A length or a time; writers put 0 where they do not know it."""
    number = _number(value)
    return number if number is not None and number > 0 else None


def _fired(value: object) -> bool | None:
    number = _count(value)
    return None if number is None else bool(number & 1)


_FACTS: Final[Mapping[str, tuple[int, Callable[[object], Json]]]] = {
    "camera_make": (ExifTags.Base.Make, _text),
    "camera_model": (ExifTags.Base.Model, _text),
    "lens": (ExifTags.Base.LensModel, _text),
    "exposure_time": (ExifTags.Base.ExposureTime, _positive),
    "f_number": (ExifTags.Base.FNumber, _positive),
    "iso": (ExifTags.Base.ISOSpeedRatings, _count),
    "focal_length": (ExifTags.Base.FocalLength, _positive),
    "focal_length_35mm": (ExifTags.Base.FocalLengthIn35mmFilm, _positive),
    "flash": (ExifTags.Base.Flash, _fired),
    "description": (ExifTags.Base.ImageDescription, _text),
    "artist": (ExifTags.Base.Artist, _text),
    "copyright": (ExifTags.Base.Copyright, _text),
    "software": (ExifTags.Base.Software, _text),
}

_MOMENTS: Final = (
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.OffsetTimeOriginal),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.OffsetTimeDigitized),
    (ExifTags.Base.DateTime, ExifTags.Base.OffsetTime),
)
"""When a photo was taken, and the offset of that clock from UTC; the best source first."""


def _moment(details: Mapping[int, object]) -> str | None:
    for tag, offset in _MOMENTS:
        written = _text(details.get(tag))
        if written is None:
            continue
        for text, form in ((f"{written}{_text(details.get(offset))}", "%z"), (written, "")):
            try:
                return datetime.strptime(text, f"%Y:%m:%d %H:%M:%S{form}").isoformat()
            except ValueError:
                continue
    return None


def _place(gps: Mapping[int, object]) -> JsonObject:
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), "S")
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), "W")
    found: JsonObject = {}
    if latitude is not None and longitude is not None and abs(latitude) <= 90 and abs(longitude) <= 180:
        place: JsonObject = {"lat": latitude, "lon": longitude}
        found |= {"latitude": latitude, "longitude": longitude, "location": place}
    altitude = _number(gps.get(ExifTags.GPS.GPSAltitude))
    if altitude is not None:
        below = gps.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01")
        found["altitude"] = -altitude if below else altitude
    return found


def _degrees(value: object, reference: object, negative: str) -> float | None:
    """Degrees, minutes and seconds as one number; south and west are below zero."""
    if not isinstance(value, tuple | list) or not 1 <= len(value) <= 3:
        return None
    parts = [_number(part) for part in value]
    degrees = 0.0
    for part, share in zip(parts, (1.0, 60.0, 3600.0), strict=False):
        if part is None:
            return None
        degrees += part / share
    return round(-degrees if _text(reference) == negative else degrees, 7)
