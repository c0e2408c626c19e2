"""Files that break readers, or are only unusual, made while the tests run."""

import io
import struct
import zipfile
import zlib
from typing import Any

from PIL import Image

from tests.pdfs import object_stream, pdf_file

MIB = 1 << 20


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    """A picture as a file."""
    target = io.BytesIO()
    picture.save(target, format, **options)
    return target.getvalue()


# Pictures


def picture_bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size, without the pixels for it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixels)


def text_chunk_bomb(size: int = 80_000_000) -> bytes:
    """A PNG with a compressed text of that size in it."""
    whole = saved(Image.new("RGB", (60, 40)), "PNG")
    return whole[:33] + _chunk(b"zTXt", b"key\0\0" + zlib.compress(b"x" * size)) + whole[33:]


def hundred_megapixels() -> bytes:
    """A sound JPEG of 12,000 × 8,500 pixels: blue on the left, red on the right."""
    picture = Image.new("RGB", (12_000, 8_500), (200, 30, 30))
    picture.paste((30, 30, 200), (0, 0, 6_000, 8_500))
    return saved(picture, "JPEG")


def animated(picture: Image.Image, format: str, frames: int = 5) -> bytes:
    """Frames of a picture that darkens."""
    shown = [picture.convert("RGB").point(lambda value, at=at: value * (9 - at) // 9) for at in range(frames)]
    return saved(shown[0], format, save_all=True, append_images=shown[1:], duration=100)


def turned(picture: Image.Image, orientation: int) -> bytes:
    """A JPEG whose pixels lie on their side, or on their head, and whose EXIF data says so."""
    stored = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = picture.convert("RGB").transpose(stored[orientation])
    return saved(lying, "JPEG", exif=exif, quality=95)


def cmyk(picture: Image.Image) -> bytes:
    """A JPEG in the colours of print."""
    return saved(picture.convert("RGB").convert("CMYK"), "JPEG", quality=95)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# Archives


def zip_bomb(size: int = 512 * MIB) -> bytes:
    """A ZIP file of half a megabyte that unpacks to half a gigabyte of zeros."""
    target = io.BytesIO()
    archive = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("zeros.txt", "w") as file:
        for _ in range(size // MIB):
            file.write(bytes(MIB))
    return target.getvalue()


# PDFs


def stream_bomb(size: int = 4096 * MIB) -> bytes:
    """A PDF of a few kilobytes with a page whose content unpacks, in two steps, to gigabytes of blanks.

    The page has it four times, so that it is unpacking for longer than between two looks at the memory.
    """
    inner, outer = zlib.compressobj(9), zlib.compressobj(9)
    packed = b"".join(outer.compress(inner.compress(b" " * MIB)) for _ in range(size // MIB))
    packed += outer.compress(inner.flush()) + outer.flush()
    return _page(
        object_stream(packed, "/Filter [/FlateDecode /FlateDecode]"), contents="[" + "4 0 R " * 4 + "]"
    )


def nested_forms_bomb(levels: int = 10, times: int = 10) -> bytes:
    """A PDF of three kilobytes whose page draws a form that draws the next one ten times, and so on."""
    forms = []
    for level in range(levels):
        head = "/Type /XObject /Subtype /Form /BBox [0 0 100 100]"
        content = b"0 0 m 9 9 l S\n"
        if level + 1 < levels:
            head += f" /Resources << /XObject << /X {6 + level} 0 R >> >>"
            content = b"/X Do\n" * times
        forms.append(object_stream(content, head))
    return _page(object_stream(b"/X Do"), forms, "/XObject << /X 5 0 R >>")


def _page(
    content: bytes, more: list[bytes] | None = None, resources: str = "", contents: str = "4 0 R"
) -> bytes:
    page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] "
    page += f"/Resources << {resources} >> /Contents {contents} >>"
    catalogue = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>"]
    return pdf_file([*catalogue, page.encode(), content, *(more or [])])
