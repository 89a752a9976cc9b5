"""What the taggers hear: the product's vocabulary, its confidences, silence and speech."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from conftest import EXAMPLES, SHARED
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from audiogpt.audio.errors import AudioError
from audiogpt.audio.loading import iter_mono, load_audio, resample_mono
from audiogpt.audio.speech import SpeechMeter
from audiogpt.audio.tag_confidence import (
    MSD_DECAY,
    MSD_TOP_RATE,
    MTT_DECAY,
    MTT_TOP_RATE,
    confidences,
    label_rates,
    tag_lift,
)
from audiogpt.audio.tag_picture import draw_tags
from audiogpt.audio.tag_vocabulary import (
    CONTRARY,
    LABELS,
    MSD_LABELS,
    MTT_LABELS,
    VOCABULARY,
    contradicts,
)
from audiogpt.audio.tagger import SHORT_NOTE, SILENT_NOTE, SPEECH_NOTE, Tagger, load_tagger

ORACLE = SHARED / "oracle" / "musicnn"
needs_oracle = pytest.mark.skipif(
    not ORACLE.is_dir(), reason="the reference clips are not on this machine"
)
MSD_USUAL = label_rates(50, MSD_TOP_RATE, MSD_DECAY)
MTT_USUAL = label_rates(50, MTT_TOP_RATE, MTT_DECAY)
probabilities = arrays.arrays(np.float64, 50, elements=st.floats(0, 1))


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return load_tagger()


def confidence(tagger: Tagger, samples: np.ndarray) -> dict[str, float]:
    return {tag.text: tag.confidence for tag in tagger.listen(samples).tags}


def test_every_tag_has_a_source_and_one_text() -> None:
    assert len(set(LABELS)) == len(LABELS)
    for tag in VOCABULARY:
        assert tag.msd or tag.mtt
        assert set(tag.msd) <= set(MSD_LABELS)
        assert set(tag.mtt) <= set(MTT_LABELS)


def test_each_label_serves_one_tag() -> None:
    for source in ([t.msd for t in VOCABULARY], [t.mtt for t in VOCABULARY]):
        used = [label for labels in source for label in labels]
        assert len(used) == len(set(used))


@given(probabilities, probabilities)
def test_confidences_are_shares(msd: np.ndarray, mtt: np.ndarray) -> None:
    values = confidences(msd, mtt)
    assert values.shape == (len(LABELS),)
    assert np.isfinite(values).all()
    assert ((values >= 0) & (values <= 1)).all()


@given(st.integers(0, 49), st.floats(0.3, 0.999))
def test_more_of_a_label_never_means_less_of_its_tag(label: int, p: float) -> None:
    raised = MSD_USUAL.copy()
    raised[label] = max(raised[label], p)
    before, after = confidences(MSD_USUAL, MTT_USUAL), confidences(raised, MTT_USUAL)
    assert (after >= before - 1e-6).all()


def test_the_usual_rates_are_no_evidence() -> None:
    np.testing.assert_allclose(tag_lift(MSD_USUAL, MTT_USUAL), 0, atol=1e-9)
    assert confidences(MSD_USUAL, MTT_USUAL).max() < 0.3


def test_classical_explains_jazz_away() -> None:
    msd = MSD_USUAL.copy()
    msd[MSD_LABELS.index("jazz")] = 0.6
    mtt = MTT_USUAL.copy()
    mtt[MTT_LABELS.index("classical")] = 0.8
    jazz = LABELS.index("jazz")
    assert confidences(msd, MTT_USUAL)[jazz] > 0.6
    assert confidences(msd, mtt)[jazz] < 0.4


@needs_oracle
@pytest.mark.parametrize(
    ("clip", "expected", "absent"),
    [
        ("brahms", ("classical", "violin", "strings"), ("hip-hop", "female vocal", "techno")),
        ("fishin30", ("female vocal", "singing", "folk"), ("metal", "classical", "instrumental")),
        ("trumpet", ("jazz",), ("metal", "singing", "techno")),
    ],
)
def test_real_clips(
    tagger: Tagger, clip: str, expected: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    with np.load(ORACLE / f"{clip}.npz") as data:
        heard = tagger.listen(data["wave16"].astype(np.float32))
    assert heard.note == ""
    assert set(expected) <= {tag.text for tag in heard.tags[:4]}
    values = {tag.text: tag.confidence for tag in heard.tags}
    assert all(values[text] < 0.15 for text in absent)


def test_taggram_is_over_time(tagger: Tagger) -> None:
    quiet = np.random.default_rng(0).normal(0, 0.001, 16_000 * 6).astype(np.float32)
    t = np.arange(16_000 * 6) / 16_000
    tone = sum(0.1 * np.sin(2 * np.pi * 262 * k * t) for k in range(1, 5)).astype(np.float32)
    heard = tagger.listen(np.concatenate([quiet, tone]))
    assert heard.taggram.shape == (4, len(LABELS))
    assert heard.taggram.dtype == np.float32
    assert heard.times.shape == (4, 2)
    assert heard.labels == LABELS
    assert sorted(tag.text for tag in heard.tags) == sorted(LABELS)
    assert np.abs(heard.taggram[0] - heard.taggram[3]).max() > 0.2


def test_stream_equals_whole(tagger: Tagger) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 16_000 * 10).astype(np.float32)
    whole = tagger.listen(samples)
    parts = tagger.listen_blocks(np.array_split(samples, 9))
    np.testing.assert_allclose(parts.taggram, whole.taggram, rtol=0, atol=1e-5)


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_is_said(tagger: Tagger, level: float) -> None:
    samples = np.random.default_rng(2).normal(0, 1, 16_000 * 7).astype(np.float32) * np.float32(
        level
    )
    heard = tagger.listen(samples)
    assert heard.note == SILENT_NOTE
    assert max(tag.confidence for tag in heard.tags) == 0
    assert heard.taggram.max() == 0
    with pytest.raises(AudioError, match="length is zero"):
        tagger.listen(np.zeros(0, np.float32))


@pytest.mark.parametrize(("offset", "seconds"), [(0.01, 3), (0.2, 3), (0.05, 120)])
def test_an_offset_that_nobody_hears_is_silence(
    tagger: Tagger, offset: float, seconds: int
) -> None:
    hiss = np.random.default_rng(2).normal(0, 1e-5, 16_000 * seconds).astype(np.float32)
    assert tagger.listen(hiss + np.float32(offset)).note == SILENT_NOTE
    loud = np.random.default_rng(2).normal(0, 0.1, 16_000 * 3).astype(np.float32)
    assert tagger.listen(loud + np.float32(0.01)).note != SILENT_NOTE


def test_a_sound_that_had_to_be_repeated_is_told(tagger: Tagger) -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, 48_000).astype(np.float32)
    assert tagger.listen(samples[:100]).note == SHORT_NOTE
    assert tagger.listen(samples).note == ""  # 3 s
    assert tagger.listen(np.zeros(16, np.float32)).note == SILENT_NOTE


def has_flite() -> bool:
    if shutil.which("ffmpeg") is None:
        return False
    listed = subprocess.run(["ffmpeg", "-filters"], capture_output=True, text=True, check=False)
    return " flite " in listed.stdout


@pytest.mark.parametrize("voice", ["slt", "awb"])
def test_speech_is_said(tagger: Tagger, tmp_path: Path, voice: str) -> None:
    if not has_flite():
        pytest.skip("ffmpeg with the flite voices is not installed")
    text = (
        "The quick brown fox jumps over the lazy dog. In this talk I would like to tell you about "
        "the history of the city and why people came to live here. It was a long winter and nobody "
        "knew when the spring would come. Please remember to bring your own food and water."
    )
    path = tmp_path / "talk.wav"
    source = f"flite=text='{text}':voice={voice}"
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, path], check=True)
    assert tagger.listen_blocks(iter_mono(path, tagger.sample_rate)).note == SPEECH_NOTE


def test_music_is_not_called_speech(tagger: Tagger) -> None:
    clips = EXAMPLES
    assert clips
    for clip in clips:
        assert tagger.listen(resample_mono(load_audio(clip), 16_000)).note == ""


def test_speech_needs_voice_and_no_instrument() -> None:
    """Noise in syllables has the rhythm of speech; the taggers' ears decide."""
    meter, frames = SpeechMeter(), torch.arange(187) / 62.5
    gate = (torch.sin(2 * torch.pi * 4 * frames) > 0.3).float()
    meter.add((gate[:, None] * torch.full((187, 96), 3.0))[None])
    values = np.zeros(len(LABELS), np.float32)
    assert not meter.is_speech(values)
    values[LABELS.index("singing")] = 0.5
    assert meter.is_speech(values)
    values[LABELS.index("drums")] = 0.6
    assert not meter.is_speech(values)
    steady = SpeechMeter()
    steady.add(torch.full((1, 187, 96), 3.0))
    values[LABELS.index("drums")] = 0.0
    assert not steady.is_speech(values)


def test_the_picture_of_tags_is_drawn(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, 7 * 16000).astype(np.float32)
    heard = load_tagger().listen(samples)
    path = tmp_path / "tags.png"
    draw_tags(samples, 16000, heard, path, top=5)
    pixels = matplotlib.image.imread(path)
    assert pixels.shape[1] > 800 and pixels[..., :3].std() > 0.05  # not a blank sheet


def test_contrary_tags_are_known_tags_and_exclude_each_other():
    for one, other in CONTRARY:
        assert one | other <= set(LABELS)
    assert contradicts("singing", ["rock", "instrumental"])
    assert contradicts("instrumental", ["choir"])
    assert not contradicts("singing", ["rock", "choir"])
