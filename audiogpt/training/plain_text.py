"""Captions as one plain text: what images and playlists are scored by."""

from __future__ import annotations

import re

from audiogpt.artists import NEUTRAL_NAME
from audiogpt.captions import DELIMITER
from audiogpt.tokenizer import DESCRIPTION, TITLE

NAMES = tuple(f"{NEUTRAL_NAME} {rank}" for rank in range(10))
"""What artists are called in captions and in their references where both are only compared."""

_ARTIST = re.compile(r"\bartist(\d)\b")


def spoken(text: str) -> str:
    """The text without the markers of title and description, its artists by their `NAMES`."""
    for marker in (TITLE, DESCRIPTION, DELIMITER):
        text = text.replace(marker, " ")
    return " ".join(_ARTIST.sub(lambda match: NAMES[int(match[1])], text).split())
