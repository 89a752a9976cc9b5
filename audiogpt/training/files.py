"""Files that are whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; its file takes that place when the block ends without an
    error."""
    part = path.with_name(path.name + ".part")
    yield part
    part.replace(path)
