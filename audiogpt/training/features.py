"""Features of items from an HDF5 file: detections of images, or a playlist's tracks and tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

SUFFIXES = {"image": ("features",), "audio": ("audio", "features"), "tags": ("tags",)}
"""The dataset of an item is `<key>_<suffix>`; the first that the file has."""


class FeatureFile:
    """`<key>_<suffix>` arrays (R, width), or (width,) for a single row, of an HDF5 file."""

    def __init__(self, path: Path, branches: Iterable[str]) -> None:
        """Raises ValueError if the file cannot be read."""
        try:
            self.file = h5py.File(path, "r")
        except OSError as error:
            raise ValueError(f"{path} cannot be read as HDF5: {error}.") from error
        self.path, self.branches = path, tuple(branches)

    def __enter__(self) -> FeatureFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()

    def rows(self, key: str) -> dict[str, np.ndarray]:
        """float32 (R, width) by branch; a branch that the file lacks for this item is left out."""
        found = {}
        for branch in self.branches:
            for suffix in SUFFIXES[branch]:
                if (name := f"{key}_{suffix}") in self.file:
                    array = np.asarray(self.file[name], np.float32)
                    found[branch] = array[None] if array.ndim == 1 else array
                    break
        return found

    def widths(self, keys: Iterable[str]) -> Mapping[str, int]:
        """Width of each branch, from the first item that has it; ValueError if none has."""
        widths: dict[str, int] = {}
        for key in keys:
            widths |= {b: rows.shape[1] for b, rows in self.rows(key).items() if b not in widths}
            if len(widths) == len(self.branches):
                break
        if missing := [b for b in self.branches if b not in widths]:
            names = ", ".join(f"<id>_{SUFFIXES[b][0]}" for b in missing)
            raise ValueError(f"{self.path} has no {names} for any annotated item.")
        return widths
