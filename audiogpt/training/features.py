"""Features of items: detections of images, or the sound and the tags of playlists.

They come from an HDF5 file with `<key>_<suffix>` arrays per item. A playlist's sound may also come
from its tracks, one dataset per track id as `audiogpt.audio.features` writes them, and its tags
from a table of tag vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from audiogpt.audio.embedding import track_row
from audiogpt.audio.features import DONE_ATTRIBUTE, NAME_ATTRIBUTE
from audiogpt.tags import TagTable
from audiogpt.training.annotations import Item

SUFFIXES = {"image": ("features",), "audio": ("audio", "features"), "tags": ("tags",)}
"""The dataset of an item is `<key>_<suffix>`; the first that the file has."""


class FeatureFile:
    """`<key>_<suffix>` arrays (R, width), or (width,) for a single row, of an HDF5 file; and
    (S, width) per track id, of which a playlist has one row each."""

    def __init__(
        self, path: Path, branches: Iterable[str], *, tag_table: TagTable | None = None
    ) -> None:
        """`tag_table` gives the vectors of tags where the file has none of an item.

        Raises ValueError if the file cannot be read.
        """
        try:
            self.file = h5py.File(path, "r")
        except OSError as error:
            raise ValueError(f"{path} cannot be read as HDF5: {error}.") from error
        self.path, self.branches, self.tag_table = path, tuple(branches), tag_table

    def __enter__(self) -> FeatureFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    @property
    def embedding(self) -> str | None:
        """The audio embedding that the file says it holds."""
        name = self.file.attrs.get(NAME_ATTRIBUTE)
        return None if name is None else str(name)

    def rows(self, item: Item) -> dict[str, np.ndarray]:
        """float32 (R, width) by branch; a branch of which nothing is known here is left out."""
        found = {}
        for branch in self.known(item):
            if (name := self._name(item, branch)) is not None:
                array = np.asarray(self.file[name], np.float32)
                found[branch] = array[None] if array.ndim == 1 else array
            elif branch == "audio":
                tracks = self._tracks(item)
                found[branch] = np.stack(
                    [track_row(np.asarray(self.file[track], np.float32)) for track in tracks]
                )
            else:
                assert self.tag_table is not None
                found[branch] = self.tag_table.lookup((tag, 1.0) for tag in item.tags).vectors
        return found

    def known(self, item: Item) -> list[str]:
        """The branches of which there is anything for an item; reads no rows."""
        return [
            branch
            for branch in self.branches
            if self._name(item, branch) is not None
            or (branch == "audio" and self._tracks(item))
            or (branch == "tags" and self._has_vectors(item))
        ]

    def absent_tracks(self, item: Item) -> list[str]:
        """The tracks of a playlist that the file does not hold, where it is made of tracks."""
        if "audio" not in self.branches or self._name(item, "audio") is not None:
            return []
        return [track for track in item.tracks if not self._whole(track)]

    def has(self, branch: str, items: Iterable[Item]) -> bool:
        """Whether the file holds anything of a branch for any of the items."""
        return any(self._name(item, branch) is not None for item in items)

    def widths(self, items: Iterable[Item]) -> Mapping[str, int]:
        """Width of each branch, from the first item that has it; ValueError if none has."""
        widths: dict[str, int] = {}
        for item in items:
            widths |= {b: rows.shape[1] for b, rows in self.rows(item).items() if b not in widths}
            if len(widths) == len(self.branches):
                break
        if missing := [b for b in self.branches if b not in widths]:
            names = ", ".join(f"<id>_{SUFFIXES[b][0]}" for b in missing)
            raise ValueError(
                f"{self.path} has no {names} for any annotated item, nor what may stand for it "
                "(its tracks, or tags in playlist2tags.json): add it, or leave that out of "
                "--playlist_feature."
            )
        return widths

    def _name(self, item: Item, branch: str) -> str | None:
        """The item's own dataset of a branch."""
        names = (f"{item.key}_{suffix}" for suffix in SUFFIXES[branch])
        return next((name for name in names if name in self.file), None)

    def _tracks(self, item: Item) -> list[str]:
        """The tracks that are here; an item without a list of tracks is a track itself."""
        return [track for track in item.tracks or (item.key,) if self._whole(track)]

    def _has_vectors(self, item: Item) -> bool:
        table = self.tag_table
        return table is not None and bool(table.lookup((tag, 1.0) for tag in item.tags).words)

    def _whole(self, track: str) -> bool:
        """Whether a track is there, and not left unfinished by an interruption."""
        found = self.file.get(track)
        return isinstance(found, h5py.Dataset) and bool(found.attrs.get(DONE_ATTRIBUTE, True))
