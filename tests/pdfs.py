"""PDFs that tests write themselves: lines of text, ruled lines, pictures, and what breaks readers."""

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageFilter


@dataclass(frozen=True)
class Line:
    """A line of Helvetica or Courier by its left end and baseline, in points from the top left corner."""

    text: str
    x: float
    y: float
    size: float = 10.0
    bold: bool = False
    typewriter: bool = False


@dataclass(frozen=True)
class Sheet:
    """A page. `rules` are lines (x0, y0, x1, y1); `picture` is the size that an image claims to have."""

    lines: Sequence[Line] = ()
    rules: Sequence[tuple[float, float, float, float]] = ()
    size: tuple[float, float] = (595.0, 842.0)
    picture: tuple[int, int] | None = None


def written(sheets: Sequence[Sheet]) -> bytes:
    """The file of these pages."""
    bodies: list[bytes] = [b"", b"", _font("Helvetica"), _font("Helvetica-Bold"), _font("Courier")]
    kids = []
    for sheet in sheets:
        resources = "/Font << /F1 3 0 R /F2 4 0 R /F3 5 0 R >>"
        if sheet.picture is not None:
            bodies.append(_picture(*sheet.picture))
            resources += f" /XObject << /I {len(bodies)} 0 R >>"
        bodies.append(_stream(_content(sheet)))
        width, height = sheet.size
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.0f} {height:.0f}] "
        page += f"/Resources << {resources} >> /Contents {len(bodies)} 0 R >>"
        bodies.append(page.encode())
        kids.append(f"{len(bodies)} 0 R")
    bodies[0] = b"<< /Type /Catalog /Pages 2 0 R >>"
    bodies[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(kids)}] >>".encode()
    return pdf_file(bodies)


def scanned(pages: Sequence[Image.Image], *, angle: float = 0.0, dpi: int = 150) -> bytes:
    """Pictures of pages as a scanner leaves them: gray, a little askew, blurred and compressed."""
    sheets = [
        page.convert("L")
        .rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)
        .filter(ImageFilter.GaussianBlur(0.6))
        for page in pages
    ]
    target = io.BytesIO()
    sheets[0].save(target, "PDF", save_all=True, append_images=sheets[1:], resolution=dpi, quality=70)
    return target.getvalue()


def _content(sheet: Sheet) -> bytes:
    height = sheet.size[1]
    parts = [
        f"BT /{_face(line)} {line.size:g} Tf {line.x:g} {height - line.y:.2f} Td "
        f"({_escaped(line.text)}) Tj ET"
        for line in sheet.lines
    ]
    parts += [f"{x0:g} {height - y0:.2f} m {x1:g} {height - y1:.2f} l S" for x0, y0, x1, y1 in sheet.rules]
    if sheet.picture is not None:
        parts.append("q 400 0 0 400 50 50 cm /I Do Q")
    return "\n".join(parts).encode("cp1252")


def _face(line: Line) -> str:
    return "F3" if line.typewriter else "F2" if line.bold else "F1"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _font(name: str) -> bytes:
    return f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>".encode()


def _picture(width: int, height: int) -> bytes:
    head = f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceGray"
    return _stream(bytes(1024), f"{head} /BitsPerComponent 8 /Filter /FlateDecode")


def _stream(data: bytes, head: str = "/Filter /FlateDecode") -> bytes:
    return object_stream(zlib.compress(data), head)


def object_stream(data: bytes, head: str = "") -> bytes:
    """A stream object; `head` says what the data is, and how it is packed."""
    return f"<< {head} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"


def pdf_file(bodies: Sequence[bytes]) -> bytes:
    """The file of these objects, numbered from 1; the first is the catalogue."""
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(bodies, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(bodies) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    out += f"trailer << /Size {len(bodies) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)
