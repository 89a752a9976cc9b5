"""Captions as one plain text: what images and playlists are scored by."""

from __future__ import annotations

from audiogpt.captions import DELIMITER
from audiogpt.tokenizer import DESCRIPTION, TITLE


def spoken(text: str) -> str:
    """The text without the markers of title and description."""
    for marker in (TITLE, DESCRIPTION, DELIMITER):
        text = text.replace(marker, " ")
    return " ".join(text.split())
