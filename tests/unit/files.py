"""The beginnings of files in many formats."""

import base64
import io
import struct
import zipfile

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def zipped(*entries: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in entries:
            archive.writestr(zipfile.ZipInfo(name), text)  # of a fixed date: test ids are made of these bytes
    return buffer.getvalue()


def riff(kind: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + kind + b"\0" * 100


def media(*brands: bytes) -> bytes:
    head = b"ftyp" + brands[0] + b"\0\0\2\0" + b"".join(brands)
    return struct.pack(">I", len(head) + 4) + head + b"\0" * 100


def ogg(codec: bytes) -> bytes:
    return b"OggS\0\2" + b"\0" * 22 + codec + b"\0" * 40


def matroska(kind: bytes) -> bytes:
    return (
        b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\1\x42\xf7\x81\1\x42\x82"
        + bytes([0x80 + len(kind)])
        + kind
        + b"\0" * 40
    )


XLSX = zipped(("[Content_Types].xml", "<Types/>"), ("_rels/.rels", ""), ("xl/workbook.xml", "<workbook/>"))
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
OLE = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 512
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj"

FILES: dict[str, tuple[bytes, str | None]] = {
    "png": (PNG, "image/png"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + b"\0" * 50, "image/jpeg"),
    "exif": (b"\xff\xd8\xff\xe1\0\x10Exif\0" + b"\0" * 50, "image/jpeg"),
    "gif": (b"GIF89a\1\0\1\0\0\0\0" + b"\0" * 50, "image/gif"),
    "webp": (riff(b"WEBPVP8 "), "image/webp"),
    "bmp": (b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0" + b"\0" * 50, "image/bmp"),
    "tiff": (b"II*\0\x08\0\0\0" + b"\0" * 50, "image/tiff"),
    "avif": (media(b"avif", b"mif1"), "image/avif"),
    "heic": (media(b"heic"), "image/heic"),
    "heif": (media(b"mif1", b"heic"), "image/heif"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 20, "image/jp2"),
    "wav": (riff(b"WAVEfmt "), "audio/wav"),
    "mp3 tag": (b"ID3\x04\0\0\0\0\0\x0a" + b"\0" * 60, "audio/mpeg"),
    "mp3": (b"\xff\xfb\x90\x64" + b"\0" * 400, "audio/mpeg"),
    "mp3 mpeg-2": (b"\xff\xf3\x40\xc0" + b"\0" * 400, "audio/mpeg"),
    "flac": (b"fLaC\0\0\0\x22" + b"\0" * 50, "audio/flac"),
    "vorbis": (ogg(b"\x01\x1e\x01vorbis"), "audio/ogg"),
    "theora": (ogg(b"\x01\x2a\x80theora"), "video/ogg"),
    "m4a": (media(b"M4A ", b"isom"), "audio/mp4"),
    "aac": (b"\xff\xf1\x50\x80\x2e\x7f\xfc" + b"\0" * 40, "audio/aac"),
    "mp4": (media(b"isom", b"avc1"), "video/mp4"),
    "fragmented mp4": (media(b"iso5", b"dash"), "video/mp4"),
    "mov": (media(b"qt  "), "video/quicktime"),
    "3gp": (media(b"3gp4"), "video/3gpp"),
    "webm": (matroska(b"webm"), "video/webm"),
    "mkv": (matroska(b"matroska"), "video/x-matroska"),
    "avi": (riff(b"AVI LIST"), "video/x-msvideo"),
    "mpeg": (b"\0\0\1\xba\x44" + b"\0" * 40, "video/mpeg"),
    "transport stream": ((b"G\x40\0\x10" + b"\xff" * 184) * 4, "video/mp2t"),
    "pdf": (PDF, "application/pdf"),
    "pdf after junk": (b"\x00\x01junk\r\n" + PDF, "application/pdf"),
    "xlsx": (XLSX, XLSX_TYPE),
    "docx": (
        zipped(("[Content_Types].xml", "<Types/>"), ("word/document.xml", "")),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    "ods": (
        zipped(("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", "")),
        "application/vnd.oasis.opendocument.spreadsheet",
    ),
    "zip": (zipped(("xl.txt", "hello")), "application/zip"),
    "xls": (OLE + "Workbook".encode("utf-16-le") + b"\0" * 64, "application/vnd.ms-excel"),
    "doc": (OLE + "WordDocument".encode("utf-16-le") + b"\0" * 64, "application/msword"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\0" * 20, "application/gzip"),
    "windows program": (b"MZ\x90\0\3\0" + b"\0" * 60, "application/x-msdownload"),
    "html": (b"\n<!DOCTYPE html><html><body><svg></svg></body></html>", "text/html"),
    "text": ("Grüße, 日本語".encode(), "text/plain"),
    "text cut inside a character": (("日" * 30_000).encode(), "text/plain"),
    "utf-16": ("hello, this is text".encode("utf-16"), "text/plain"),
    "text like a bitmap": (b"BM is short for many things", "text/plain"),
    "text like a gif": (b"GIF89a is a format name", "text/plain"),
    "text on pdf": (b"The header of a PDF is %PDF-1.7", "text/plain"),
    "random": (bytes(range(200, 256)) * 3, None),
    "empty": (b"", None),
}
