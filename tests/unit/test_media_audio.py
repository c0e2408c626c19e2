"""Sound of any file: the same samples at the same times, in bounded pieces; or a clear reason."""

import io
import resource
import struct
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError
from lamina.media.audio import blocks, cut, cutting, encode, playable, probe_sound, read_sound, windows
from tests.media import located
from tests.media.sound import AUSTEN, BROKEN
from tests.sounds import FORMS, RATE, encoded, silence, silent_mp3, video

every_form = pytest.mark.parametrize("ending", FORMS)


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    """Seven seconds of a reader."""
    with located(next(iter(AUSTEN.values()))).open("rb") as file:
        return read_sound(file, RATE)


def reason(content: bytes) -> str:
    with pytest.raises(ExtractionError, match="'audio'") as caught:
        list(blocks(io.BytesIO(content), RATE))
    assert caught.value.details["input"] == "audio"
    return str(caught.value.code)


def place(piece: NDArray[np.float32], whole: NDArray[np.float32]) -> int:
    """Where a piece lies in a whole, in samples, by correlation."""
    size = 1 << (len(whole) + len(piece)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(whole, size) * np.conj(np.fft.rfft(piece, size)))
    best = int(likeness.argmax())
    return best if best < size // 2 else best - size


@every_form
def test_every_form_holds_the_same_sound(ending: str, speech: NDArray[np.float32]) -> None:
    read = read_sound(io.BytesIO(encoded(speech, ending)), RATE)
    assert abs(len(read) - len(speech)) <= 0.1 * RATE
    assert abs(place(speech, read)) <= 8
    both = min(len(read), len(speech))
    assert np.corrcoef(read[:both], speech[:both])[0, 1] > 0.95


@every_form
def test_reading_from_the_middle_is_a_slice_of_the_whole(ending: str, speech: NDArray[np.float32]) -> None:
    content = encoded(speech, ending)
    whole = read_sound(io.BytesIO(content), RATE)
    middle = read_sound(io.BytesIO(content), RATE, start=3.3, seconds=2.0)
    assert len(middle) == 2 * RATE
    assert abs(place(middle, whole) - round(3.3 * RATE)) <= 8


def test_blocks_are_of_one_size_and_make_the_whole(speech: NDArray[np.float32]) -> None:
    content = encoded(speech, "wav")
    pieces = list(blocks(io.BytesIO(content), RATE, block=1.5))
    assert {len(piece) for piece in pieces[:-1]} == {24_000}
    assert np.allclose(np.concatenate(pieces), speech, atol=1e-4)
    assert all(piece.dtype == np.float32 for piece in pieces)
    limited = list(blocks(io.BytesIO(content), RATE, seconds=2.0, block=1.5))
    assert [len(piece) for piece in limited] == [24_000, 8_000]


def test_windows_cover_everything_once_they_can() -> None:
    sound = np.arange(100, dtype=np.float32)
    cuts = list(windows([sound[:33], sound[33:]], 10, length=4.0, hop=2.5))
    assert [start for start, _ in cuts] == [0.0, 2.5, 5.0, 7.5]
    assert [window[0] for _, window in cuts] == [0, 25, 50, 75]
    assert [len(window) for _, window in cuts] == [40, 40, 40, 25]
    (only,) = windows([sound[:7]], 10, length=4.0, hop=2.0)
    assert len(only[1]) == 7
    assert [start for start, _ in windows([sound[:40]], 10, length=4.0, hop=2.0)] == [0.0]


def test_sound_that_begins_after_the_pictures_is_where_it_is_heard(speech: NDArray[np.float32]) -> None:
    read = read_sound(io.BytesIO(video(5.0, speech[: 3 * RATE], late=1.5)), RATE)
    assert abs(place(speech[: 3 * RATE], read) - round(1.5 * RATE)) <= 16
    assert not read[:RATE].any()


def test_stereo_is_mixed_and_what_is_too_loud_is_bounded() -> None:
    left = np.full(8000, 0.5, np.float32)
    head = (
        b"RIFF"
        + struct.pack("<I", 36 + 64_000)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 3, 2, 8000, 64_000, 8, 32)
    )
    samples = np.stack([left, np.full(8000, np.nan, np.float32)], axis=1)
    samples[:, 1] = 1.5
    samples[4000, 1] = np.nan
    content = head + b"data" + struct.pack("<I", 64_000) + samples.astype("<f4").tobytes()
    read = read_sound(io.BytesIO(content), 8000)
    assert np.isfinite(read).all()
    assert np.abs(read).max() <= 1.0
    assert read[100] == pytest.approx(1.0, abs=0.01)


def test_what_a_file_says_of_its_sound(speech: NDArray[np.float32]) -> None:
    track = probe_sound(io.BytesIO(encoded(speech, "mp3")))
    assert (track.codec, track.sample_rate, track.channels) == ("mp3", RATE, 1)
    assert track.duration == pytest.approx(len(speech) / RATE, abs=0.1)


@every_form
def test_a_cut_stretch_is_a_file_of_its_own(ending: str, speech: NDArray[np.float32]) -> None:
    content = encoded(speech, ending)
    whole = read_sound(io.BytesIO(content), RATE)
    clip = cut(io.BytesIO(content), 2.0, 4.0)
    assert clip.start <= 2.0 < clip.start + 0.1
    assert 4.0 <= clip.end + 0.001 < 4.2
    read = read_sound(io.BytesIO(clip.data), RATE)
    assert abs(len(read) - (clip.end - clip.start) * RATE) < 0.1 * RATE
    assert abs(place(read[RATE // 2 : RATE], whole) - (clip.start + 0.5) * RATE) < 0.1 * RATE


def test_cutting_loses_nothing(speech: NDArray[np.float32]) -> None:
    clip = cut(io.BytesIO(encoded(speech, "wav")), 2.0, 4.0)
    read = read_sound(io.BytesIO(clip.data), RATE)
    begin = round(clip.start * RATE)
    assert np.allclose(read, speech[begin : begin + len(read)], atol=1e-4)
    assert clip.content_type == "audio/wav"


def test_a_playable_stretch_is_small(speech: NDArray[np.float32]) -> None:
    kinds = {ending: playable(io.BytesIO(encoded(speech, ending)), 1.0, 3.0) for ending in ("wav", "mp3")}
    assert kinds["wav"].content_type == "audio/ogg"
    assert kinds["mp3"].content_type == "audio/mpeg"
    assert all(len(clip.data) < 20_000 for clip in kinds.values())


@pytest.mark.parametrize("kind", ["opus", "wav"])
def test_samples_become_a_file(kind: str, speech: NDArray[np.float32]) -> None:
    read = read_sound(io.BytesIO(encode(speech, RATE, kind)), RATE)  # type: ignore[arg-type]
    assert len(read) == pytest.approx(len(speech), abs=16)
    assert np.corrcoef(read[: len(speech)], speech[: len(read)])[0, 1] > 0.95


def test_what_is_no_sound_says_so() -> None:
    assert reason(b"") == "empty_input"
    assert reason(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100)) == "not_media"
    assert reason(b"these are words and no sound, " * 50) == "not_media"
    assert reason(video(0.5)) == "no_audio"


def test_a_playlist_leads_nowhere() -> None:
    inside = located(next(iter(AUSTEN.values())))
    assert (
        reason(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{inside}\n".encode()) == "not_media"
    )
    assert reason(f"ffconcat version 1.0\nfile '{inside}'\n".encode()) == "not_media"


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_wav_files_fail_with_a_reason(name: str) -> None:
    assert reason(located(BROKEN[name]).read_bytes()) in {"not_media", "damaged_audio", "truncated_audio"}


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "mka"])
def test_a_truncated_file_gives_what_it_holds_and_then_says_what_it_lacks(
    ending: str, speech: NDArray[np.float32]
) -> None:
    content = encoded(speech, ending)
    read = blocks(io.BytesIO(content[: len(content) // 2]), RATE, block=1.0)
    got = [len(next(read)) for _ in range(3)]
    assert sum(got) == 3 * RATE
    with pytest.raises(ExtractionError, match=r"truncated: it states 7\.. s") as caught:
        list(read)
    assert caught.value.code == "truncated_audio"


def test_a_file_whose_index_is_cut_off_is_no_media(speech: NDArray[np.float32]) -> None:
    content = encoded(speech, "m4a")
    assert reason(content[: len(content) // 2]) == "not_media"


@every_form
def test_flipped_bytes_are_a_sound_or_a_reason(ending: str, speech: NDArray[np.float32]) -> None:
    content = encoded(speech[: 2 * RATE], ending)
    chance = np.random.default_rng(7)
    for _ in range(20):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = chance.integers(0, len(damaged), 1 + len(damaged) // 300)
        damaged[places] = chance.integers(0, 256, len(places))
        try:
            for piece in blocks(io.BytesIO(damaged.tobytes()), RATE, seconds=60.0):
                assert np.isfinite(piece).all()
            cut(io.BytesIO(damaged.tobytes()), 0.5, 1.0)
        except ExtractionError as error:
            assert error.code in {"not_media", "no_audio", "damaged_audio", "truncated_audio", "empty_input"}


@every_form
def test_many_stretches_are_cut_as_each_alone(ending: str, speech: NDArray[np.float32]) -> None:
    file = io.BytesIO(encoded(speech, ending))
    spans = [(0.0, 1.0), (1.0, 2.5), (2.5, 4.0), (0.5, 1.5)]
    with cutting(file) as cut_out:
        together = [cut_out(start, end) for start, end in spans]
    for (start, end), clip in zip(spans, together, strict=True):
        alone = cut(file, start, end)
        assert (clip.content_type, clip.extension) == (alone.content_type, alone.extension)
        assert (clip.start, clip.end) == pytest.approx((alone.start, alone.end), abs=0.03)
        sounds = [read_sound(io.BytesIO(one.data), RATE) for one in (clip, alone)]
        assert len(sounds[0]) == pytest.approx(len(sounds[1]), abs=0.05 * RATE)
        assert np.corrcoef([one[: RATE // 2] for one in sounds])[0, 1] > 0.99


def test_a_long_file_without_an_index_is_wound_through_once() -> None:
    file = io.BytesIO(silent_mp3(2))
    began = time.process_time()
    for start in range(0, 7200, 240):
        cut(file, float(start), start + 10.0)
    alone = time.process_time() - began
    began = time.process_time()
    with cutting(file) as cut_out:
        for start in range(0, 7200, 240):
            assert cut_out(float(start), start + 10.0).start == pytest.approx(start, abs=0.08)
    assert time.process_time() - began < alone / 2


def test_ten_hours_of_silence_stay_within_memory() -> None:
    content = silence(10)
    assert len(content) < 40 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = sum(len(piece) for piece in blocks(io.BytesIO(content), RATE))
    assert total / RATE == pytest.approx(36_000, abs=2)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 100 << 10
