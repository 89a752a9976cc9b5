"""How many parts a request is cut into, and how many are too many for one run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from audiogpt.audio import sndfile
from audiogpt.audio.errors import AudioError
from audiogpt.pipeline import MIN_SEGMENT
from audiogpt.request import Track

# Half an hour by parts of 6 s: a run holds one of the few places where the model works, for minutes
# at that size, and others wait for it.
MAX_PARTS = 300
TOO_MANY = (
    f"That would be more than {MAX_PARTS} parts, the most that are captioned at a time: "
    "choose longer parts or fewer tracks."
)


def check_parts(lengths: Iterable[float], seconds: float) -> None:
    """Raises ValueError if sounds of these lengths (s) have too many parts of `seconds`."""
    if sum(count_parts(length, seconds) for length in lengths) > MAX_PARTS:
        raise ValueError(TOO_MANY)


def count_parts(length: float, seconds: float) -> int:
    """Into how many parts `Captioner.segments` cuts: what is left over joins the last one."""
    return max(1, math.ceil((length - MIN_SEGMENT + 1e-3) / seconds))


def length_told(track: Track) -> float:
    """The length (s) of a track's passage as its file tells it, without decoding it.

    0 where it tells none, which is found out when it is heard; of files joined end to end, the
    length of the first.
    """
    if track.path is None:
        return 0.0
    duration = None if track.end is None else track.end - track.start
    try:
        with ExitStack() as stack:
            file = stack.enter_context(Path(track.path).open("rb"))
            rate, frames, _ = sndfile.open_stream(
                stack, file, name=track.name, start=track.start, duration=duration
            )
    except (OSError, AudioError, RuntimeError, TypeError):  # for ffmpeg, or for nobody
        return 0.0
    return (frames or 0) / rate
