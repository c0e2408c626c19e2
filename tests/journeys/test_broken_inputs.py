"""Broken and unusual files beside good ones: each is its object's failure, with a reason, or a right result.

Files are uploaded. What ingest refuses by its bytes reaches the extractors by a reference to a URL, whose
content nobody has looked into before.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from lamina.inference.packages import PackageFile
from lamina.media.images import read_image
from lamina.media.perceptual_hash import differing_bits, perceptual_hash
from tests import broken
from tests.extractors.pages import Reply, serving
from tests.films import film, frames_of
from tests.media import faces, located, pages, sound, video
from tests.media.photos import PHOTOS
from tests.pdfs import Line, Sheet, written
from tests.server import RunningServer
from tests.sounds import silence, silent_mp3
from tests.steps import create_bucket, create_collection, documents, finished, ok, process, refused

pytestmark = pytest.mark.timeout(900)

WORKER_MEMORY = 2 << 30
"""Limit of the server under test: what promises to work must work within it."""

SECONDS = 420.0
"""Longest time for a batch, though a file in it may take all the memory that a worker has."""

Documents = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Given:
    """A file, and what becomes of it: a failure whose reason has these words, or documents of these facts."""

    content: Callable[[], bytes]
    filename: str
    mime_type: str
    property: str
    reason: str | None = None
    facts: Callable[[Documents], None] | None = None
    refused: bool = False
    """Whether ingest refuses it for its bytes, so that only a reference brings it to the extractor."""


# What is expected of documents


def one(**fields: Any) -> Callable[[Documents], None]:
    """One document with these fields."""

    def check(found: Documents) -> None:
        (document,) = found
        assert {name: document.get(name) for name in fields} == fields

    return check


def some(found: Documents) -> None:
    assert found


def none(found: Documents) -> None:
    assert not found


def says(*texts: str) -> Callable[[Documents], None]:
    """Documents whose text holds these."""

    def check(found: Documents) -> None:
        whole = " ".join(" ".join(str(document.get("text") or "").split()) for document in found)
        for text in texts:
            assert text in whole, whole

    return check


def both(*checks: Callable[[Documents], None]) -> Callable[[Documents], None]:
    def check(found: Documents) -> None:
        for each in checks:
            each(found)

    return check


def mostly(colour: tuple[int, int, int]) -> Callable[[Documents], None]:
    """A document whose most frequent colour is near to this one."""

    def check(found: Documents) -> None:
        (document,) = found
        first = document["dominant_colors"][0]["hex"].lstrip("#")
        near = [int(first[at : at + 2], 16) for at in (0, 2, 4)]
        assert max(abs(a - b) for a, b in zip(near, colour, strict=True)) < 24, document["dominant_colors"]

    return check


def looks_like(upright: str) -> Callable[[Documents], None]:
    """A document of a picture that is a near copy of another."""

    def check(found: Documents) -> None:
        (document,) = found
        assert differing_bits(document["phash"], upright) <= 6, document["phash"]

    return check


def silent(hours: float, segment: float) -> Callable[[Documents], None]:
    """Segments of a sound without speech, one after the other up to its end."""

    def check(found: Documents) -> None:
        ends = sorted(document["end_time"] for document in found)
        assert len(found) == hours * 3600 / segment
        assert ends[-1] == pytest.approx(hours * 3600, abs=1)
        assert not any(document.get("has_speech") or document.get("transcription") for document in found)

    return check


def without_speech(found: Documents) -> None:
    assert found
    assert not any("transcription" in document or document.get("has_speech") for document in found)


def spoken(words: str) -> Callable[[Documents], None]:
    def check(found: Documents) -> None:
        heard = " ".join(str(document.get("transcription")) for document in found).lower()
        assert words in heard, heard

    return check


# Files


def kept(file: PackageFile) -> Callable[[], bytes]:
    return located(file).read_bytes


def opened(name: str) -> Image.Image:
    return Image.open(located(PHOTOS[name])).convert("RGB")


@cache
def ten_hours() -> bytes:
    return silence(10)


@cache
def ten_hours_of_mp3() -> bytes:
    return silent_mp3(10)


@cache
def cut_short() -> bytes:
    """A Matroska video of which the second half is missing."""
    whole = film(frames_of(video.BIKES, side=320), container="matroska")
    return whole[: len(whole) // 2]


def without_index() -> bytes:
    """An MP4 video that ends before its index."""
    return located(video.BUNNY).read_bytes()[:500_000]


def red() -> Image.Image:
    return Image.new("RGB", (300, 200), (214, 40, 40))


def letter(*lines: str) -> bytes:
    return written([Sheet([Line(line, 60, 100 + 40 * at, 14) for at, line in enumerate(lines)])])


SOUGHT = "The keeper of the lighthouse counts the ships at night."
NINO = (
    "El niño pequeño soñaba con montañas y ríos. Mañana será otro día, dijo su abuela, y él cerró los ojos "
    "con ilusión."
)
IROHA = "いろはにほへと ちりぬるを わかよたれそ つねならむ うゐのおくやま けふこえて " * 8
AUSTEN = sound.AUSTEN["he was not an ill disposed young man"]

LOCKED = "protected by a password"
NO_SOUND = "no audio|damaged|no sound"
MKV = "video/x-matroska"
PNG, JPEG, PDF, MP4, TEXT = "image/png", "image/jpeg", "application/pdf", "video/mp4", "text/plain"

Table = Mapping[str, Given]


def pictures() -> Table:
    """What `image_extractor` is given."""
    cat = {"width": 451, "height": 300}
    return {
        "a photo": Given(kept(PHOTOS["chelsea"]), "cat.png", PNG, "photo", facts=one(**cat, format="PNG")),
        "a JPEG": Given(kept(PHOTOS["rocket"]), "r.jpg", JPEG, "photo", facts=one(width=640, height=427)),
        "a good page": Given(lambda: letter(SOUGHT), "a.pdf", PDF, "page", facts=one(page_number=1)),
        "zero bytes": Given(lambda: b"", "zero.png", PNG, "photo", "empty file"),
        "half a photo": Given(
            lambda: kept(PHOTOS["rocket"])()[:40_000], "half.jpg", JPEG, "photo", "truncated"
        ),
        "a PNG named .mp4": Given(
            kept(PHOTOS["chelsea"]), "cat.mp4", MP4, "photo", facts=one(**cat, format="PNG")
        ),
        "words named .jpg": Given(
            lambda: b"no picture at all", "a.jpg", JPEG, "photo", "not an image", refused=True
        ),
        "a bomb that says so": Given(
            lambda: broken.picture_bomb(60_000, 60_000), "bomb.png", PNG, "photo", "too large"
        ),
        "a bomb in a text chunk": Given(broken.text_chunk_bomb, "bomb.png", PNG, "photo", "damaged"),
        "a ZIP bomb": Given(broken.zip_bomb, "bomb.png", PNG, "photo", "not an image", refused=True),
        "100 megapixels": Given(
            broken.hundred_megapixels, "large.jpg", JPEG, "photo", facts=one(width=12_000, height=8_500)
        ),
        "an animated GIF": Given(
            lambda: broken.animated(opened("chelsea"), "GIF"), "a.gif", "image/gif", "photo",
            facts=one(**cat, format="GIF", frame_count=5),
        ),
        "an animated WebP": Given(
            lambda: broken.animated(opened("chelsea"), "WEBP"), "a.webp", "image/webp", "photo",
            facts=one(**cat, format="WEBP", frame_count=5),
        ),
        "an animated PNG": Given(
            lambda: broken.animated(opened("chelsea"), "PNG"), "a.png", PNG, "photo",
            facts=one(**cat, format="PNG", frame_count=5),
        ),
        "CMYK": Given(
            lambda: broken.cmyk(red()), "print.jpg", JPEG, "photo",
            facts=both(one(width=300, height=200, format="JPEG"), mostly((214, 40, 40))),
        ),
        **{
            f"turned by EXIF, {orientation}": Given(
                partial(broken.turned, opened("chelsea"), orientation),
                "turned.jpg", JPEG, "photo", facts=both(one(**cat), looks_like(cat_hash())),
            )
            for orientation in (3, 6, 8)
        },
        "a PDF with a password": Given(kept(pages.PROTECTED), "p.pdf", PDF, "page", LOCKED),
        "a malformed PDF": Given(kept(pages.CORRUPT), "c.pdf", PDF, "page", "damaged PDF"),
        "a PDF cut off": Given(lambda: letter(SOUGHT)[:300], "cut.pdf", PDF, "page", "damaged PDF"),
        "a PDF bomb of pixels": Given(
            lambda: written([Sheet(picture=(60_000, 60_000))]), "bomb.pdf", PDF, "page", "3,600 megapixels"
        ),
    }  # fmt: skip


def takes() -> Table:
    """What `multimodal_extractor` is given."""
    return {
        "a good video": Given(kept(video.BIKES), "b.mp4", MP4, "clip", facts=both(some, without_speech)),
        "a good recording": Given(
            kept(AUSTEN), "a.wav", "audio/wav", "sound", facts=spoken("he was not an")
        ),
        "a good photo": Given(kept(PHOTOS["chelsea"]), "cat.png", PNG, "photo", facts=one()),
        "a good text": Given(SOUGHT.encode, "a.txt", TEXT, "text", facts=one(text=SOUGHT)),
        "zero bytes": Given(lambda: b"", "zero.mp4", MP4, "clip", "is empty"),
        "half a video": Given(cut_short, "half.mkv", MKV, "clip", "truncated"),
        "a video without its index": Given(without_index, "cut.mp4", MP4, "clip", "index is missing"),
        "a PNG named .mp4": Given(
            kept(PHOTOS["chelsea"]), "cat.mp4", MP4, "clip", "no audio or video", refused=True
        ),
        "a ZIP bomb": Given(broken.zip_bomb, "bomb.mp4", MP4, "clip", "no audio or video", refused=True),
        "ten hours of silence": Given(
            ten_hours_of_mp3, "silence.mp3", "audio/mpeg", "sound", facts=silent(10, 60)
        ),
        "a header alone": Given(
            kept(sound.BROKEN["a header alone"]), "null.wav", "audio/wav", "sound", NO_SOUND
        ),
        "an animated GIF": Given(
            lambda: broken.animated(opened("chelsea"), "GIF"), "a.gif", "image/gif", "clip",
            facts=one(start_time=0.0, end_time=0.5),
        ),
        "100 megapixels": Given(broken.hundred_megapixels, "large.jpg", JPEG, "photo", facts=one()),
        "CMYK": Given(lambda: broken.cmyk(opened("chelsea")), "print.jpg", JPEG, "photo", facts=one()),
        "a picture bomb": Given(
            lambda: broken.picture_bomb(60_000, 60_000), "bomb.png", PNG, "photo", "too large"
        ),
        "Latin-1": Given(lambda: NINO.encode("latin-1"), "l.txt", TEXT, "text", facts=one(text=NINO)),
    }  # fmt: skip


def printed() -> Table:
    """What `document_graph_extractor` is given."""
    return {
        "a good letter": Given(lambda: letter(SOUGHT), "a.pdf", PDF, "page", facts=says(SOUGHT)),
        "another": Given(kept(pages.LETTER), "b.pdf", PDF, "page", facts=says("The round pegs")),
        "a password": Given(kept(pages.PROTECTED), "p.pdf", PDF, "page", LOCKED),
        "malformed": Given(kept(pages.CORRUPT), "c.pdf", PDF, "page", "damaged PDF"),
        "cut off": Given(lambda: letter(SOUGHT)[:300], "cut.pdf", PDF, "page", "damaged PDF"),
        "zero bytes": Given(lambda: b"", "zero.pdf", PDF, "page", "empty file"),
        "a PNG named .pdf": Given(
            kept(PHOTOS["page"]), "page.pdf", PDF, "page", "not a PDF", refused=True
        ),
        "a ZIP bomb": Given(broken.zip_bomb, "bomb.pdf", PDF, "page", "not", refused=True),
        "a bomb of pixels": Given(
            lambda: written([Sheet(picture=(60_000, 60_000))]), "bomb.pdf", PDF, "page", "3,600 megapixels"
        ),
        "a bomb of blanks": Given(broken.stream_bomb, "bomb.pdf", PDF, "page", "MiB of memory"),
        "a bomb of forms": Given(broken.nested_forms_bomb, "bomb.pdf", PDF, "page", "MiB of memory"),
        "too many pages": Given(
            lambda: written([Sheet()] * 10_000), "long.pdf", PDF, "page", "has 10,000 pages"
        ),
        "a scan turned by EXIF": Given(
            lambda: broken.turned(opened("page"), 6), "scan.jpg", JPEG, "photo", facts=says("segmentation")
        ),
        "a scan in CMYK": Given(
            lambda: broken.cmyk(opened("page")), "scan.jpg", JPEG, "photo", facts=says("segmentation")
        ),
    }  # fmt: skip


def everything() -> Table:
    """What `universal_extractor` is given."""

    def kind(name: str) -> Callable[[Documents], None]:
        def check(found: Documents) -> None:
            assert {document["content_type"] for document in found} == {name}

        return check

    return {
        "a good photo": Given(kept(PHOTOS["chelsea"]), "cat.png", PNG, "photo", facts=kind("image")),
        "a good video": Given(kept(video.BIKES), "b.mp4", MP4, "clip", facts=kind("video")),
        "a good recording": Given(
            kept(AUSTEN), "a.wav", "audio/wav", "sound", facts=spoken("he was not an")
        ),
        "a good letter": Given(lambda: letter(SOUGHT), "a.pdf", PDF, "page", facts=says(SOUGHT)),
        "a good text": Given(SOUGHT.encode, "a.txt", TEXT, "text", facts=one(text=SOUGHT)),
        "zero bytes": Given(lambda: b"", "zero.png", PNG, "photo", "empty"),
        "half a video": Given(cut_short, "half.mkv", MKV, "clip", "truncated"),
        "a PNG named .mp4": Given(
            kept(PHOTOS["chelsea"]), "cat.mp4", MP4, "clip", facts=kind("image"), refused=True
        ),
        "a PDF with a password": Given(kept(pages.PROTECTED), "p.pdf", PDF, "page", LOCKED),
        "a malformed PDF": Given(kept(pages.CORRUPT), "c.pdf", PDF, "page", "damaged PDF"),
        "a PDF bomb of blanks": Given(broken.stream_bomb, "bomb.pdf", PDF, "page", "MiB of memory"),
        "a picture bomb": Given(
            lambda: broken.picture_bomb(60_000, 60_000), "bomb.png", PNG, "photo", "too large"
        ),
        "a ZIP bomb": Given(broken.zip_bomb, "bomb.pdf", PDF, "page", "application/zip", refused=True),
        "ten hours of silence": Given(
            ten_hours, "silence.mka", "audio/x-matroska", "sound",
            facts=both(kind("audio"), silent(10 * 30 / 3600, 30)),
        ),
        "an animated GIF": Given(
            lambda: broken.animated(opened("chelsea"), "GIF"), "a.gif", "image/gif", "clip", facts=some
        ),
        "CMYK": Given(lambda: broken.cmyk(red()), "print.jpg", JPEG, "photo", facts=kind("image")),
        "turned by EXIF": Given(
            lambda: broken.turned(opened("page"), 8), "scan.jpg", JPEG, "photo", facts=kind("image")
        ),
        "100 megapixels": Given(broken.hundred_megapixels, "large.jpg", JPEG, "photo", facts=kind("image")),
        "Latin-1": Given(lambda: NINO.encode("latin-1"), "l.txt", TEXT, "text", facts=one(text=NINO)),
        "bytes of nothing": Given(
            lambda: b"\xef\xbb\xbf not UTF-8, as it says: \xff\xfe", "n.txt", TEXT, "text", "not text"
        ),
    }  # fmt: skip


def words() -> Table:
    """What `text_extractor` is given."""
    mark = b"\xef\xbb\xbf"
    return {
        "a good text": Given(SOUGHT.encode, "a.txt", TEXT, "text", facts=one(text=SOUGHT)),
        "Latin-1": Given(lambda: NINO.encode("latin-1"), "l.txt", TEXT, "text", facts=one(text=NINO)),
        "Shift JIS": Given(lambda: IROHA.encode("sjis"), "j.txt", TEXT, "text", facts=says("いろは")),
        "UTF-16": Given(lambda: SOUGHT.encode("utf-16"), "w.txt", TEXT, "text", facts=one(text=SOUGHT)),
        "a broken promise of UTF-8": Given(
            lambda: mark + b"no: \xff\xfe\xfd", "b.txt", TEXT, "text", "not text"
        ),
        "zeros": Given(lambda: bytes(4096), "z.txt", TEXT, "text", "not text"),
        "zero bytes": Given(lambda: b"", "zero.txt", TEXT, "text", "holds no text"),
        "a ZIP bomb": Given(broken.zip_bomb, "bomb.txt", TEXT, "text", "not text", refused=True),
    }  # fmt: skip


def portraits() -> Table:
    """What `face_identity_extractor` is given."""
    portrait = faces.ONE_PERSON[0]

    def face() -> Image.Image:
        return Image.open(located(portrait)).convert("RGB")

    return {
        "a good portrait": Given(kept(portrait), "p.jpg", JPEG, "photo", facts=one(face_index=0)),
        "zero bytes": Given(lambda: b"", "zero.jpg", JPEG, "photo", "empty"),
        "half a portrait": Given(lambda: kept(portrait)()[:20_000], "h.jpg", JPEG, "photo", "damaged"),
        "CMYK": Given(lambda: broken.cmyk(face()), "c.jpg", JPEG, "photo", facts=one(face_index=0)),
        "turned by EXIF": Given(
            lambda: broken.turned(face(), 6), "t.jpg", JPEG, "photo", facts=one(face_index=0)
        ),
        "100 megapixels of nobody": Given(broken.hundred_megapixels, "large.jpg", JPEG, "photo", facts=none),
        "half a video": Given(cut_short, "half.mkv", MKV, "clip", "truncated"),
        "a PDF with a password": Given(kept(pages.PROTECTED), "p.pdf", PDF, "page", LOCKED),
    }  # fmt: skip


def recordings() -> Table:
    """What `audio_fingerprint_extractor` is given."""
    return {
        "a good recording": Given(kept(AUSTEN), "a.wav", "audio/wav", "sound", facts=some),
        "ten hours of silence": Given(ten_hours, "silence.mka", "audio/x-matroska", "sound", facts=some),
        "a video without sound": Given(kept(video.BIKES), "b.mp4", MP4, "clip", "no sound track"),
        "zero bytes": Given(lambda: b"", "zero.wav", "audio/wav", "sound", "empty"),
        "a header of nothing": Given(
            kept(sound.BROKEN["a header of nothing"]), "bad.wav", "audio/wav", "sound", NO_SOUND
        ),
        "a PNG named .mp4": Given(
            kept(PHOTOS["chelsea"]), "cat.mp4", MP4, "clip", "no audio or video", refused=True
        ),
    }  # fmt: skip


def lectures() -> Table:
    """What `course_content_extractor` is given."""
    return {
        "a good video": Given(kept(video.BIKES), "b.mp4", MP4, "clip", facts=some),
        "a good letter": Given(lambda: letter(SOUGHT), "a.pdf", PDF, "page", facts=some),
        "a good source file": Given(lambda: b"def fly():\n    return 1\n", "a.py", TEXT, "text", facts=some),
        "ten hours of silence": Given(ten_hours, "silence.mka", "audio/x-matroska", "sound", facts=some),
        "zero bytes": Given(lambda: b"", "zero.mp4", MP4, "clip", "empty"),
        "half a video": Given(cut_short, "half.mkv", MKV, "clip", "truncated"),
        "a video without its index": Given(without_index, "cut.mp4", MP4, "clip", "index is missing"),
        "a PDF with a password": Given(kept(pages.PROTECTED), "p.pdf", PDF, "page", LOCKED),
        "a malformed PDF": Given(kept(pages.CORRUPT), "c.pdf", PDF, "page", "damaged PDF"),
        "a bomb of forms": Given(broken.nested_forms_bomb, "bomb.pdf", PDF, "page", "MiB of memory"),
    }  # fmt: skip


def credits_that_roll() -> Table:
    """What `scrolling_text_extractor` is given."""
    return {
        "a good video": Given(kept(video.BIKES), "b.mp4", MP4, "clip", facts=says("TAX")),
        "zero bytes": Given(lambda: b"", "zero.mp4", MP4, "clip", "empty"),
        "half a video": Given(cut_short, "half.mkv", MKV, "clip", "truncated"),
        "a video without its index": Given(without_index, "cut.mp4", MP4, "clip", "index is missing"),
        "a PNG named .mp4": Given(
            kept(PHOTOS["chelsea"]), "cat.mp4", MP4, "clip", "no audio or video", refused=True
        ),
    }  # fmt: skip


def sights() -> Table:
    """What `colqwen_extractor` is given."""
    return {
        "a good photo": Given(kept(PHOTOS["chelsea"]), "cat.png", PNG, "photo", facts=one(width=451)),
        "a good page": Given(lambda: letter(SOUGHT), "a.pdf", PDF, "page", facts=one(page_number=1)),
        "zero bytes": Given(lambda: b"", "zero.png", PNG, "photo", "empty file"),
        "CMYK": Given(lambda: broken.cmyk(red()), "print.jpg", JPEG, "photo", facts=one(width=300)),
        "100 megapixels": Given(broken.hundred_megapixels, "l.jpg", JPEG, "photo", facts=one(width=12_000)),
        "a picture bomb": Given(
            lambda: broken.picture_bomb(60_000, 60_000), "bomb.png", PNG, "photo", "too large"
        ),
        "a PDF with a password": Given(kept(pages.PROTECTED), "p.pdf", PDF, "page", LOCKED),
        "a bomb of forms": Given(broken.nested_forms_bomb, "bomb.pdf", PDF, "page", "MiB of memory"),
    }  # fmt: skip


def bundles() -> Table:
    """What `gemini_multifile_extractor` is given."""
    return {
        "a good photo": Given(kept(PHOTOS["chelsea"]), "cat.png", PNG, "photo", facts=one(file_count=1)),
        "a good text": Given(SOUGHT.encode, "a.txt", TEXT, "text", facts=one(file_count=1, text=SOUGHT)),
        "zero bytes": Given(lambda: b"", "zero.png", PNG, "photo", "empty"),
        "half a video": Given(cut_short, "half.mkv", MKV, "clip", "truncated"),
        "a malformed PDF": Given(kept(pages.CORRUPT), "c.pdf", PDF, "page", "damaged PDF"),
        "a ZIP bomb": Given(broken.zip_bomb, "bomb.pdf", PDF, "page", "application/zip", refused=True),
        "bytes of nothing": Given(
            lambda: b"\xef\xbb\xbf not UTF-8, as it says: \xff\xfe", "n.txt", TEXT, "text", "not text"
        ),
    }  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """An extractor, the properties of the bucket that each of its inputs reads, and what it is given."""

    extractor: str
    mappings: Mapping[str, str | list[str]]
    given: Callable[[], Table]
    parameters: Mapping[str, Any]


READINGS = [
    Reading("image_extractor", {"image": ["photo", "page"]}, pictures, {}),
    Reading(
        "multimodal_extractor",
        {"video": "clip", "audio": "sound", "image": "photo", "text": "text"},
        takes,
        {"time_split_interval": 60, "run_transcription": True},
    ),
    Reading("document_graph_extractor", {"pdf": ["page", "photo"]}, printed, {}),
    Reading("universal_extractor", {"content": ["photo", "clip", "sound", "page", "text"]}, everything, {}),
    Reading("text_extractor", {"text": "text"}, words, {}),
    Reading("face_identity_extractor", {"image": "photo", "video": "clip", "pdf": "page"}, portraits, {}),
    Reading("audio_fingerprint_extractor", {"audio": ["sound", "clip"]}, recordings, {}),
    Reading(
        "course_content_extractor",
        {"video": "clip", "audio": "sound", "pdf": "page", "code": "text"},
        lectures,
        {},
    ),
    Reading("scrolling_text_extractor", {"video": "clip"}, credits_that_roll, {}),
    Reading("colqwen_extractor", {"image": ["photo", "page"]}, sights, {}),
    Reading("gemini_multifile_extractor", {"files": ["photo", "clip", "page", "text"]}, bundles, {}),
]

SCHEMA = {
    "properties": {
        "photo": {"type": "image"}, "clip": {"type": "video"}, "sound": {"type": "audio"},
        "page": {"type": "pdf"}, "text": {"type": "text"},
    }
}  # fmt: skip


@cache
def cat_hash() -> str:
    with located(PHOTOS["chelsea"]).open("rb") as file:
        return perceptual_hash(read_image(file, side=640).pixels)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server that may fetch from loopback, with the least memory for its workers that shall do."""
    env = {
        "LAMINA_FETCH_PRIVATE_ADDRESSES": "true",
        "LAMINA_WORKERS": "2",
        "LAMINA_WORKER_MEMORY": str(WORKER_MEMORY),
    }
    with (
        RunningServer(tmp_path_factory.mktemp("broken") / "data", env=env) as server,
        server.client(timeout=120) as api,
    ):
        yield api


def uploaded(api: httpx.Client, bucket_id: str, given: Given) -> httpx.Response:
    """The answer to the confirmation of an upload, which makes an object of it."""
    wish = {"filename": given.filename, "content_type": given.mime_type, "blob_property": given.property}
    upload = ok(api.post(f"/v1/buckets/{bucket_id}/uploads", json={**wish, "skip_duplicates": False}))
    sent = httpx.put(
        upload["presigned_url"],
        content=given.content(),
        headers={"Content-Type": given.mime_type},
        timeout=120,
    )
    assert sent.status_code == 200, sent.text
    return api.post(f"/v1/buckets/{bucket_id}/uploads/{upload['upload_id']}/confirm")


@contextmanager
def objects_of(api: httpx.Client, bucket_id: str, table: Table) -> Iterator[dict[str, str]]:
    """The objects of a table's files by their names, while the site that holds some of them is there."""
    numbered = list(table.items())
    replies = {
        f"/{at}/{given.filename}": Reply(given.content(), given.mime_type)
        for at, (_, given) in enumerate(numbered)
        if given.refused
    }
    with serving(replies) as site:
        ids = {}
        for at, (name, given) in enumerate(numbered):
            answer = uploaded(api, bucket_id, given)
            if not given.refused:
                ids[name] = ok(answer)["object_id"]
                continue
            assert given.property in SCHEMA["properties"]
            assert "uploaded file is" in refused(answer, 422)["message"]
            url = f"{site.url}/{at}/{given.filename}"
            blob = {
                "property": given.property, "type": SCHEMA["properties"][given.property]["type"], "data": url,
                "canonicalize_source": False,
            }  # fmt: skip
            made = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json={"blobs": [blob]}))
            ids[name] = made["object_id"]
        yield ids


def batch_of(api: httpx.Client, bucket_id: str, ids: Sequence[str]) -> Any:
    """A batch over these objects that has ended with errors, in time."""
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(api.post(batches, json={"object_ids": list(ids)}))["batch_id"]
    task_id = ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"]
    finished(api, task_id, status="COMPLETED_WITH_ERRORS", seconds=SECONDS)
    return ok(api.get(f"/v1/batches/{batch_id}"))


def by_object(api: httpx.Client, collection_id: str) -> dict[str, list[dict[str, Any]]]:
    """The documents of each object."""
    found: dict[str, list[dict[str, Any]]] = {}
    for document in documents(api, collection_id):
        found.setdefault(document["_internal"]["lineage"]["root_object_id"], []).append(document)
    return found


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.extractor)
def test_each_file_fails_with_its_reason_or_is_documented_right(
    running: httpx.Client, reading: Reading
) -> None:
    api, table = running, reading.given()
    bucket_id = create_bucket(api, SCHEMA)["bucket_id"]
    extractor = {
        "feature_extractor_name": reading.extractor,
        "version": "v1",
        "input_mappings": dict(reading.mappings),
        "parameters": dict(reading.parameters),
    }
    collection_id = create_collection(api, bucket_id, feature_extractor=extractor)["collection_id"]
    with objects_of(api, bucket_id, table) as ids:
        began = time.monotonic()
        batch = batch_of(api, bucket_id, list(ids.values()))
    print(f"{reading.extractor}: {len(ids)} objects in {time.monotonic() - began:.0f} s")

    failures = {failed["object_id"]: failed for failed in batch["failed_objects"]}
    found = by_object(api, collection_id)
    wrong = {}
    for name, given in table.items():
        failed, made = failures.get(ids[name]), found.get(ids[name], [])
        try:
            if given.reason is not None:
                assert failed is not None, made
                assert any(words in failed["error"] for words in given.reason.split("|")), failed["error"]
                assert failed["error_type"] == "permanent"
            else:
                assert failed is None, failed
                assert given.facts is not None
                given.facts(made)
        except AssertionError as error:
            wrong[name] = str(error)[:2000]
    assert not wrong, "\n".join(f"- {name}: {what}" for name, what in wrong.items())

    # nothing has vanished, and nobody learns more of the machine than the reason
    expected = {ids[name] for name, given in table.items() if given.reason is not None}
    assert set(failures) == expected
    assert batch["failed_object_count"] == len(expected)
    assert batch["progress"]["objects_failed"] + batch["progress"]["objects_extracted"] == len(ids)
    assert set(found) <= set(ids.values()) - expected
    assert "Traceback" not in str(batch)
    for object_id in ids.values():
        status = ok(api.get(f"/v1/buckets/{bucket_id}/objects/{object_id}"))["status"]
        assert status == ("FAILED" if object_id in expected else "COMPLETED")


# Workers that die

DEADLY = '''"""An extractor that does to its worker what a text tells it."""

import ctypes
import os
import signal
import time
from typing import Literal

from lamina.extractors.base import Extractor, ExtractorParameters, Part


def die(how):
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "crash":
        ctypes.string_at(0)
    if how == "leave":
        os._exit(3)
    if how == "allocate":
        held = []
        while True:
            held.append(bytearray(os.urandom(1) * (8 << 20)))
    if how == "hang":
        time.sleep(3600)
    if how == "raise":
        raise RuntimeError("nobody foresaw this")


class Parameters(ExtractorParameters):
    extractor_type: Literal["deadly"] = "deadly"


class Deadly(Extractor):
    name = "deadly"
    description = "Does to its worker what a text tells it."
    category = "text"
    inputs = {"text": ["text", "string"]}
    Parameters = Parameters

    @classmethod
    def vectors(cls, parameters, models):
        return []

    @classmethod
    def output_schema(cls, parameters):
        return {"said": {"type": "string"}}

    def extract(self, sources):
        for source in sources:
            die(source.inputs["text"])
        return [[Part("0", {"said": source.inputs["text"]}, modality="text")] for source in sources]


EXTRACTOR = Deadly
'''

DEATHS = {
    "kill": "the worker process died (by SIGKILL)",
    "crash": "the worker process died (by SIGSEGV)",
    "leave": "the worker process died (with exit status 3)",
    "allocate": "it used more than 600 MiB of memory and was stopped",
    "hang": "it took longer than 5 s and was stopped",
    "raise": "RuntimeError: nobody foresaw this",
}
"""What is done to a worker, and the reason that its object fails for."""


def test_a_worker_that_dies_takes_nothing_else_with_it(tmp_path: Path) -> None:
    (tmp_path / "own" / "deadly").mkdir(parents=True)
    (tmp_path / "own" / "deadly" / "__init__.py").write_text(DEADLY)
    env = {
        "LAMINA_EXTRACTORS": str(tmp_path / "own"),
        "LAMINA_WORKERS": "2",
        "LAMINA_WORKER_MEMORY": str(600 << 20),
        "LAMINA_EXTRACTION_TIMEOUT": "5",
    }
    with RunningServer(tmp_path / "data", env=env) as server, server.client() as api:
        bucket_id = create_bucket(api, {"properties": {"text": {"type": "text"}}})["bucket_id"]
        texts = [f"good {number}" for number in range(40)]
        for at, how in enumerate(DEATHS):
            texts.insert(6 * at + 3, how)
        ids = {
            text: ok(api.post(f"/v1/buckets/{bucket_id}/objects", json={"text": text}))["object_id"]
            for text in texts
        }
        deadly = {"feature_extractor_name": "deadly", "version": "v1", "input_mappings": {"text": "text"}}
        plain = {**deadly, "feature_extractor_name": "text_extractor"}
        first = create_collection(api, bucket_id, feature_extractor=deadly)["collection_id"]
        beside = create_collection(api, bucket_id, feature_extractor=plain)["collection_id"]

        began = time.monotonic()
        batch = batch_of(api, bucket_id, list(ids.values()))  # both collections' chunks share workers
        assert time.monotonic() - began < 120
        failures = {failed["object_id"]: failed["error"] for failed in batch["failed_objects"]}
        assert set(failures) == {ids[how] for how in DEATHS}
        for how, reason in DEATHS.items():
            assert failures[ids[how]] == f"deadly failed: {reason}"
        assert {one["said"] for one in documents(api, first)} == set(texts) - set(DEATHS)
        assert {one["text"] for one in documents(api, beside)} == set(texts)

        # the server itself never ended, and goes on
        pid = server.pid
        again = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json={"text": "one more"}))["object_id"]
        process(api, bucket_id, [again])
        assert len(documents(api, first)) == 41
        assert server.pid == pid
