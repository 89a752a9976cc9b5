"""Audio embeddings of training clips, computed once and kept in one file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from audiogpt.audio.embedding import load_embedding
from audiogpt.audio.loading import load_audio, resample_mono

logger = logging.getLogger(__name__)

Embeddings = Mapping[str, np.ndarray]
"""Clip name -> float32 (S, width), one row per segment."""


def embed_clips(files: Iterable[Path], *, name: str = "musicnn-vgg") -> dict[str, np.ndarray]:
    """Embed audio files; keys are file names. Raises AudioError for unreadable files."""
    embedding = load_embedding(name)
    rows = {}
    for path in tqdm(list(files), desc="embedding clips"):
        samples = resample_mono(load_audio(path), embedding.sample_rate)
        rows[path.name] = np.asarray(embedding.embed(samples).rows, np.float32)  # (S, width)
    return rows


def save_embeddings(rows: Embeddings, path: Path) -> None:
    """Write an ``.npz`` archive of float16 arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key: value.astype(np.float16) for key, value in rows.items()})  # type: ignore[arg-type]


def load_embeddings(path: Path) -> dict[str, np.ndarray]:
    """Read what `save_embeddings` wrote, as float32; ValueError if the file is missing."""
    if not path.is_file():
        raise ValueError(f"There is no {path}; make it with `python -m audiogpt prepare-data`.")
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key].astype(np.float32) for key in archive.files}
