"""The shipped musicnn weights: where they are, and that they are what they should be."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import load

NetworkName = Literal["MSD_vgg", "MSD_musicnn", "MTT_musicnn"]

WEIGHTS_FOLDER = Path(__file__).resolve().parents[2] / "checkpoints" / "musicnn"

# sha256 of the files that scripts/convert_musicnn.py writes; a deliberate new conversion has to
# be entered here and in checkpoints/musicnn/SHA256SUMS.
SHA256: dict[str, str] = {
    "MSD_vgg": "ce0ae2cbe367fe4ad0b5f9bcc1625c8f43c017fdbf230b557052c14bc3c4ce17",
    "MSD_musicnn": "496fa955fcb0baca5e2a51148b95d24405c6c1c3cf5ef1d8a0ac1ce35e8a03ce",
    "MTT_musicnn": "33d30484a501bafb9fea11ed0cbef6477f3fd9b8ff1a341727bd6435f19fc801",
}


def load_weights(name: NetworkName, folder: Path = WEIGHTS_FOLDER) -> dict[str, np.ndarray]:
    """Return the float32 arrays of one network by their TensorFlow variable names.

    Kernels are ``(height = time, width = mel, in, out)``, as TensorFlow stores them.

    Raises:
        ValueError: the file is missing, or is not byte for byte the expected one.
    """
    path = folder / f"{name}.safetensors"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"The weights {path} are missing: run scripts/convert_musicnn.py, or reinstall."
        ) from error
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        raise ValueError(f"The weights {path} are damaged or changed: restore the shipped file.")
    return load(data)


def batch_norm(weights: dict[str, np.ndarray], number: int) -> tuple[np.ndarray, ...]:
    """(gamma, beta, mean, variance) of the batch norm with this number; 0 is the input's."""
    name = "batch_normalization" + (f"_{number}" if number else "")
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    return tuple(weights[f"{name}/{part}"] for part in parts)
