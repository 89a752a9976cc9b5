"""The musicnn networks against the outputs of the original TensorFlow code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED

from audiogpt.audio import musicnn_weights
from audiogpt.audio.embedding import load_embedding, track_row
from audiogpt.audio.errors import AudioError
from audiogpt.audio.mel import mel_filters
from audiogpt.audio.musicnn import (
    POOLED_WIDTH,
    Musicnn,
    MusicnnVGG,
    load_network,
    load_taggers,
)
from audiogpt.audio.musicnn_logmel import PATCH_HOP, PATCHES, LogMel, at_least_one_patch
from audiogpt.audio.musicnn_weights import batch_norm, load_weights
from audiogpt.audio.tag_vocabulary import MSD_LABELS, MTT_LABELS
from audiogpt.audio.tagger import load_tagger

ORACLE = SHARED / "oracle" / "musicnn"
CLIPS = ("brahms", "fishin", "fishin30", "nutcracker", "trumpet")
TOLERANCE = 1e-4
needs_oracle = pytest.mark.skipif(
    not ORACLE.is_dir(), reason="the reference outputs are not on this machine"
)


def reference(clip: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Samples float32 (n,) and the original outputs by name."""
    with np.load(ORACLE / f"{clip}.npz") as data:
        values = {key: data[key] for key in data.files}
    return values["wave16"].astype(np.float32), values


def logmels(samples: np.ndarray) -> torch.Tensor:
    """Log-mels (S, 187, 96) of all patches."""
    front_end = LogMel()
    batches = PATCHES.batches(at_least_one_patch([samples]), 4)
    return torch.cat([front_end(torch.from_numpy(b.copy())) for _, b in batches])


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


@needs_oracle
@pytest.mark.parametrize("clip", CLIPS)
def test_log_mel_matches_the_original(clip: str) -> None:
    samples, expected = reference(clip)
    np.testing.assert_allclose(
        logmels(samples)[0].numpy(), expected["logmel_patch0"], rtol=0, atol=TOLERANCE
    )


@needs_oracle
@pytest.mark.parametrize("clip", CLIPS)
def test_vgg_embedding_matches_the_original(clip: str) -> None:
    samples, expected = reference(clip)
    rows = load_embedding("musicnn-vgg").embed(samples).rows
    pool5 = expected["MSD_vgg/pool5"]
    np.testing.assert_allclose(rows.reshape(pool5.shape), pool5, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(
        track_row(rows), expected["MSD_vgg/embed256"], rtol=0, atol=TOLERANCE
    )


@needs_oracle
@pytest.mark.parametrize("clip", CLIPS)
def test_vgg_tags_match_the_original(clip: str) -> None:
    samples, expected = reference(clip)
    network = load_network("MSD_vgg")
    with torch.inference_mode():
        taggram = torch.sigmoid(network.logits(network(logmels(samples)))).numpy()
    np.testing.assert_allclose(taggram, expected["MSD_vgg/taggram"], rtol=0, atol=TOLERANCE)


@needs_oracle
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("name", ["MSD_musicnn", "MTT_musicnn"])
def test_taggers_match_the_original(clip: str, name: str) -> None:
    samples, expected = reference(clip)
    network = load_network(name)
    with torch.inference_mode():
        logits = network(logmels(samples))
        penultimate = network.penultimate(logmels(samples)).numpy()
    np.testing.assert_allclose(logits.numpy(), expected[f"{name}/logits"], rtol=0, atol=TOLERANCE)
    taggram = torch.sigmoid(logits).numpy()
    np.testing.assert_allclose(taggram, expected[f"{name}/taggram"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(penultimate, expected[f"{name}/penultimate"], rtol=0, atol=TOLERANCE)


@needs_oracle
def test_labels_are_the_originals() -> None:
    labels = json.loads((ORACLE / "labels.json").read_text())
    assert list(MSD_LABELS) == labels["MSD"]
    assert list(MTT_LABELS) == labels["MTT"]


@pytest.mark.parametrize("name", ["MSD_vgg", "MSD_musicnn", "MTT_musicnn"])
def test_removing_dead_channels_changes_nothing(name: str) -> None:
    network = MusicnnVGG if name == "MSD_vgg" else Musicnn
    weights = load_weights(name)
    whole, pruned = network(weights, prune=False), network(weights)
    size = sum(b.numel() for b in whole.buffers())
    assert sum(b.numel() for b in pruned.buffers()) < 0.75 * size
    logmel = logmels(noise(2 * PATCH_HOP + 1000))
    with torch.inference_mode():
        torch.testing.assert_close(pruned(logmel), whole(logmel), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels", "scale"),
    [(16_000, 512, 96, "slaney"), (48_000, 2048, 256, "slaney"), (48_000, 2048, 128, "htk")],
)
def test_mel_filters_are_librosas(rate: int, n_fft: int, n_mels: int, scale: str) -> None:
    librosa = pytest.importorskip("librosa")
    ours = mel_filters(rate, n_fft, n_mels, f_max=rate / 2, scale=scale)
    theirs = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=n_mels, fmax=rate / 2, htk=scale == "htk"
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-8)


def test_rows_do_not_depend_on_the_batch_or_on_what_follows() -> None:
    embedding = load_embedding("musicnn-vgg")
    samples = noise(6 * PATCH_HOP)
    rows = embedding.embed(samples).rows
    assert rows.shape == (6, 256)
    embedding.batch_size = 2
    np.testing.assert_allclose(embedding.embed(samples).rows, rows, rtol=0, atol=1e-5)
    start = embedding.embed(samples[: 3 * PATCH_HOP]).rows
    np.testing.assert_allclose(start[:2], rows[:2], rtol=0, atol=1e-5)


def test_times_are_consecutive_patches() -> None:
    heard = load_embedding("musicnn-vgg").embed(noise(3 * PATCH_HOP))
    np.testing.assert_allclose(heard.times, [[0, 2.992], [2.992, 5.984], [5.984, 8.976]], rtol=1e-5)


def test_a_short_clip_is_repeated_not_refused() -> None:
    embedding = load_embedding("musicnn-vgg")
    clip = noise(16_000)
    repeated = np.resize(clip, PATCHES.length)
    np.testing.assert_array_equal(embedding.embed(clip).rows, embedding.embed(repeated).rows)
    with pytest.raises(AudioError, match="length is zero"):
        embedding.embed(np.zeros(0, np.float32))


def test_stereo_samples_are_refused_by_shape() -> None:
    with pytest.raises(ValueError, match="mono"):
        load_embedding("musicnn-vgg").embed(np.zeros((2, 16_000), np.float32))


def test_unknown_embedding_is_named() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        load_embedding("nonsense")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    good = (musicnn_weights.WEIGHTS_FOLDER / "MSD_vgg.safetensors").read_bytes()
    bad = bytearray(good)
    bad[-1] ^= 1
    (tmp_path / "MSD_vgg.safetensors").write_bytes(bad)
    with pytest.raises(ValueError, match="damaged"):
        load_weights("MSD_vgg", tmp_path)
    with pytest.raises(ValueError, match="missing"):
        load_weights("MTT_musicnn", tmp_path)


def test_pooled_rows_are_what_the_taggers_read() -> None:
    samples = noise(3 * PATCH_HOP + 500, seed=3) * np.linspace(0.2, 2, 3 * PATCH_HOP + 500)
    samples = samples.astype(np.float32)
    heard = load_embedding("musicnn-pooled").embed(samples)
    assert heard.rows.shape == (3, POOLED_WIDTH)
    taggers = load_taggers()
    first = 0
    with torch.inference_mode():
        for name, tagger in zip(("MSD_musicnn", "MTT_musicnn"), taggers, strict=True):
            width = len(tagger.pooled_scale)
            rows = torch.from_numpy(heard.rows[:, first : first + width])
            pooled = tagger.pooled(logmels(samples))
            whole = tagger.standardised(pooled)
            torch.testing.assert_close(rows, whole.clamp(-4, 4), rtol=0, atol=1e-4)
            first += width
            # The batch norm of the published network, in its order: maximum and mean by turns.
            network = Musicnn(load_weights(name), prune=False)
            _, _, mean, variance = (torch.from_numpy(v) for v in batch_norm(load_weights(name), 9))
            by_turns = network.pooled(logmels(samples)).unflatten(1, (2, -1)).mT.flatten(1)
            standard = (by_turns - mean) / (variance + 1e-3).sqrt()
            maxima, means = standard[:, 0::2], standard[:, 1::2]
            alive = torch.tensor([len(mean) // 2 - 192 <= i for i in range(len(mean) // 2)])
            for found, expected in zip(whole.chunk(2, 1), (maxima, means), strict=True):
                torch.testing.assert_close(
                    found[:, -192:], expected[:, alive], rtol=1e-3, atol=1e-3
                )
    assert first == POOLED_WIDTH
    tagged = load_tagger().listen(samples)
    np.testing.assert_array_equal(tagged.rows, heard.rows)
    np.testing.assert_array_equal(tagged.times, heard.times)
