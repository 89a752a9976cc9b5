"""Files that do not rightly say how long they are are read to their end all the same."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiogpt.audio.loading import AudioError, iter_mono, load_audio

RATE = 44_100
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def noise(seconds: float, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    shape = (round(seconds * RATE), channels)
    return np.random.default_rng(seed).normal(0, 0.2, shape).astype(np.float32)


def tone(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[:, None]


def encoded(
    samples: np.ndarray, kind: str = "MP3", *, rate: int = RATE, subtype: str | None = None
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def without_header(path: Path, samples: np.ndarray) -> Path:
    """Written as an MP3 of variable bit rate that has no Xing header."""
    soundfile.write(path.with_suffix(".wav"), samples, RATE, subtype="FLOAT")
    command = ["ffmpeg", "-v", "error", "-i", path.with_suffix(".wav"), "-q:a", "2"]
    subprocess.run([*command, "-write_xing", "0", path], check=True)
    return path


@needs_ffmpeg
def test_mp3_without_a_header_is_read_whole_and_without_seams(tmp_path: Path) -> None:
    # Noise takes many bits and the tone few: the first frame promises a fifth of the length. The
    # tone's frames lean on those before, which a decoder started anew between blocks has not got.
    path = without_header(tmp_path / "a.mp3", np.concatenate([noise(2.0), tone(28.0)]))
    command = ["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"]
    expected = np.frombuffer(subprocess.run(command, capture_output=True).stdout, "<f4")
    assert len(expected) > 30 * RATE
    whole = load_audio(path).samples[0]
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-4)
    assert sum(map(len, iter_mono(path, 16_000))) == round(len(expected) * 16_000 / RATE)
    for start in (0.5, 15.0, 29.9):
        passage = load_audio(path, start=start, duration=3.0).samples[0]
        first = round(start * RATE)
        np.testing.assert_allclose(passage, whole[first : first + 3 * RATE], rtol=0, atol=1e-4)


@needs_ffmpeg
def test_mp3_that_seems_longer_than_it_is_is_not_refused(tmp_path: Path) -> None:
    path = without_header(tmp_path / "a.mp3", np.concatenate([0 * noise(2.0), noise(10.0)]))
    assert soundfile.info(path).duration > 20
    assert load_audio(path, max_seconds=13.0).seconds == pytest.approx(12.0, abs=0.1)
    with pytest.raises(AudioError, match="longer than 11 seconds"):
        next(iter_mono(path, 16_000, max_seconds=11.0))


@pytest.mark.parametrize("between", [b"", b"TAG" + bytes(125)])
def test_joined_mp3_files_are_read_one_after_the_other(between: bytes) -> None:
    one, two = (encoded(noise(seconds, channels=2, seed=9)) for seconds in (3.0, 12.0))
    expected = np.concatenate([load_audio(io.BytesIO(file)).samples for file in (one, two)], axis=1)
    joined = io.BytesIO(one + between + two + between)
    np.testing.assert_allclose(load_audio(joined).samples, expected, rtol=0, atol=1e-6)
    for start, duration in ((2.5, 1.0), (3.5, 2.0), (14.0, None)):
        passage = load_audio(joined, start=start, duration=duration).samples
        last = None if duration is None else round((start + duration) * RATE)
        wanted = expected[:, round(start * RATE) : last]
        np.testing.assert_allclose(passage, wanted, rtol=0, atol=1e-4)
    with pytest.raises(AudioError, match="ends before 16 s"):
        load_audio(joined, start=16.0)
    with pytest.raises(AudioError, match="longer than 5 seconds"):
        load_audio(joined, max_seconds=5.0)


@pytest.mark.parametrize("samples", [20_750, 21_900])
def test_padding_that_fills_a_frame_of_its_own_is_not_sound(samples: int) -> None:
    file = io.BytesIO(encoded(noise(samples / RATE)))
    assert load_audio(file).samples.shape == (1, samples)


@pytest.mark.parametrize(("rate", "channels"), [(22_050, 1), (RATE, 2)])
def test_joined_mp3_files_of_different_kinds_are_refused(rate: int, channels: int) -> None:
    other = encoded(noise(2.0, channels=channels), rate=rate)
    with pytest.raises(AudioError, match="different sample rates or channels: convert it"):
        load_audio(io.BytesIO(encoded(noise(2.0)) + other))


@needs_ffmpeg
def test_and_so_are_those_whose_frames_have_no_header_between_them(tmp_path: Path) -> None:
    path = without_header(tmp_path / "a.mp3", noise(2.0))
    with path.open("ab") as file:
        file.write(encoded(noise(2.0), rate=22_050))
    with pytest.raises(AudioError, match="different sample rates or channels: convert it"):
        load_audio(path)


@pytest.mark.parametrize("seconds", [4.0, 23.0])
def test_flac_without_a_length_is_read_whole(seconds: float) -> None:
    samples = noise(seconds)
    content = bytearray(encoded(samples, "FLAC"))
    content[21] &= 0xF0  # as a pipe leaves it: 36 bits of STREAMINFO, here 0, count the samples
    content[22:26] = bytes(4)
    file = io.BytesIO(content)
    whole = load_audio(file, max_seconds=60.0).samples
    np.testing.assert_allclose(whole, samples.T, rtol=0, atol=1e-4)
    passage = load_audio(file, start=1.5, duration=1.25).samples
    np.testing.assert_array_equal(passage, whole[:, round(1.5 * RATE) : round(2.75 * RATE)])
    assert load_audio(file, start=seconds - 1).seconds == pytest.approx(1.0)
    shares: list[float] = []
    assert sum(map(len, iter_mono(file, 16_000, progress=shares.append))) == seconds * 16_000
    assert shares[-1] == 1.0
    with pytest.raises(AudioError, match="longer than 3 seconds"):
        load_audio(file, max_seconds=3.0)
    with pytest.raises(AudioError, match="ends before 24 s"):
        load_audio(file, start=24.0)


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", RATE), ("OPUS", 48_000)])
def test_a_chained_ogg_is_read_one_link_after_the_other(subtype: str, rate: int) -> None:
    files = [
        encoded(noise(seconds, channels=2, seed=9), "OGG", rate=rate, subtype=subtype)
        for seconds in (3.0, 12.0, 1.0)
    ]
    alone = [load_audio(io.BytesIO(file)).samples for file in files]
    expected = np.concatenate(alone, axis=1)
    chained = io.BytesIO(b"".join(files))
    np.testing.assert_array_equal(load_audio(chained).samples, expected)
    for start, duration in ((2.5, 1.0), (3.5, 2.0), (14.0, None)):
        passage = load_audio(chained, start=start, duration=duration).samples
        last = None if duration is None else round((start + duration) * rate)
        wanted = expected[:, round(start * rate) : last]
        np.testing.assert_allclose(passage, wanted, rtol=0, atol=1e-4)
    with pytest.raises(AudioError, match="longer than 5 seconds"):
        load_audio(chained, max_seconds=5.0)


def test_a_chained_ogg_that_ends_in_damage_gives_what_comes_before() -> None:
    one, two = (encoded(noise(seconds), "OGG") for seconds in (3.0, 2.0))
    whole = load_audio(io.BytesIO(one + two)).samples
    for rest in (two[: len(two) // 2], two[:40], b"OggS" + bytes(99)):
        got = load_audio(io.BytesIO(one + rest)).samples
        assert 3 * RATE <= got.shape[1] < 4.5 * RATE
        np.testing.assert_array_equal(got, whole[:, : got.shape[1]])


@pytest.mark.parametrize(("rate", "channels"), [(22_050, 1), (RATE, 2)])
def test_chained_ogg_files_of_different_kinds_are_refused(rate: int, channels: int) -> None:
    other = encoded(noise(2.0, channels=channels), "OGG", rate=rate)
    with pytest.raises(AudioError, match="from Ogg files of different sample rates or channels"):
        load_audio(io.BytesIO(encoded(noise(2.0), "OGG") + other))
