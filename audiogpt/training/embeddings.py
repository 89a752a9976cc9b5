"""What is heard in training clips: embeddings and tags, computed once and kept in files."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from audiogpt.audio.embedding import load_embedding
from audiogpt.audio.loading import load_audio, resample_mono
from audiogpt.audio.tagger import load_tagger
from audiogpt.training.files import replacing

logger = logging.getLogger(__name__)

LEAST_HEARD = 0.15  # confidence

Embeddings = Mapping[str, np.ndarray]
"""Clip name -> float32 (S, width), one row per segment."""

Heard = Mapping[str, Sequence[tuple[str, float]]]
"""Clip name -> tags and confidences."""


def embed_clips(files: Iterable[Path], *, name: str = "musicnn-pooled") -> dict[str, np.ndarray]:
    """Embed audio files; keys are file names. Raises AudioError for unreadable files."""
    embedding = load_embedding(name)
    rows = {}
    for path in tqdm(list(files), desc="embedding clips"):
        samples = resample_mono(load_audio(path), embedding.sample_rate)
        rows[path.name] = np.asarray(embedding.embed(samples).rows, np.float32)  # (S, width)
    return rows


def hear_clips(
    files: Iterable[Path], *, seconds: float = 15.0
) -> dict[str, list[tuple[str, float]]]:
    """The tagger's tags and confidences by file name, from the first `seconds` of each file."""
    tagger = load_tagger()
    heard = {}
    for path in tqdm(list(files), desc="hearing clips"):
        samples = resample_mono(load_audio(path), tagger.sample_rate)
        tags = tagger.listen(samples[: int(seconds * tagger.sample_rate)]).tags
        heard[path.name] = [
            (tag.text, round(tag.confidence, 3)) for tag in tags if tag.confidence >= LEAST_HEARD
        ]
    return heard


def save_heard(heard: Heard, path: Path) -> None:
    """Write what `hear_clips` gives as JSON; the file is replaced atomically."""
    with replacing(path) as part:
        part.write_text(json.dumps(heard), encoding="utf-8")


def load_heard(path: Path) -> dict[str, list[tuple[str, float]]]:
    """Read what `save_heard` wrote; empty where there is none, ValueError for another file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {clip: [(str(tag), float(c)) for tag, c in tags] for clip, tags in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not what prepare-data writes ({error}): delete it and make it again."
        ) from error


def save_embeddings(rows: Embeddings, path: Path) -> None:
    """Write an ``.npz`` archive of float16 arrays; the file is replaced atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {key: value.astype(np.float16) for key, value in rows.items()}
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_embeddings(path: Path, *, width: int, clips: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Read what `save_embeddings` wrote, as float32 (S, width) by clip; ValueError if the file is
    missing or broken, holds another embedding, or lacks one of `clips`."""
    if not path.is_file():
        raise ValueError(f"There is no {path}; make it with `python -m audiogpt prepare-data`.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            rows = {key: archive[key].astype(np.float32) for key in archive.files}
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is not what prepare-data writes ({error}): delete it and make it again."
        ) from error
    other = {clip.shape[1:] for clip in rows.values()} - {(width,)}
    if other:
        raise ValueError(
            f"{path} holds rows of shape {other.pop()}, but the model reads rows of {width}: "
            "make it again with `python -m audiogpt prepare-data --audio_embedding NAME`."
        )
    if absent := sorted(set(clips) - rows.keys()):
        raise ValueError(
            f"{path} lacks {len(absent)} of the clips, such as {absent[0]}: make it again with "
            "`python -m audiogpt prepare-data`."
        )
    return rows
