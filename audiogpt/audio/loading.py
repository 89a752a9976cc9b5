"""Decode audio files to float32 samples, whole or in blocks, and bring them to mono at one rate.

libsndfile reads WAV, FLAC, Ogg Vorbis, Opus, MP3, AIFF and more (see ``sndfile.py``); what it
cannot read goes to ffmpeg where that program is installed (see ``ffmpeg.py``). Every failure is an
``AudioError`` whose text is one sentence for the person who chose the file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from audiogpt.audio import ffmpeg, sndfile
from audiogpt.audio.errors import AudioError

logger = logging.getLogger(__name__)

MIN_SAMPLE_RATE = 1_000  # Hz; a header outside these bounds is damage, not music
MAX_SAMPLE_RATE = 768_000  # Hz
MAX_PASSAGE = 1e9  # s; for start and duration: longer than any file, and its samples can be counted
MAX_LEVEL = 1e6  # full scale is 1; float files may exceed it, but not by this much
RESAMPLE_QUALITY = "HQ"  # the quality with which the embedding networks were fed

Source = str | Path | BinaryIO
Progress = Callable[[float], None]  # called with the share done, in [0, 1]

__all__ = [
    "AudioError",
    "Progress",
    "Source",
    "Waveform",
    "is_folder",
    "iter_mono",
    "load_audio",
    "resample_mono",
    "too_long",
    "too_short",
]


@dataclass(frozen=True)
class Waveform:
    """Sound in memory. ``samples`` is float32 ``(channels, n)``, full scale 1; rate in Hz."""

    samples: np.ndarray
    sample_rate: int

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.sample_rate


@dataclass(frozen=True)
class BlockStream:
    """An open source: blocks are float32 ``(n, channels)``.

    ``frames`` is how many the file promises, and None where it does not say; joined files hold
    more.
    """

    blocks: Iterator[np.ndarray]
    sample_rate: int
    frames: int | None


def load_audio(
    source: Source,
    *,
    start: float = 0.0,
    duration: float | None = None,
    max_seconds: float | None = None,
) -> Waveform:
    """Decode a file, or a part of it, keeping its channels and sample rate.

    Args:
        source: a path, or a binary file-like object that can seek.
        start: seconds to skip.
        duration: seconds to keep; None keeps all. Less is returned where the file ends before.
        max_seconds: refuse with a sentence anything longer than this after ``start`` and
            ``duration``, instead of filling the memory.

    Returns:
        Waveform with samples float32 ``(channels, n)``, n > 0.

    Raises:
        AudioError: the file is missing, empty, not audio, damaged, or too long.
    """
    with ExitStack() as stack:
        stream = _open(stack, source, start, duration, max_seconds)
        samples = np.concatenate(list(stream.blocks)).T  # (channels, n)
    return Waveform(np.ascontiguousarray(samples), stream.sample_rate)


def resample_mono(waveform: np.ndarray | Waveform, sample_rate: int) -> np.ndarray:
    """Return the mean of the channels at ``sample_rate``, float32 ``(n,)``.

    Resampling is linear, so averaging first equals resampling each channel and averaging then (to
    rounding) at a fraction of the cost.
    """
    if not isinstance(waveform, Waveform):
        raise ValueError("resample_mono needs a Waveform: wrap samples as Waveform(samples, rate).")
    mono = waveform.samples.mean(axis=0, dtype=np.float32)  # (n,)
    if waveform.sample_rate == sample_rate:
        return mono
    out = soxr.resample(mono, waveform.sample_rate, sample_rate, quality=RESAMPLE_QUALITY)
    return out.astype(np.float32, copy=False)


def iter_mono(
    source: Source,
    sample_rate: int,
    *,
    start: float = 0.0,
    duration: float | None = None,
    max_seconds: float | None = None,
    progress: Progress | None = None,
) -> Iterator[np.ndarray]:
    """Yield a file as mono float32 blocks ``(n,)`` at ``sample_rate``, in bounded memory.

    The blocks joined equal ``resample_mono(load_audio(source), sample_rate)`` to rounding.
    ``progress`` is called with the share read so far where the file says how long it is;
    ``max_seconds`` as for ``load_audio``.

    Raises:
        AudioError: as ``load_audio``, and where there is too little sound for a single sample at
            ``sample_rate``.
    """
    with ExitStack() as stack:
        stream = _open(stack, source, start, duration, max_seconds)
        resampler = None
        if stream.sample_rate != sample_rate:
            resampler = soxr.ResampleStream(
                stream.sample_rate, sample_rate, 1, dtype="float32", quality=RESAMPLE_QUALITY
            )
        seen, given = 0, False
        for block in stream.blocks:
            seen += len(block)
            mono = block.mean(axis=1, dtype=np.float32)  # (n,)
            if resampler is not None:
                mono = resampler.resample_chunk(mono)
            if len(mono):  # a resampler keeps the first few samples for the next call
                given = True
                yield mono
            if progress is not None:  # a share of 0 where the length is not known
                progress(min(1.0, seen / stream.frames) if stream.frames else 0.0)
        if resampler is not None:
            rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            if len(rest):
                given = True
                yield rest
        if not given:
            raise AudioError(too_short(_name(source)))
        if progress is not None:
            progress(1.0)


def _open(
    stack: ExitStack,
    source: Source,
    start: float,
    duration: float | None,
    max_seconds: float | None,
) -> BlockStream:
    """Open a source with libsndfile or else ffmpeg; blocks are checked and never all empty."""
    if not 0 <= start <= MAX_PASSAGE or (duration is not None and not 0 < duration <= MAX_PASSAGE):
        raise AudioError(
            "The start must be 0 s or later, the duration longer than 0 s, and both at most "
            f"{MAX_PASSAGE:,.0f} s."
        )
    name = _name(source)
    _check_not_empty(source, name)
    try:
        # An open handle, not a path: soundfile would guess a format from the file's extension.
        handle = _opened(stack, source, name) if isinstance(source, str | Path) else source
        opened = sndfile.open_stream(stack, handle, name=name, start=start, duration=duration)
    except (TypeError, RuntimeError) as error:
        logger.debug("libsndfile cannot read %s: %s", name, error)
        opened = ffmpeg.open_stream(stack, source, name=name, start=start, duration=duration)
    rate, frames, blocks = opened
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(f"{name} claims a sample rate of {rate} Hz, so it is probably damaged.")
    checked = _checked(blocks, name, start)
    if max_seconds is not None:
        checked = _limited(checked, frames, name, max_seconds, rate)
    return BlockStream(checked, rate, frames)


def _opened(stack: ExitStack, path: str | Path, name: str) -> BinaryIO:
    try:
        return stack.enter_context(Path(path).open("rb"))
    except OSError as error:
        raise AudioError(
            f"{name} cannot be opened: check that you are allowed to read it."
        ) from error


def _checked(blocks: Iterator[np.ndarray], name: str, start: float) -> Iterator[np.ndarray]:
    """Pass blocks on; raise on values that are no sound, and where nothing came at all."""
    empty = True
    for block in blocks:
        if len(block) == 0:
            continue
        # One pass over the data: NaN and infinities make the sum of magnitudes fail the test.
        if not np.abs(block).max() <= MAX_LEVEL:
            raise AudioError(f"{name} holds values that are not sound (NaN or far too large).")
        empty = False
        yield block
    if empty:
        reason = f"ends before {start:g} s" if start else "holds no sound: its length is zero"
        raise AudioError(f"{name} {reason}.")


def is_folder(name: str) -> str:
    """What to say of a folder that was given as a file."""
    return f"{name} is a folder: choose an audio file in it."


def too_long(name: str, max_seconds: float) -> str:
    """What to say of a sound over the limit."""
    limit = f"{max_seconds / 60:g} minutes" if max_seconds >= 120 else f"{max_seconds:g} seconds"
    return f"{name} is longer than {limit}, the most that is taken here: choose a shorter passage."


def too_short(name: str) -> str:
    """What to say of a sound that is over before the first sample at the wanted rate."""
    return f"{name} is too short to hear anything in it: choose a longer passage."


def _limited(
    blocks: Iterator[np.ndarray], frames: int | None, name: str, max_seconds: float, rate: int
) -> Iterator[np.ndarray]:
    """Pass blocks on; refuse more than ``max_seconds``, at once where the header tells."""
    limit = max_seconds * rate + 0.5  # frames, to rounding; not a whole number, as it may be inf
    refused = AudioError(too_long(name, max_seconds))
    if frames is not None and frames > limit:
        raise refused
    total = 0
    for block in blocks:
        total += len(block)
        if total > limit:
            raise refused
        yield block


def _check_not_empty(source: Source, name: str) -> None:
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            raise AudioError(is_folder(name))
        try:
            size = path.stat().st_size
        except (OSError, ValueError) as error:
            raise AudioError(f"{name} cannot be opened: check that the file exists.") from error
    else:
        try:
            source.seek(0, 2)
            size = source.tell()
            source.seek(0)
        except (OSError, ValueError, AttributeError) as error:
            raise AudioError(f"{name} cannot be read from its start.") from error
    if size == 0:
        raise AudioError(f"{name} is empty (0 bytes).")


def _name(source: Source) -> str:
    """A short name for messages that any output can take: never a folder of the server's."""
    if isinstance(source, str | Path):
        return Path(source).name.encode("utf-8", "replace").decode("utf-8") or "The file"
    return "The recording"
