"""Waveforms in memory, and sounds with too little in them."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from audiogpt import listening as listening_module
from audiogpt.audio.embedding import load_embedding
from audiogpt.audio.errors import AudioError
from audiogpt.audio.tagger import load_tagger
from audiogpt.listening import Listener, content_hash, mono_blocks
from audiogpt.request import MAX_TRACKS, Track

RATE = 16_000


def heard(waveform: np.ndarray) -> np.ndarray:
    return np.concatenate(list(mono_blocks(Track(waveform=waveform, sample_rate=RATE), RATE)))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int8, np.int16, np.int32])
def test_whole_numbers_are_sound_around_their_middle(kind: type, noise: np.ndarray) -> None:
    info = np.iinfo(kind)
    middle = (info.max + 1) // 2 if info.min == 0 else 0
    silence = np.full(100, middle, kind)
    np.testing.assert_array_equal(heard(silence), np.zeros(100, np.float32))
    half = info.max - middle
    samples = np.rint(noise.clip(-1, 1).astype(float) * half + middle).astype(kind)
    np.testing.assert_allclose(heard(samples), noise.clip(-1, 1), rtol=0, atol=2 / half)
    assert np.abs(heard(np.array([info.min, info.max], kind))).max() <= 1.01


@pytest.mark.parametrize("shape", [(1000, 2), (2, 3, 1000)])
def test_samples_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match=r"must be \(samples,\) or \(channels, samples\)"):
        heard(np.zeros(shape, np.float32))


@pytest.mark.parametrize("kind", [np.complex64, bool, object, "U4"])
def test_samples_of_another_type_are_refused(kind) -> None:
    with pytest.raises(AudioError, match="must be whole or floating-point numbers"):
        heard(np.zeros(1000).astype(kind))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, -1e300])
def test_values_that_are_no_sound_are_refused_in_memory_as_in_files(value: float) -> None:
    samples = np.zeros(1000)
    samples[7] = value
    with pytest.raises(AudioError, match="values that are not sound"):
        heard(samples)


@pytest.mark.parametrize("rate", [-16000, 0.5, 1, 999, 10**9, float("nan"), float("inf")])
def test_rates_of_no_recording_are_refused(rate: float) -> None:
    """A second at 1 Hz would be 16,000 samples of each that there is."""
    track = Track(waveform=np.zeros(1000, np.float32), sample_rate=rate)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="must lie between 1,000 and 768,000 Hz"):
        next(mono_blocks(track, RATE))


def test_the_same_bytes_in_another_form_are_another_sound() -> None:
    flat = np.arange(64, dtype=np.float32)
    forms = [flat, flat.reshape(2, 32), flat.reshape(4, 16), flat.view(np.int32)]
    hashes = {content_hash(Track(waveform=form, sample_rate=RATE)) for form in forms}
    hashes.add(content_hash(Track(waveform=flat, sample_rate=2 * RATE)))
    assert len(hashes) == 5
    again = Track(waveform=flat.copy(), sample_rate=RATE)
    assert content_hash(again) in hashes


@pytest.mark.parametrize("embedding", ["musicnn-pooled", "musicnn-vgg"])
@pytest.mark.parametrize("long", [False, True])
def test_progress_is_what_was_heard_and_can_end_it(
    tmp_path, monkeypatch, embedding: str, long: bool
) -> None:
    if long:
        monkeypatch.setattr(listening_module, "SHORT_SECONDS", 6.0)
    noise = np.random.default_rng(1).normal(0, 0.1, RATE * 30).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, RATE, subtype="FLOAT")
    track = Track(path=str(tmp_path / "noise.wav"))
    shares: list[float] = []
    heard = Listener(embedding).listen(track, progress=shares.append)
    assert shares == sorted(shares) and shares[0] == 0 and 0.9 < shares[-1] <= 1
    steps = np.unique(shares)
    assert len(steps) >= 5 and np.diff(steps).max() < 0.3
    alone = load_embedding(embedding).embed(noise)
    np.testing.assert_array_equal(heard.rows, alone.rows)
    np.testing.assert_array_equal(heard.taggram, load_tagger().listen(noise).taggram)

    class EnoughError(Exception):
        pass

    def enough(share: float) -> None:
        shares.append(share)
        if share > 0.4:
            raise EnoughError

    shares.clear()
    with pytest.raises(EnoughError):
        Listener(embedding).listen(track, progress=enough)
    assert shares[-1] < 0.8


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_single_sample_is_one_sentence(tmp_path, in_memory: bool) -> None:
    path = tmp_path / "click.wav"
    soundfile.write(path, np.full(1, 0.5), 44_100)
    track = Track(path=str(path))
    if in_memory:
        track = Track(waveform=np.full(1, 0.5, np.float32), sample_rate=44_100)
    with pytest.raises(AudioError, match="too short to hear anything in it"):
        Listener("musicnn-pooled").listen(track)


def test_the_tracks_of_the_longest_request_are_each_heard_once(monkeypatch) -> None:
    listener, times = Listener("musicnn-pooled"), []

    def hear(track: Track, digest: str, progress) -> str:
        times.append(digest)
        return digest

    monkeypatch.setattr(listener, "_listen", hear)
    tones = [np.full(100, i / MAX_TRACKS, np.float32) for i in range(MAX_TRACKS)]
    for _ in range(2):
        for tone in tones:
            listener.listen(Track(waveform=tone, sample_rate=RATE))
    assert len(times) == len(set(times)) == MAX_TRACKS
