"""Tags: how they are cleaned, and the table of tag vectors of models converted from PlayNTell.

Our own models read any text, token by token (`audiogpt.rows.tag_token_ids`). The released model
knows single words of the Discogs taxonomy by a vector of 300 numbers each, kept here as
`tags.safetensors` (vectors (N, 300) float32) and `tags.txt` (one word a line, in the same order).
A table of one's own may have vectors of another width, and entries of several words.
"""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from audiogpt.pickled_arrays import STAND_INS, PickledArray

logger = logging.getLogger(__name__)

VECTORS_FILE = "tags.safetensors"
WORDS_FILE = "tags.txt"
VECTORS_KEY = "vectors"
SEPARATORS = str.maketrans(dict.fromkeys("/-,)(&'.", " "))


def tag_words(tag: str) -> list[str]:
    """The words of a tag as the published code makes them: "Folk, World, & Country" has three.

    Lower-case; "r&b" alone becomes "rnb"; `/ - , ) ( & ' .` part words; words of one letter go.
    """
    tag = tag.lower()
    tag = "rnb" if tag == "r&b" else tag
    return [word for word in tag.translate(SEPARATORS).split() if len(word) > 1]


def published_tags(tags: Iterable[str]) -> list[str]:
    """The set of words of several tags, in order of first appearance.

    The published code has the order of a Python set; to a set of rows order makes no difference.
    """
    return list(dict.fromkeys(word for tag in tags for word in tag_words(tag)))


@dataclass(frozen=True)
class TagRows:
    """Rows of the tags branch: vectors (R, width) float32, weights (R,) float32, entry per row.

    `unknown` are the tags as given that have no vector at all, `unknown_words` the words dropped
    from tags that have some.
    """

    vectors: np.ndarray
    weights: np.ndarray
    words: tuple[str, ...]
    unknown: tuple[str, ...]
    unknown_words: tuple[str, ...]


class TagTable:
    """Tag vectors by word; `vectors` (N, width) float32 in the order of `words`."""

    def __init__(self, words: Iterable[str], vectors: np.ndarray) -> None:
        self.words = tuple(words)
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        if self.vectors.ndim != 2 or len(self.words) != len(self.vectors):
            raise ValueError(
                f"A tag table needs one vector a word, but has {len(self.words)} words and "
                f"vectors of shape {self.vectors.shape}."
            )
        if len(set(self.words)) != len(self.words):
            raise ValueError("A tag table must not have the same word twice.")
        if not np.isfinite(self.vectors).all():
            raise ValueError("A tag table must not hold endless or undefined numbers.")

    @property
    def width(self) -> int:
        return self.vectors.shape[1]

    @cached_property
    def index(self) -> dict[str, int]:
        return {word: position for position, word in enumerate(self.words)}

    def lookup(self, tags: Mapping[str, float] | Iterable[tuple[str, float]]) -> TagRows:
        """Rows for (tag, weight in [0, 1]) pairs; each entry once, with its largest weight.

        A tag that the table has as a whole, as it is written or else in lower case, is one row.
        Any other gives each of its words its weight, as several rows. Words without a vector are
        dropped, as the published code does, but reported.
        """
        pairs = tags.items() if isinstance(tags, Mapping) else tags
        weight_of: dict[str, float] = {}
        unknown, unknown_words = [], []
        for tag, weight in pairs:
            whole = next((text for text in (tag, tag.lower()) if text in self.index), None)
            words = tag_words(tag) if whole is None else [whole]
            known = [word for word in words if word in self.index]
            for word in known:
                weight_of[word] = max(weight, weight_of.get(word, 0.0))
            if not known:
                unknown.append(tag)
            else:
                unknown_words += [word for word in words if word not in self.index]
        if unknown or unknown_words:
            logger.info("No tag vector for %s.", ", ".join([*unknown, *unknown_words]))
        rows = [self.index[word] for word in weight_of]
        return TagRows(
            self.vectors[rows],
            np.array(list(weight_of.values()), dtype=np.float32),
            tuple(weight_of),
            tuple(dict.fromkeys(unknown)),
            tuple(dict.fromkeys(unknown_words)),
        )

    def save(self, folder: str | Path) -> None:
        """Write `tags.safetensors` and `tags.txt` into an existing folder."""
        folder = Path(folder)
        if broken := [word for word in self.words if word.splitlines() != [word]]:
            raise ValueError(f"The tag {broken[0]!r} cannot stand on a line of its own.")
        save_file({VECTORS_KEY: self.vectors}, folder / VECTORS_FILE)
        (folder / WORDS_FILE).write_text("".join(f"{w}\n" for w in self.words), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> TagTable:
        """Read a table that `save` wrote; raises ValueError if files are missing or disagree."""
        folder = Path(folder)
        try:
            tensors = load_file(folder / VECTORS_FILE)
            words = (folder / WORDS_FILE).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError as error:
            raise ValueError(f"{folder} has no tag table: {error.filename} is missing.") from None
        except (SafetensorError, UnicodeDecodeError) as error:
            raise ValueError(f"The tag table in {folder} is not readable: {error}.") from error
        if set(tensors) != {VECTORS_KEY}:
            raise ValueError(f"{folder / VECTORS_FILE} must hold the tensor {VECTORS_KEY!r} only.")
        return cls(words, tensors[VECTORS_KEY])

    @classmethod
    def find(cls, folder: Path) -> TagTable | None:
        """The folder's table, None where it has none; ValueError where it is not readable."""
        return cls.load(folder) if (folder / VECTORS_FILE).is_file() else None

    @classmethod
    def from_published(cls, path: str | Path) -> TagTable:
        """Read `discogs_tags_embeddings.npy`, a pickled dict word -> (300,) float32.

        Nothing in the pickle is executed: it may only describe arrays, dicts and strings. Raises
        ValueError for anything else.
        """
        path = Path(path)
        data = path.read_bytes()
        try:
            table = _read_pickled_array(data)
            if not isinstance(table, dict) or not table:
                raise ValueError("it holds no dict of tags.")
            if not all(isinstance(part, PickledArray) for part in table.values()):
                raise ValueError("it must map words to vectors.")
            vectors = [part.floats() for part in table.values()]
        except Exception as error:  # a damaged pickle may fail in any way
            raise ValueError(f"{path} is not the published tag table: {error}") from error
        words = all(isinstance(word, str) for word in table)
        if not words or {vector.shape for vector in vectors} != {(vectors[0].size,)}:
            raise ValueError(f"{path} must map words to vectors of one length.")
        return cls(table, np.stack(vectors))


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows numpy arrays, by their stand-ins, and no other object of any kind."""

    def find_class(self, module: str, name: str) -> Any:
        known = STAND_INS.get(f"{module}.{name}")
        if known is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed.")
        return known


def _read_pickled_array(data: bytes) -> Any:
    """The single object of a .npy file with dtype object and shape ()."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"its format version is {version}, not (1, 0).")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype(object) or shape != ():
        raise ValueError(f"it holds an array of {dtype} and shape {shape}, not one pickled dict.")
    array = _ArraysOnly(stream).load()
    return array.single() if isinstance(array, PickledArray) else array
