"""Decode through libsndfile, to the end also where a file does not rightly say where that is.

Two kinds of file do not: a FLAC that was written to a pipe has no length, and an MP3 has one only
where its encoder wrote it into a first frame, and then it is that of the first of several files
joined end to end.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

import numpy as np
import soundfile

from audiogpt.audio.errors import AudioError

logger = logging.getLogger(__name__)

BLOCK_SECONDS = 10.0
MAX_CHANNELS = 32
UNKNOWN_FRAMES = 2**62  # libsndfile gives 2**63 - 1 where it does not know
MP3_PADDING = 2 * 1152  # frames: of an encoder's filling at the end, the decoder may leave so much
ID3V1_BYTES = 128
CHANGED_FORMAT = 3  # libsndfile's "malformed": in an MP3, another rate or number of channels

Opened = tuple[int, int | None, Iterator[np.ndarray]]


def open_stream(
    stack: ExitStack, handle: BinaryIO, *, name: str, start: float, duration: float | None
) -> Opened:
    """Return (sample rate, frames or None, blocks float32 ``(n, channels)``) of the wanted part.

    ``frames`` of joined MP3 files are those of the first.

    Raises:
        AudioError: too many channels; while reading, nothing can be decoded.
        RuntimeError, TypeError: libsndfile cannot read this kind of file.
    """
    sound = stack.enter_context(_Sound(handle))
    if sound.format == "MP3":
        handle.seek(0)
        sound = stack.enter_context(_Sound(_Mp3(handle)))
    if sound.channels > MAX_CHANNELS:
        raise AudioError(f"{name} has {sound.channels} channels; at most {MAX_CHANNELS} are read.")
    rate = int(sound.samplerate)
    first = round(start * rate)
    wanted = None if duration is None else max(1, round(duration * rate))
    frames = None
    if sound.frames < UNKNOWN_FRAMES:
        frames = max(0, int(sound.frames) - first)
        frames = frames if wanted is None else min(wanted, frames)
    return rate, frames, _read(_parts(sound, handle, name), name, first, wanted)


class _Sound(soundfile.SoundFile):
    """A file that soundfile does not seek in by itself.

    It would after each read, to where it is. An MP3's decoder then starts anew, which is heard, and
    in a FLAC without a length it fails at the end, which loses the last block.
    """

    def seekable(self) -> bool:
        return False


class _Mp3:
    """What an MP3 holds from the handle's position on, as a file whose size is not told.

    libsndfile asks for the size before it reads, and needs it. After that only its MP3 decoder
    asks, to guess the length from the first frame's bit rate; told 0, it counts the frames.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self._handle, self._first = handle, handle.tell()
        self._begun = False

    def read(self, count: int) -> bytes:
        self._begun = True
        return self._handle.read(count)

    def tell(self) -> int:
        return self._handle.tell() - self._first

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END and self._begun:
            offset, whence = 0, os.SEEK_SET
        self._handle.seek(offset + (self._first if whence == os.SEEK_SET else 0), whence)
        return self.tell()


def _parts(sound: _Sound, handle: BinaryIO, name: str) -> Iterator[_Sound]:
    """Give the sound and, once it has been read, each MP3 that follows the one before."""
    yield sound
    at = 0
    while sound.format == "MP3" and handle.tell() > at:
        at = handle.tell()
        if handle.read(3) == b"TAG":
            at += ID3V1_BYTES
        handle.seek(at)
        try:
            part = _Sound(_Mp3(handle))
        except RuntimeError:  # the end, or tags of another kind
            return
        with part:
            if part.frames <= MP3_PADDING:
                return
            if (part.samplerate, part.channels) != (sound.samplerate, sound.channels):
                raise _mixed(name)
            yield part


def _mixed(name: str) -> AudioError:
    return AudioError(
        f"{name} is joined from MP3 files of different sample rates or channels: convert it to "
        "WAV, FLAC or Ogg."
    )


def _read(
    parts: Iterator[_Sound], name: str, skip: int, wanted: int | None
) -> Iterator[np.ndarray]:
    """Give ``wanted`` frames (None: all) after the first ``skip``; a block may be empty."""
    got_any = False
    try:
        for sound in parts:
            size = max(1, round(BLOCK_SECONDS * sound.samplerate / max(1, sound.channels)))
            if sound.frames < UNKNOWN_FRAMES:
                # A second early: an MP3's frames lean on those before them, and after the last is
                # read the handle is where a joined MP3 begins.
                early = min(skip, sound.frames) - int(sound.samplerate)
                skip -= sound.seek(early) if early > 0 else 0
            while wanted is None or wanted > 0:
                ask = size if wanted is None else min(size, skip + wanted)
                block = sound.read(ask, dtype="float32", always_2d=True)  # (n, channels)
                if len(block) == 0:
                    break
                got_any = True
                skipped = min(skip, len(block))
                skip -= skipped
                if wanted is not None:
                    wanted -= len(block) - skipped
                yield block[skipped:]
            if wanted == 0:
                return
    except soundfile.LibsndfileError as error:
        if sound.format == "MP3" and error.code == CHANGED_FORMAT:
            raise _mixed(name) from error
        if not got_any:
            raise AudioError(f"{name} is damaged and nothing in it could be decoded.") from error
        # A file cut short in a download: what was decoded until here is good.
        logger.warning("%s is damaged; the part before the damage is used: %s", name, error)
