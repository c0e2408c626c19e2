"""Pictures of video files: exact frames, turned and small; clips without loss; shots; what is broken."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lamina.core.errors import ExtractionError
from lamina.media.audio import probe_sound
from lamina.media.shots import SHOT_SIDE, shot_starts, silences
from lamina.media.video import even_times, every_frame, frames_at, probe_video
from lamina.media.video_clips import video_clip
from tests.films import film, frames_of, number_of, numbered, only_sound, opened
from tests.media import located
from tests.media.photos import PHOTOS
from tests.media.video import BIKES, BUNNY, CARPHONE

CUTS = [1.2, 3.04, 5.48, 7.48, 9.68]

TONE = (0.1 * np.sin(np.arange(48_000) / 9)).astype(np.float32)

CODECS = [
    pytest.param("libx264", "mp4", id="h264-mp4"),
    pytest.param("libx264", "matroska", id="h264-mkv"),
    pytest.param("libx264", "mpegts", id="h264-ts"),
    pytest.param("libvpx-vp9", "webm", id="vp9-webm"),
    pytest.param("libsvtav1", "mp4", id="av1-mp4"),
    pytest.param("mpeg4", "avi", id="mpeg4-avi"),
]


def made(codec: str, container: str, count: int = 150) -> bytes:
    options = {"libvpx-vp9": {"cpu-used": "8", "deadline": "realtime"}, "libsvtav1": {"preset": "12"}}
    return film(numbered(count), codec=codec, container=container, key_every=40, options=options.get(codec))


def test_what_a_file_holds() -> None:
    with located(BUNNY).open("rb") as file:
        track = probe_video(file)
    assert (track.width, track.height, track.fps, track.codec) == (1280, 720, 25.0, "h264")
    assert track.has_sound
    assert track.duration == pytest.approx(5.31, abs=0.02)
    with located(BIKES).open("rb") as file:
        track = probe_video(file)
    assert not track.has_sound
    assert track.duration == 10.0
    assert track.key_frames == pytest.approx([0.0, *CUTS])


@pytest.mark.parametrize(("codec", "container"), CODECS)
def test_the_frame_that_is_shown_at_a_time(codec: str, container: str) -> None:
    file = opened(made(codec, container))
    track = probe_video(file)
    assert track.duration == pytest.approx(6.0, abs=0.1)
    times = [0.0, 0.02, 0.04, 0.99, 1.0, 1.59, 1.61, 3.3, 5.0, 5.01, 5.97, 9.0]
    shown = [number_of(frame.pixels) for frame in frames_at(file, track, times)]
    assert shown == [min(int(time * 25 + 0.001), 149) for time in times]
    assert [number_of(frame.pixels) for frame in every_frame(file, track)] == list(range(150))


def test_frames_are_as_large_as_they_are_asked_for() -> None:
    file = located(BUNNY).open("rb")
    with file:
        track = probe_video(file)
        (small,) = frames_at(file, track, [1.0], side=320)
        (whole,) = frames_at(file, track, [1.0], side=4000)
    assert small.pixels.shape == (180, 320, 3)
    assert whole.pixels.shape == (720, 1280, 3)


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_turned_video_is_seen_upright(turned: int) -> None:
    scene = np.zeros((64, 96, 3), np.uint8)
    scene[:20, :30] = (255, 0, 0)  # red at the top left
    stored = np.ascontiguousarray(np.rot90(scene, -turned // 90))
    file = opened(film([stored] * 10, turned=turned))
    track = probe_video(file)
    assert (track.width, track.height) == (96, 64)
    (frame,) = frames_at(file, track, [0.1])
    assert frame.pixels.shape == (64, 96, 3)
    assert frame.pixels[5, 5, 0] > 200
    assert frame.pixels[58, 90, 0] < 60


def test_pixels_that_are_no_squares_are_made_square() -> None:
    with located(CARPHONE).open("rb") as file:
        track = probe_video(file)
        (frame,) = frames_at(file, track, [1.0])
    assert frame.pixels.shape == (144, round(176 * 128 / 117), 3)


def test_an_animated_gif_is_a_video() -> None:
    with located(PHOTOS["no_time_for_that_tiny"]).open("rb") as file:
        track = probe_video(file)
        frames = list(frames_at(file, track, even_times(0.0, track.duration, 2.0), side=64))
    assert track.codec == "gif"
    assert track.duration > 0.5
    assert not track.key_frames
    assert len({frame.pixels.tobytes() for frame in frames}) > 1


@pytest.mark.parametrize(("codec", "container"), CODECS)
def test_a_clip_begins_where_it_shall_and_loses_nothing(codec: str, container: str) -> None:
    source = opened(made(codec, container))
    track = probe_video(source)
    data = video_clip(source, track, 2.0, 3.0)
    assert data is not None
    clip = opened(data)
    of_clip = probe_video(clip)
    shown = [frame for frame in every_frame(clip, of_clip) if frame.time >= 0.0]
    assert number_of(shown[0].pixels) == 50
    assert number_of(shown[-1].pixels) in range(74, 78)
    (before,) = frames_at(source, track, [2.4])
    (after,) = frames_at(clip, of_clip, [0.4])
    assert np.array_equal(before.pixels, after.pixels)


def test_a_clip_has_the_sound_of_its_stretch() -> None:
    with located(BUNNY).open("rb") as file:
        track = probe_video(file)
        data = video_clip(file, track, 2.0, 4.0)
        assert video_clip(file, track, 2.0, 4.0, max_bytes=50_000) is None
    assert data is not None
    assert probe_sound(opened(data)).duration == pytest.approx(2.0, abs=0.1)


def test_cuts_are_found() -> None:
    with located(BIKES).open("rb") as file:
        track = probe_video(file)
        found = shot_starts(every_frame(file, track, side=SHOT_SIDE), track.fps, 0.5)
    assert found == pytest.approx(CUTS)


def test_one_shot_has_no_cuts() -> None:
    with located(BUNNY).open("rb") as file:
        track = probe_video(file)
        assert shot_starts(every_frame(file, track, side=SHOT_SIDE), track.fps, 0.2) == []


def test_silences_are_what_is_quiet_for_half_a_second() -> None:
    rate = 8000
    loud = (0.3 * np.sin(np.arange(rate) / 3)).astype(np.float32)
    sound = np.concatenate(
        [loud, np.zeros(2 * rate, np.float32), loud, np.zeros(rate // 4, np.float32), loud]
    )
    blocks = [sound[at : at + 12_000] for at in range(0, len(sound), 12_000)]
    (quiet,) = silences(blocks, rate, -40)
    assert [quiet.start, quiet.end] == pytest.approx([1.0, 3.0])
    (whole,) = silences([0.001 * loud], rate, -40)
    assert [whole.start, whole.end] == pytest.approx([0.0, 1.0])
    assert silences([loud], rate, -40) == []


# What is broken


def broken() -> dict[str, tuple[Callable[[], bytes], str, str]]:
    def truncated() -> bytes:
        whole = film(frames_of(BIKES, side=320), container="matroska")
        return whole[: len(whole) // 2]

    def garbled() -> bytes:
        data = bytearray(located(BIKES).read_bytes())
        noise = np.random.default_rng(7).integers(0, 256, len(data), dtype=np.uint8).tobytes()
        data[48:500_000] = noise[48:500_000]
        return bytes(data)

    return {
        "zero bytes": (lambda: b"", "empty_input", "no bytes"),
        "a picture": (_picture, "not_media", "no audio or video"),
        "a text": (lambda: b"no video at all " * 100, "not_media", "no audio or video"),
        "a playlist": (
            lambda: b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
            "not_media",
            "no audio or video",
        ),
        "without its end": (lambda: located(BUNNY).read_bytes()[:500_000], "not_media", "index is missing"),
        "cut short": (truncated, "truncated_video", "states 10.0 s"),
        "only sound": (lambda: only_sound(TONE, 48_000), "no_video", "no video track"),
        "noise inside": (garbled, "damaged_video", "no frame"),
    }


def _picture() -> bytes:
    return located(PHOTOS["chelsea"]).read_bytes()


@pytest.mark.parametrize("kind", broken())
def test_what_is_broken_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    make, code, words = broken()[kind]
    (tmp_path / "clip.mp4").write_bytes(make())
    with (tmp_path / "clip.mp4").open("rb") as file, pytest.raises(ExtractionError, match=words) as caught:
        probe_video(file, name="clip")
    assert caught.value.code == code
    assert "'clip'" in caught.value.message


def test_some_noise_inside_costs_some_frames_only() -> None:
    data = bytearray(located(BIKES).read_bytes())
    data[200_000:203_000] = bytes(3000)
    file = opened(bytes(data))
    track = probe_video(file)
    times = [float(second) for second in range(10)]
    assert len(list(frames_at(file, track, times, side=128))) == 10
