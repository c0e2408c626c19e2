"""Pictures of every kind, sound and broken, and what is told of them."""

import io
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw
from PIL.TiffImagePlugin import IFDRational

from lamina.core.errors import ExtractionError
from lamina.media import images
from lamina.media.colours import dominant_colours
from lamina.media.images import Picture, read_image, thumbnail
from lamina.media.perceptual_hash import differing_bits, perceptual_hash
from tests.broken import picture_bomb, saved, text_chunk_bomb
from tests.media import located
from tests.media.photos import PHOTOS

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def read(data: bytes, **options: Any) -> Picture:
    return read_image(io.BytesIO(data), **options)


def photo(name: str, **options: Any) -> Picture:
    return read(located(PHOTOS[name]).read_bytes(), **options)


def corner(picture: Picture) -> tuple[int, ...]:
    return tuple(int(value) for value in picture.pixels[2, 2])


def near(one: Any, other: Any, within: int = 12) -> bool:
    return bool(np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= within)


def quarters(mode: str = "RGB") -> Image.Image:
    """60 × 40: red in the top left corner, blue on the right of it, green below, white opposite."""
    picture = Image.new("RGB", (60, 40), WHITE)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 29, 19), RED)
    draw.rectangle((30, 0, 59, 19), BLUE)
    draw.rectangle((0, 20, 29, 39), GREEN)
    return picture.quantize(8) if mode == "P" else picture.convert(mode)


# Every kind


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        ("PNG", "RGB"),
        ("PNG", "P"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGB"),
        ("AVIF", "RGB"),
        ("GIF", "P"),
        ("TIFF", "CMYK"),
        ("TIFF", "RGB"),
        ("BMP", "RGB"),
        ("PPM", "RGB"),
        ("JPEG2000", "RGB"),
    ],
)
def test_every_format_and_mode_becomes_the_same_rgb(format: str, mode: str) -> None:
    picture = read(saved(quarters(mode), format))
    assert (picture.width, picture.height, picture.format, picture.frames) == (60, 40, format, 1)
    assert picture.pixels.shape == (40, 60, 3)
    assert picture.pixels.dtype == np.uint8
    for at, colour in (((5, 5), RED), ((5, 50), BLUE), ((35, 5), GREEN), ((35, 50), WHITE)):
        assert near(picture.pixels[at], colour, 24), (at, picture.pixels[at])


@pytest.mark.parametrize("mode", ["L", "1", "I;16", "I", "F"])
def test_greys_of_any_depth_become_eight_bits(mode: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 64, dtype=np.uint16), (8, 1))
    values: dict[str, Any] = {
        "L": (ramp // 257).astype(np.uint8),
        "1": ramp > 32000,
        "I;16": ramp,
        "I": ramp.astype(np.int32),
        "F": (ramp / 65535).astype(np.float32),
    }
    picture = read(saved(Image.fromarray(values[mode]), "TIFF"))
    assert corner(picture)[0] <= 10
    assert picture.pixels[4, -1].tolist() == [255, 255, 255]
    if mode != "1":
        assert near(picture.pixels[4, 32], (130, 130, 130), 4)


def test_sixteen_bit_png() -> None:
    values = np.full((10, 10), 32768, np.uint16)
    assert near(corner(read(saved(Image.fromarray(values), "PNG"))), (128, 128, 128), 2)


def test_numbers_that_are_not_finite_do_no_harm() -> None:
    values = np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32)
    assert read(saved(Image.fromarray(values), "TIFF")).pixels[1, 1].tolist() == [127, 127, 127]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparency_lies_on_white(format: str) -> None:
    picture = quarters("RGBA")
    picture.putpixel((2, 2), (255, 0, 0, 0))
    picture.putpixel((3, 3), (0, 0, 0, 128))
    found = read(saved(picture, format, **({"lossless": True} if format == "WEBP" else {})))
    assert found.pixels[2, 2].tolist() == [255, 255, 255]
    assert near(found.pixels[3, 3], (127, 127, 127), 2)
    assert found.pixels[5, 5].tolist() == list(RED)


def test_a_palette_with_a_transparent_colour() -> None:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((2, 2), 0)
    found = read(saved(picture, "PNG", transparency=0))
    assert corner(found) == WHITE
    assert found.pixels[5, 5].tolist() == list(BLUE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_photo_upright(orientation: int) -> None:
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # what the camera did; 6 and 8 undo each other
    stored = quarters() if orientation == 1 else quarters().transpose(turn[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    for side in (2048, 30):
        picture = read(saved(stored, "JPEG", exif=exif, quality=95, subsampling=0), side=side)
        assert (picture.width, picture.height) == (60, 40)
        height, width = picture.pixels.shape[:2]
        assert (width, height) == ((60, 40) if side == 2048 else (30, 20))
        assert near(corner(picture), RED, 40)
        assert near(picture.pixels[2, width - 3], BLUE, 40)
        assert near(picture.pixels[height - 3, 2], GREEN, 40)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(format: str) -> None:
    frames = [Image.new("RGB", (16, 12), colour) for colour in (RED, BLUE, GREEN)]
    picture = read(saved(frames[0], format, save_all=True, append_images=frames[1:], duration=100))
    assert picture.frames == 3
    assert near(corner(picture), RED)


def test_a_real_animation() -> None:
    assert photo("no_time_for_that_tiny").frames == 24


def test_side_bounds_the_pixels_and_the_scale_leads_back() -> None:
    picture = photo("rocket", side=200)
    assert (picture.width, picture.height) == (640, 427)
    assert picture.pixels.shape == (133, 200, 3)
    assert picture.scale == pytest.approx(3.2)


def test_a_large_picture_in_any_mode_is_averaged_in_bands_without_seams() -> None:
    small = photo("coffee")
    large = Image.fromarray(small.pixels).resize((4000, 2667), Image.Resampling.BICUBIC)
    alone = np.asarray(large.resize((300, 200), Image.Resampling.LANCZOS), int)
    for mode in ("RGB", "RGBA", "CMYK"):
        found = read(saved(large.convert(mode), "TIFF"), side=300).pixels.astype(int)
        assert found.shape == (200, 300, 3)
        assert np.abs(found - alone).mean() < 2.5


@pytest.mark.parametrize("side", [2048, 300])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_looks_the_same_whichever_library_decodes_it(
    mode: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(Image.fromarray(photo("coffee").pixels).convert(mode), "JPEG", quality=90)
    found = read(data, side=side).pixels
    monkeypatch.setattr(images, "_decoded_by_opencv", lambda file, scale: None)
    assert found.shape == ((400, 600, 3) if side == 2048 else (200, 300, 3))
    assert near(found, read(data, side=side).pixels, 4)


# Broken and hostile


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_input"),
        (b"\0" * 4096, "not_an_image"),
        (b"just some words", "not_an_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (saved(quarters(), "PNG")[:60], "damaged_image"),
        (saved(quarters(), "JPEG")[:400], "damaged_image"),
        (saved(quarters(), "WEBP")[:60], None),
        (saved(quarters("P"), "GIF")[:-30], None),
        (saved(quarters(), "TIFF")[:4000], "damaged_image"),
        (saved(quarters(), "AVIF")[:200], None),
    ],
    ids=range(11),
)
def test_what_is_no_sound_image_says_so_and_names_its_input(data: bytes, code: str | None) -> None:
    with pytest.raises(ExtractionError, match="'photo'") as caught:
        read(data, name="photo")
    assert caught.value.code in ({code} if code else {"damaged_image", "not_an_image"})
    assert caught.value.details["input"] == "photo"


def test_a_photo_cut_off_in_the_middle_is_damaged() -> None:
    data = located(PHOTOS["rocket"]).read_bytes()
    with pytest.raises(ExtractionError, match="truncated"):
        read(data[: len(data) // 2])


@pytest.mark.parametrize("size", [(12_000, 12_000), (60_000, 60_000), (2_000_000, 500)])
def test_a_decompression_bomb_is_refused_by_its_head(size: tuple[int, int]) -> None:
    with pytest.raises(ExtractionError) as caught:
        read(picture_bomb(*size))
    assert caught.value.code == "image_too_large"


def test_a_text_chunk_that_blows_up_is_refused() -> None:
    with pytest.raises(ExtractionError, match="damaged"):
        read(text_chunk_bomb())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
@pytest.mark.parametrize(("format", "mode"), [("TIFF", "RGBA"), ("JPEG", "RGB"), ("TIFF", "I;16")])
def test_a_hundred_megapixels_stay_within_memory(format: str, mode: str, tmp_path: Any) -> None:
    file = tmp_path / "large"
    kind = np.uint16 if mode == "I;16" else np.uint8
    row = np.arange(12_000) % 256
    values = np.broadcast_to(row.astype(kind) * (257 if kind == np.uint16 else 1), (8_500, 12_000))
    if mode != "I;16":
        values = np.repeat(values[:, :, None], len(mode), axis=2)
    Image.fromarray(np.ascontiguousarray(values)).save(file, format)
    del values
    code = (
        "from pathlib import Path; from lamina.media.images import read_image\n"
        f"with open({str(file)!r}, 'rb') as f: found = read_image(f, side=640)\n"
        "peak = Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]\n"
        "print(found.width, found.pixels.shape, peak)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert done.startswith("12000 (453, 640, 3) ")
    assert int(done.split()[-1]) < 900 * 1024


# What is told of them


def test_a_thumbnail_is_a_jpeg_of_at_most_640_pixels() -> None:
    made = Image.open(io.BytesIO(thumbnail(photo("motorcycle_left").pixels)))
    assert (made.format, made.size) == ("JPEG", (640, 432))
    tiny = Image.open(io.BytesIO(thumbnail(photo("no_time_for_that_tiny").pixels)))
    assert tiny.size == (14, 25)


def test_exif_facts() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x010E] = "Nikon\0", "D7000", "A harbour at dawn"
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0x9011] = "2024:05:01 12:30:15", "+02:00"
    details[0x829A], details[0x829D], details[0x8827] = IFDRational(1, 250), IFDRational(28, 10), 400
    details[0x920A], details[0xA434], details[0x9209] = IFDRational(35, 1), "AF-S 35mm", 1
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "S", (IFDRational(33, 1), IFDRational(51, 1), IFDRational(354, 10))
    gps[3], gps[4] = "E", (IFDRational(151, 1), IFDRational(12, 1), IFDRational(36, 1))
    gps[5], gps[6] = b"\0", IFDRational(125, 10)
    assert read(saved(quarters(), "JPEG", exif=exif)).exif == {
        "camera_make": "Nikon",
        "camera_model": "D7000",
        "description": "A harbour at dawn",
        "lens": "AF-S 35mm",
        "taken_at": "2024-05-01T12:30:15+02:00",
        "exposure_time": 0.004,
        "f_number": 2.8,
        "iso": 400,
        "focal_length": 35.0,
        "flash": True,
        "latitude": -33.8598333,
        "longitude": 151.21,
        "location": {"lat": -33.8598333, "lon": 151.21},
        "altitude": 12.5,
    }


def test_nonsense_in_exif_is_left_out() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "  \0", "0000:00:00 00:00:00"
    details = exif.get_ifd(0x8769)
    details[0x829A], details[0x829D] = IFDRational(1, 0), IFDRational(0, 1)
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (IFDRational(95, 1), IFDRational(0, 1), IFDRational(0, 0))
    gps[3], gps[4] = "E", (IFDRational(10, 1), IFDRational(0, 1), IFDRational(0, 1))
    assert read(saved(quarters(), "JPEG", exif=exif)).exif == {}
    assert photo("chelsea").exif == {}


def test_dominant_colours_with_their_shares() -> None:
    found = dominant_colours(np.asarray(quarters()))
    assert {one.hex: one.share for one in found} == {
        "#ff0000": 0.25,
        "#0000ff": 0.25,
        "#008000": 0.25,
        "#ffffff": 0.25,
    }
    coffee = dominant_colours(photo("coffee").pixels)
    assert len(coffee) == 5
    assert sum(one.share for one in coffee) == pytest.approx(1.0, abs=1e-3)
    assert [one.share for one in coffee] == sorted((one.share for one in coffee), reverse=True)


def test_a_perceptual_hash_survives_what_people_do_to_pictures() -> None:
    every = {
        name: perceptual_hash(photo(name).pixels) for name in ("chelsea", "coffee", "rocket", "astronaut")
    }
    assert all(len(one) == 16 for one in every.values())
    cat = Image.fromarray(photo("chelsea").pixels)
    changed = [
        cat.resize((90, 60)),
        cat.resize((900, 600)),
        cat.point(lambda value: min(255, round(value * 1.2))),
        Image.open(io.BytesIO(saved(cat, "JPEG", quality=15))),
        cat.convert("L").convert("RGB"),
    ]
    for one in changed:
        assert differing_bits(perceptual_hash(np.asarray(one)), every["chelsea"]) <= 6
    others = [differing_bits(one, every["chelsea"]) for name, one in every.items() if name != "chelsea"]
    assert min(others) >= 20


def test_the_hash_of_one_colour_has_the_bit_of_its_mean_alone() -> None:
    assert perceptual_hash(np.full((50, 70, 3), 90, np.uint8)) == "8000000000000000"


def test_profiles_and_broken_metadata_do_no_harm() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert near(corner(read(saved(quarters(), "JPEG", icc_profile=profile))), RED, 24)
    data = saved(quarters(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff garbage")
    assert near(corner(read(data)), RED, 24)
