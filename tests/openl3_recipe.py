"""Deterministic stand-ins for OpenL3's weights, as the reference outputs were made with."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
from pathlib import Path

import h5py
import numpy as np

from audiogpt.audio.openl3_network import CHANNELS, OpenL3Weights

BATCH_NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")


def array(layer: str, part: str, shape: tuple[int, ...]) -> np.ndarray:
    """One array of the recipe, float32; kernels are (height, width, in, out)."""
    seed = int.from_bytes(hashlib.sha256(f"1:{layer}/{part}".encode()).digest()[:8], "little")
    z = np.random.default_rng(seed).standard_normal(shape)
    if part == "kernel":
        z = z * np.sqrt(2 / np.prod(shape[:3]))
    elif part == "gamma":
        z = 1 + 0.1 * z
    elif part == "moving_variance":
        z = np.exp(0.2 * z)
    else:
        z = 0.1 * z
    return z.astype(np.float32)


def recipe_weights() -> OpenL3Weights:
    batch_norms, convolutions = [], []
    for i, (inner, outer) in enumerate(itertools.pairwise(CHANNELS)):
        suffix = f"_{i}" if i else ""
        norm = "batch_normalization" + suffix
        batch_norms.append(tuple(array(norm, part, (inner,)) for part in BATCH_NORM_PARTS))
        conv = "audio_embedding_layer" if i == 7 else "conv2d" + suffix
        convolutions.append(
            (array(conv, "kernel", (3, 3, inner, outer)), array(conv, "bias", (outer,)))
        )
    return OpenL3Weights(tuple(batch_norms), tuple(convolutions))


def write_official_layout(path: Path, weights: OpenL3Weights, *, offset: int = 7) -> None:
    """Write Keras 2 legacy HDF5: offset layer numbers, empty groups, gzipped if named so."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        names = ["input_1", f"spectrogram_{offset}"]
        for name in names:
            file.create_group(name).attrs["weight_names"] = np.array([], dtype="S1")
        for i in range(8):
            norm, conv = f"batch_normalization_{i + offset}", f"conv2d_{i + offset}"
            if i == 7:
                conv = "audio_embedding_layer"
            _write(file, norm, dict(zip(BATCH_NORM_PARTS, weights.batch_norms[i], strict=True)))
            kernel, bias = weights.convolutions[i]
            _write(file, conv, {"kernel": kernel, "bias": bias})
            activation = f"activation_{i + offset}"
            file.create_group(activation).attrs["weight_names"] = np.array([], dtype="S1")
            names += [norm, conv, activation]
        file.attrs["layer_names"] = np.array([name.encode() for name in names])
    data = buffer.getvalue()
    path.write_bytes(gzip.compress(data, compresslevel=1) if path.suffix == ".gz" else data)


def _write(file: h5py.File, layer: str, arrays: dict[str, np.ndarray]) -> None:
    group = file.create_group(layer)
    names = [f"{layer}/{part}:0" for part in arrays]
    for name, values in zip(names, arrays.values(), strict=True):
        group.create_dataset(name, data=values)
    group.attrs["weight_names"] = np.array([name.encode() for name in names])
