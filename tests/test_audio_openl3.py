"""OpenL3 against the official code's outputs (with deterministic weights)."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from conftest import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st
from openl3_recipe import recipe_weights

from audiogpt.audio.errors import AudioError
from audiogpt.audio.openl3 import OpenL3Embedding
from audiogpt.audio.openl3_frontend import OpenL3FrontEnd
from audiogpt.audio.openl3_network import OpenL3Network, OpenL3Weights
from audiogpt.audio.windows import Windows

ORACLE = SHARED / "oracle" / "openl3"
CLIPS = ("fishin", "trumpet_short")
TOLERANCE = 1e-4  # relative L2
LINEAR_KAPRE_TOLERANCE = 3e-4  # its reference carries float32 FFT noise
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
needs_oracle = pytest.mark.skipif(
    not ORACLE.is_dir(), reason="the reference outputs are not on this machine"
)


@cache
def weights() -> OpenL3Weights:
    return recipe_weights()


@cache
def reference(clip: str) -> dict[str, np.ndarray]:
    """Every array of a clip, the original front end's file included."""
    values: dict[str, np.ndarray] = {}
    for name in (clip, f"{clip}_original"):
        with np.load(ORACLE / f"{name}.npz") as data:
            values |= {key: data[key] for key in data.files}
    return values


def samples(clip: str) -> np.ndarray:
    return reference(clip)["audio48k"].astype(np.float32)


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def embedding(**options: object) -> OpenL3Embedding:
    return OpenL3Embedding(weights(), **{"hop_seconds": 0.1, **options})  # type: ignore[arg-type]


@needs_oracle
@pytest.mark.parametrize("front_end", ["original", "kapre", "librosa"])
@pytest.mark.parametrize("representation", ["mel128", "mel256"])
def test_mel_features_match(representation: str, front_end: str) -> None:
    for clip, number in (("fishin", 5), ("trumpet_short", 1)):
        expected = reference(clip)[f"{representation}/{front_end}_input_w5"]
        sound = np.concatenate([np.zeros(24_000, np.float32), samples(clip)])
        window = sound[number * 4800 :][:48_000]
        ours = OpenL3FrontEnd(representation, front_end)(torch.from_numpy(window[None]))
        assert relative(ours[0].numpy(), expected) < TOLERANCE


@needs_oracle
@pytest.mark.parametrize("front_end", ["original", "kapre", "librosa"])
@pytest.mark.parametrize("representation", ["mel128", "mel256"])
@pytest.mark.parametrize("width", [512, 6144])
def test_short_clip_matches(representation: str, front_end: str, width: int) -> None:
    key = f"{representation}/{width}/{front_end}/center1"
    key += "/rows_first_mid_last" if width == 6144 else ""
    made = embedding(representation=representation, width=width, front_end=front_end)
    rows = made.embed(samples("trumpet_short")).rows
    assert relative(rows, reference("trumpet_short")[key]) < TOLERANCE


@needs_oracle
@pytest.mark.slow
@pytest.mark.parametrize(
    ("representation", "front_end", "center"),
    [
        ("mel256", "original", True),
        ("mel256", "kapre", True),
        ("mel128", "librosa", True),
        ("mel128", "kapre", False),
    ],
)
def test_many_windows_match(representation: str, front_end: str, center: bool) -> None:
    made = embedding(representation=representation, front_end=front_end, center=center)
    heard = made.embed(samples("fishin"))
    expected = reference("fishin")[f"{representation}/512/{front_end}/center{int(center)}"]
    assert relative(heard.rows, expected) < TOLERANCE
    if center:  # the official timestamp is the middle of the window
        middle = heard.times[10:30].mean(axis=1)
        np.testing.assert_allclose(middle, reference("fishin")["timestamps"][10:30], atol=1e-5)


@needs_oracle
@pytest.mark.parametrize(
    ("front_end", "tolerance"), [("kapre", LINEAR_KAPRE_TOLERANCE), ("librosa", TOLERANCE)]
)
def test_linear_matches(front_end: str, tolerance: float) -> None:
    with np.load(ORACLE / "fishin_linear.npz") as data:
        features = data[f"linear/{front_end}_input_w0"]
        rows = data[f"linear/512/{front_end}/center0_hop0.5"]
    sound = samples("fishin")
    ours = OpenL3FrontEnd("linear", front_end)(torch.from_numpy(sound[None, :48_000]))
    assert relative(ours[0].numpy(), features) < tolerance
    made = embedding(representation="linear", front_end=front_end, center=False, hop_seconds=0.5)
    assert relative(made.embed(sound).rows, rows) < tolerance


@pytest.mark.parametrize(
    ("n", "hop", "center", "windows"),
    [
        (192_000, 0.1, True, 36),
        (192_000, 0.1, False, 31),
        (28_800, 0.1, True, 2),
        (28_800, 0.1, False, 1),
        (1, 1.0, True, 1),
        (48_000 * 30, 1.0, True, 31),
        (48_000 * 30, 0.1, True, 296),
    ],
)
def test_number_of_windows(n: int, hop: float, center: bool, windows: int) -> None:
    assert embedding(hop_seconds=hop, center=center).windows.count(n) == windows


def test_stream_equals_whole_and_batches_do_not_matter() -> None:
    sound = np.random.default_rng(3).normal(0, 0.1, 48_000 * 4).astype(np.float32)
    made = embedding(representation="mel128", hop_seconds=1.0)
    whole = made.embed(sound)
    made.batch_size = 2
    parts = list(made.embed_blocks(np.array_split(sound, 7)))
    rows = np.concatenate([part.rows for part in parts])
    np.testing.assert_allclose(rows, whole.rows, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(np.concatenate([p.times for p in parts]), whole.times)


@settings(max_examples=100, deadline=None)
@given(
    length=st.integers(1, 20),
    hop=st.integers(1, 50),  # windows may lie apart
    before=st.integers(0, 5),
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8),
    batch_size=st.integers(1, 4),
)
def test_windows_of_a_stream_are_those_of_the_whole(length, hop, before, sizes, batch_size) -> None:
    windows = Windows(length, hop, min(before, length))
    sound = np.arange(1, sum(sizes) + 1, dtype=np.float32)
    blocks = np.split(sound, np.cumsum(sizes)[:-1])
    count = windows.count(len(sound))
    padded = np.concatenate([np.zeros(windows.before), sound, np.zeros(length + count * hop)])
    expected = [padded[i * hop : i * hop + length] for i in range(count)]
    found = [row for _, rows in windows.batches(blocks, batch_size) for row in rows]
    assert len(found) == count
    np.testing.assert_array_equal(
        np.reshape(found, (count, length)), np.reshape(expected, (count, length))
    )


def test_wide_embedding_is_max_pooled_to_the_narrow_one() -> None:
    sound = np.random.default_rng(4).normal(0, 0.1, 48_000).astype(np.float32)
    narrow, wide = (
        embedding(width=width, hop_seconds=1.0, center=False).embed(sound).rows
        for width in (512, 6144)
    )
    np.testing.assert_allclose(wide.reshape(12, 512).max(axis=0), narrow[0], rtol=1e-5)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="front end"):
        embedding(front_end="mystery")
    with pytest.raises(ValueError, match="512 or 6144"):
        OpenL3Network(weights(), representation="mel256", width=100)  # type: ignore[arg-type]
    state = [*OpenL3FrontEnd("mel256").buffers(), *OpenL3FrontEnd("linear").buffers()]
    assert all(part.dtype == torch.float32 for part in state)  # Apple's GPUs have no float64
    with pytest.raises(ValueError, match="hop"):
        embedding(hop_seconds=0.0)
    with pytest.raises(AudioError, match="length is zero"):
        embedding().embed(np.zeros(0, np.float32))
