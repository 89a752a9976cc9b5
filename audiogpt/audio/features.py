"""Embed a folder of tracks into one HDF5 file for training: one dataset per track id.

The layout is that of PlayNTell's training code: dataset ``<track id>`` holds float32
``(S, width)`` rows. The file carries the embedding's name and how much of each track was embedded,
so that features of two kinds cannot be mixed in it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from audiogpt.audio.embedding import AudioEmbedding, embed_file
from audiogpt.audio.errors import AudioError

logger = logging.getLogger(__name__)

# The formats that are looked for in a folder; a single file of any kind can be read by `embed`.
# fmt: off
SUFFIXES = frozenset({
    ".aac", ".aif", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mka", ".mp3", ".mp4", ".oga",
    ".ogg", ".opus", ".w64", ".wav", ".wma", ".wv",
})
# fmt: on
NAME_ATTRIBUTE = "embedding"
DURATION_ATTRIBUTE = "duration"  # s from the start of each track; infinite: all of it
DONE_ATTRIBUTE = "complete"


@dataclass
class ExtractionReport:
    """What became of each track id: written now, there already, or failed with a sentence."""

    written: list[str] = field(default_factory=list)
    already_there: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def find_tracks(folder: Path) -> dict[str, Path]:
    """Return {track id: path} of the audio files under ``folder``, sorted by id.

    A track's id is its file name without the suffix; of a name that is not UTF-8, the bytes that
    are not are written out ("caf\\udce9"), as HDF5 takes no others.

    Raises:
        ValueError: it is no folder, holds no audio, or two files have the same id.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the folder that holds the audio files.")
    tracks: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        track_id = path.stem.encode("utf-8", "backslashreplace").decode("utf-8")
        if (other := tracks.get(track_id)) is not None:
            raise ValueError(f"{other} and {path} have the same track id: rename one of them.")
        tracks[track_id] = path
    if not tracks:
        raise ValueError(f"{folder} holds no audio files.")
    return tracks


def extract_features(
    tracks: dict[str, Path],
    out: Path,
    embedding: AudioEmbedding,
    *,
    duration: float | None = None,
    show_progress: bool = True,
) -> ExtractionReport:
    """Embed every track that ``out`` does not hold yet.

    Interrupting loses only the track in work: run it again to go on.

    Args:
        tracks: {track id: path}.
        out: HDF5 file, made or continued.
        duration: seconds from the start of each track; None embeds all of it.

    Raises:
        ValueError: ``out`` holds features of another embedding or duration, or is not an HDF5 file.
    """
    report = ExtractionReport()
    out.parent.mkdir(parents=True, exist_ok=True)
    with _opened(out) as file:
        _check_embedding(file, out, embedding)
        _check_duration(file, out, math.inf if duration is None else duration)
        done = {track_id for track_id in tracks if _is_complete(file, track_id)}
    bar = tqdm(tracks.items(), desc=embedding.name, unit="track", disable=not show_progress)
    for track_id, path in bar:
        if track_id in done:
            report.already_there.append(track_id)
            continue
        try:
            heard = embed_file(path, embedding, duration=duration)
        except AudioError as error:
            logger.warning("%s is skipped: %s", track_id, error)
            report.failed[track_id] = str(error)
            continue
        with _opened(out) as file:  # open only to write: HDF5 does not survive a kill while open
            if track_id in file:  # left unfinished by an interruption
                del file[track_id]
            dataset = file.create_dataset(track_id, data=heard.rows)
            dataset.attrs["seconds"] = float(heard.times[-1, 1])
            dataset.attrs[DONE_ATTRIBUTE] = True
        report.written.append(track_id)
    return report


def read_features(path: Path, track_ids: Iterable[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (track id, rows float32 ``(S, width)``) of an extracted file.

    Raises:
        ValueError: a track is not in the file.
    """
    with h5py.File(path, "r") as file:
        for track_id in track_ids:
            if not _is_complete(file, track_id):
                raise ValueError(f"{path} has no features of track {track_id}: extract it first.")
            yield track_id, np.asarray(file[track_id], dtype=np.float32)


def _opened(out: Path) -> h5py.File:
    try:
        return h5py.File(out, "a")
    except OSError as error:
        raise ValueError(f"{out} cannot be written as HDF5: {error}.") from error


def _is_complete(file: h5py.File, track_id: str) -> bool:
    return track_id in file and bool(file[track_id].attrs.get(DONE_ATTRIBUTE, False))


def _check_embedding(file: h5py.File, out: Path, embedding: AudioEmbedding) -> None:
    name = file.attrs.get(NAME_ATTRIBUTE)
    if name is None and len(file):
        raise ValueError(f"{out} holds features of an unknown embedding: choose another file.")
    if name is not None and name != embedding.name:
        raise ValueError(f"{out} holds {name} features, not {embedding.name}: choose another file.")
    file.attrs[NAME_ATTRIBUTE] = embedding.name


def _check_duration(file: h5py.File, out: Path, duration: float) -> None:
    if not len(file):
        file.attrs[DURATION_ATTRIBUTE] = duration
        return
    known = file.attrs.get(DURATION_ATTRIBUTE, duration)  # older files do not say
    if known != duration:
        raise ValueError(
            f"{out} holds features of {_extent(known)}, not of {_extent(duration)}: choose another "
            "file."
        )


def _extent(duration: float) -> str:
    return "whole tracks" if math.isinf(duration) else f"the first {duration:g} s of tracks"
