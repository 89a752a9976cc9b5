"""Reading audio files: right ones exactly, wrong ones with one sentence."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiogpt.audio import ffmpeg
from audiogpt.audio.loading import (
    AudioError,
    Waveform,
    iter_mono,
    load_audio,
    resample_mono,
)

RATE = 22_050
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def sine(seconds: float = 1.0, *, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """A tone per channel, float32 (n, channels)."""
    t = np.arange(round(seconds * rate)) / rate
    tones = [0.5 * np.sin(2 * np.pi * 220 * (c + 1) * t) for c in range(channels)]
    return np.stack(tones, axis=1).astype(np.float32)


def written(
    path: Path, samples: np.ndarray, *, rate: int = RATE, subtype: str | None = None
) -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "FLOAT", 0.0),
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_U8", 1e-2),
        ("a.wav", "PCM_24", 1e-6),
        ("a.flac", "PCM_16", 1e-4),
        ("a.aiff", "PCM_16", 1e-4),
        ("a.ogg", "VORBIS", 0.1),
        ("a.mp3", None, 0.1),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(
    tmp_path: Path, name: str, subtype: str | None, tolerance: float, channels: int
) -> None:
    samples = sine(channels=channels)
    waveform = load_audio(written(tmp_path / name, samples, subtype=subtype))
    assert waveform.samples.dtype == np.float32
    assert waveform.sample_rate == RATE
    assert waveform.samples.shape[0] == channels
    n = min(len(samples), waveform.samples.shape[1])
    assert n >= len(samples) - 1
    np.testing.assert_allclose(waveform.samples[:, :n], samples[:n].T, rtol=0, atol=tolerance)


def test_surround_and_high_rates_come_to_mono(tmp_path: Path) -> None:
    samples = sine(0.5, rate=96_000, channels=6)
    path = written(tmp_path / "surround.wav", samples, rate=96_000, subtype="FLOAT")
    waveform = load_audio(path)
    assert waveform.samples.shape == (6, 48_000)
    mono = resample_mono(waveform, 16_000)
    each = [soxr.resample(c, 96_000, 16_000, quality="HQ") for c in waveform.samples]
    np.testing.assert_allclose(mono, np.mean(each, axis=0), rtol=0, atol=1e-6)


def test_file_like_and_wrong_extension(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", sine(), subtype="FLOAT")
    for name in ("song.raw", "song.txt", "song"):
        other = tmp_path / name
        shutil.copy(path, other)
        np.testing.assert_array_equal(load_audio(other).samples, sine().T)
    np.testing.assert_array_equal(load_audio(io.BytesIO(path.read_bytes())).samples, sine().T)


def test_a_passage(tmp_path: Path) -> None:
    samples = sine(3.0)
    path = written(tmp_path / "a.wav", samples, subtype="FLOAT")
    part = load_audio(path, start=1.0, duration=0.5).samples[0]
    np.testing.assert_array_equal(part, samples[RATE : RATE + RATE // 2, 0])
    rest = load_audio(path, start=2.5, duration=60.0).samples[0]
    np.testing.assert_array_equal(rest, samples[round(2.5 * RATE) :, 0])
    with pytest.raises(AudioError, match="ends before 7 s"):
        load_audio(path, start=7.0)


def test_longest_allowed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", sine(3.0))
    assert load_audio(path, max_seconds=3.0).seconds == pytest.approx(3.0)
    with pytest.raises(AudioError, match=r"longer than 2 seconds"):
        load_audio(path, max_seconds=2.0)
    assert load_audio(path, duration=1.0, max_seconds=2.0).seconds == pytest.approx(1.0)
    assert sum(map(len, iter_mono(path, 16_000, max_seconds=3.0))) == 48_000
    with pytest.raises(AudioError, match=r"a\.wav is longer than 2 seconds"):
        next(iter(iter_mono(path, 16_000, max_seconds=2.0)))


@needs_ffmpeg
def test_longest_allowed_where_the_length_is_not_known(tmp_path: Path) -> None:
    source, path = written(tmp_path / "x.wav", sine(40.0)), tmp_path / "x.aac"
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, path], check=True)
    with pytest.raises(AudioError, match="longer than 5 seconds"):
        load_audio(path, max_seconds=5.0)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 44_100, 48_000]),
    target=st.sampled_from([16_000, 48_000]),
    n=st.integers(10, 30_000),
    channels=st.integers(1, 3),
)
def test_stream_equals_whole(tmp_path: Path, rate: int, target: int, n: int, channels: int) -> None:
    samples = np.random.default_rng(n).normal(0, 0.2, (n, channels)).astype(np.float32)
    path = written(tmp_path / "x.wav", samples, rate=rate, subtype="FLOAT")
    whole = resample_mono(load_audio(path), target)
    blocks = [*iter_mono(path, target), np.zeros(0, np.float32)]
    assert all(len(block) for block in blocks[:-1])
    streamed = np.concatenate(blocks)
    assert streamed.dtype == np.float32
    assert len(streamed) == len(whole)
    np.testing.assert_allclose(streamed, whole, rtol=0, atol=2e-6)


def test_too_little_for_one_sample(tmp_path: Path) -> None:
    path = written(tmp_path / "x.wav", sine()[:1])
    assert load_audio(path).samples.shape == (1, 1)
    with pytest.raises(AudioError, match=r"x\.wav is too short"):
        list(iter_mono(path, 8_000))


def test_no_limit(tmp_path: Path) -> None:
    path = written(tmp_path / "x.wav", sine())
    assert load_audio(path, max_seconds=np.inf).seconds == 1.0


def test_stream_reports_progress(tmp_path: Path) -> None:
    path = written(tmp_path / "x.wav", sine(25.0, rate=8_000), rate=8_000)
    seen: list[float] = []
    for _ in iter_mono(path, 16_000, progress=seen.append):
        pass
    assert seen == sorted(seen)
    assert seen[0] == pytest.approx(0.4)
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"this is not audio at all" * 50, "not"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not"),
        (bytes(10_000), "not"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(200), "not"),
    ],
)
def test_what_is_no_audio(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "bad.mp3"
    path.write_bytes(content)
    for source in (path, str(path), io.BytesIO(content)):
        with pytest.raises(AudioError, match=sentence) as caught:
            load_audio(source)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_missing_file_folder_and_odd_names(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="check that the file exists"):
        load_audio(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="is a folder"):
        load_audio(tmp_path)
    with pytest.raises(AudioError):
        load_audio("a\0b.wav")
    odd = written(tmp_path / "-i -f 'x' ; ü.wav", sine(), subtype="FLOAT")
    np.testing.assert_array_equal(load_audio(odd).samples, sine().T)


def test_no_samples(tmp_path: Path) -> None:
    path = written(tmp_path / "none.wav", np.zeros((0, 1), np.float32))
    with pytest.raises(AudioError, match="length is zero"):
        load_audio(path)
    with pytest.raises(AudioError, match="length is zero"):
        list(iter_mono(path, 16_000))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_are_no_sound(tmp_path: Path, value: float) -> None:
    samples = sine()
    samples[500] = value
    path = written(tmp_path / "x.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match="not sound"):
        load_audio(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_truncated_file_gives_its_beginning(tmp_path: Path, suffix: str) -> None:
    """Up to the damage, whole but for the last quarter of a second, sample for sample."""
    samples = np.random.default_rng(0).normal(0, 0.1, (RATE * 24, 2)).astype(np.float32)
    content = written(tmp_path / f"whole.{suffix}", samples).read_bytes()
    whole = load_audio(io.BytesIO(content)).samples
    for left in (0.5, 0.9, 1 - 1 / len(content)):  # of the bytes, which noise takes evenly
        cut = io.BytesIO(content[: round(left * len(content))])
        got = load_audio(cut).samples
        n = got.shape[1]
        # Also an encoder's delay, a frame and a page of Ogg may be missing.
        assert 24 * left - 0.6 < n / RATE < 24 * left + 0.3
        np.testing.assert_array_equal(got, whole[:, :n])


def test_a_short_file_without_its_last_byte_is_not_refused(tmp_path: Path) -> None:
    for suffix in ("mp3", "flac"):
        content = written(tmp_path / f"x.{suffix}", sine(8.0)).read_bytes()
        assert load_audio(io.BytesIO(content[:-1])).seconds >= 7.5


def test_tags_after_a_flac_cost_nothing(tmp_path: Path) -> None:
    content = written(tmp_path / "x.flac", sine(24.1, channels=2)).read_bytes()
    whole = load_audio(io.BytesIO(content)).samples
    assert whole.shape[1] == round(24.1 * RATE)
    tagged = io.BytesIO(content + b"TAG" + bytes(125))
    np.testing.assert_array_equal(load_audio(tagged).samples, whole)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "GSM610"),
        ("W64", "GSM610"),
        ("AIFF", "GSM610"),
        ("WAV", "G721_32"),
        ("AIFF", "DWVW_16"),
        ("XI", "DPCM_16"),
    ],
)
def test_a_late_passage_of_a_sound_that_cannot_be_sought_in(kind: str, subtype: str) -> None:
    rate, file = 8_000, io.BytesIO()
    soundfile.write(file, sine(14.0, rate=rate), rate, format=kind, subtype=subtype)
    whole = load_audio(file)
    rate = whole.sample_rate  # an XI file has always the same
    for start, duration in ((2.0, 1.0), (1.5, None)):
        part = load_audio(file, start=start, duration=duration).samples
        last = None if duration is None else round((start + duration) * rate)
        np.testing.assert_array_equal(part, whole.samples[:, round(start * rate) : last])


def test_a_late_passage_of_a_truncated_flac(tmp_path: Path) -> None:
    content = written(tmp_path / "x.flac", sine(20.0)).read_bytes()
    whole = load_audio(io.BytesIO(content)).samples
    cut = io.BytesIO(content[: len(content) // 2])
    part = load_audio(cut, start=8.0).samples
    assert part.shape[1] > RATE
    np.testing.assert_array_equal(part, whole[:, 8 * RATE : 8 * RATE + part.shape[1]])
    for start in (10.5, 15.0):
        with pytest.raises(AudioError, match=f"ends before {start:g} s"):
            load_audio(cut, start=start)


def test_a_file_that_may_not_be_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "mine.wav", sine())

    def refused(*args, **kwargs):  # not by its mode, which does not bind an administrator
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(AudioError, match=r"mine\.wav cannot be opened: check that you are allowed"):
        load_audio(path)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_anywhere_gives_sound_or_one_sentence(tmp_path: Path, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from(["wav", "flac", "ogg", "mp3"]))
    path = written(tmp_path / f"x.{suffix}", sine(0.3))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        waveform = load_audio(io.BytesIO(bytes(content)))
    except AudioError as error:
        assert "\n" not in str(error)
    else:
        assert waveform.samples.shape[1] > 0
        assert np.isfinite(waveform.samples).all()


@pytest.mark.parametrize(
    "options",
    [
        {"start": -1.0},
        {"duration": 0.0},
        *({key: value} for key in ("start", "duration") for value in (np.nan, np.inf, 1e308)),
    ],
)
def test_impossible_passages(tmp_path: Path, options: dict[str, float]) -> None:
    path = written(tmp_path / "x.wav", sine())
    with pytest.raises(AudioError, match="start must be"):
        load_audio(path, **options)


def test_resample_needs_a_waveform() -> None:
    with pytest.raises(ValueError, match="Waveform"):
        resample_mono(np.zeros(10), 16_000)
    same = Waveform(np.ones((2, 10), np.float32), 16_000)
    np.testing.assert_array_equal(resample_mono(same, 16_000), np.ones(10, np.float32))


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "aac", "wma", "mp4", "mka"])
def test_ffmpeg_formats(tmp_path: Path, suffix: str) -> None:
    source = written(tmp_path / "x.wav", sine(2.0, channels=2))
    path = tmp_path / f"x.{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, path], check=True)
    waveform = load_audio(path)
    assert waveform.samples.shape[0] == 2
    assert waveform.seconds == pytest.approx(2.0, abs=0.15)
    strongest = np.abs(np.fft.rfft(waveform.samples[0])).argmax() / waveform.seconds
    assert strongest == pytest.approx(220, abs=2)
    part = load_audio(io.BytesIO(path.read_bytes()), start=0.5, duration=1.0)
    assert part.seconds == pytest.approx(1.0, abs=0.1)


@needs_ffmpeg
def test_playlists_do_not_reach_other_files(tmp_path: Path) -> None:
    written(tmp_path / "secret.wav", sine())
    playlists = {
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "a.ffconcat": "ffconcat version 1.0\nfile secret.wav\n",
        "a.m4a": f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="not an audio file"):
            load_audio(tmp_path / name)


def test_without_ffmpeg_the_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda _: None)
    path = tmp_path / "song.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match=r"song\.m4a .* try WAV, FLAC, MP3 or Ogg"):
        load_audio(path)
