"""Find the links of a chained Ogg file: whole files end to end, as a radio recording's songs are.

libsndfile reads the first of them only, and gives that one's length as the file's.
"""

from __future__ import annotations

import os
from typing import BinaryIO

PAGE_MARK = b"OggS"
PAGE_HEAD = 27  # bytes; the last one counts the segments, whose lengths follow, a byte each
BEGINNING_OF_STREAM = 0x02  # in the page's flags, its sixth byte


class Link:
    """The bytes from ``first`` to ``last`` of a handle, as a file of its own."""

    def __init__(self, handle: BinaryIO, first: int, last: int) -> None:
        self._handle, self._first, self._last = handle, first, last
        handle.seek(first)

    def read(self, count: int) -> bytes:
        return self._handle.read(max(0, min(count, self._last - self._handle.tell())))

    def tell(self) -> int:
        return self._handle.tell() - self._first

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: self._first, os.SEEK_CUR: self._handle.tell()}.get(whence, self._last)
        self._handle.seek(max(self._first, start + offset))
        return self.tell()


def links(handle: BinaryIO) -> list[tuple[int, int]]:
    """Return (first byte, byte after the last) of each link; the handle stays where it is.

    Pages are followed by their lengths, so what comes after a damaged one is not looked at: it is
    left to the last link.
    """
    starts: list[int] = []
    stood = handle.tell()
    at, begins = 0, False
    while True:
        handle.seek(at)
        head = handle.read(PAGE_HEAD)
        if len(head) < PAGE_HEAD or not head.startswith(PAGE_MARK):
            break
        # The streams of one link, as those of a video, all begin before any of them goes on.
        before, begins = begins, bool(head[5] & BEGINNING_OF_STREAM)
        if begins and not before:
            starts.append(at)
        at += PAGE_HEAD + head[-1] + sum(handle.read(head[-1]))
    end = handle.seek(0, os.SEEK_END)
    handle.seek(stood)
    return list(zip(starts, [*starts[1:], end], strict=False))
