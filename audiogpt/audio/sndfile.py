"""Decode through libsndfile, to the end also where a file does not rightly say where that is.

Three kinds of file do not: a FLAC that was written to a pipe has no length, an MP3 has one only
where its encoder wrote it into a first frame, and then it is that of the first of several files
joined end to end, and so it is in a chained Ogg.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

import numpy as np
import soundfile

from audiogpt.audio import ogg
from audiogpt.audio.errors import AudioError

logger = logging.getLogger(__name__)

BLOCK_SECONDS = 10.0
PIECE_SECONDS = 0.25  # where a file is damaged, up to so much of what could be decoded is lost
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

    ``frames`` of joined files are those of the first.

    Raises:
        AudioError: too many channels; while reading, nothing can be decoded.
        RuntimeError, TypeError: libsndfile cannot read this kind of file.
    """
    sound = stack.enter_context(_Sound(handle))
    if sound.format == "MP3":
        handle.seek(0)
        sound = stack.enter_context(_Sound(_Mp3(handle)))
        following: Iterator[_Mp3 | ogg.Link] = _following_mp3s(handle)
    else:
        parts = ogg.links(handle) if sound.format == "OGG" else []
        if len(parts) > 1:
            sound = stack.enter_context(_Sound(ogg.Link(handle, *parts[0])))
        following = (ogg.Link(handle, *part) for part in parts[1:])
    if sound.channels > MAX_CHANNELS:
        raise AudioError(f"{name} has {sound.channels} channels; at most {MAX_CHANNELS} are read.")
    rate = int(sound.samplerate)
    first = round(start * rate)
    wanted = None if duration is None else max(1, round(duration * rate))
    frames = None
    if sound.frames < UNKNOWN_FRAMES:
        frames = max(0, int(sound.frames) - first)
        frames = frames if wanted is None else min(wanted, frames)
    return rate, frames, _read(_parts(sound, following, name), name, first, wanted)


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


def _following_mp3s(handle: BinaryIO) -> Iterator[_Mp3]:
    """Give what may be a further MP3, once the one before has been read."""
    at = 0
    while handle.tell() > at:
        at = handle.tell()
        if handle.read(3) == b"TAG":
            at += ID3V1_BYTES
        handle.seek(at)
        yield _Mp3(handle)


def _parts(sound: _Sound, following: Iterator[_Mp3 | ogg.Link], name: str) -> Iterator[_Sound]:
    """Give the sound and, once it has been read, each that follows the one before."""
    yield sound
    for file in following:
        try:
            part = _Sound(file)
        except RuntimeError as error:  # after an MP3 this is the end, or tags of another kind
            if sound.format != "MP3":
                logger.warning("%s is damaged; what came before is used: %s", name, error)
            return
        with part:
            if sound.format == "MP3" and part.frames <= MP3_PADDING:
                return
            if (part.samplerate, part.channels) != (sound.samplerate, sound.channels):
                raise _mixed(name, sound)
            yield part


def _mixed(name: str, sound: _Sound) -> AudioError:
    kind = "MP3" if sound.format == "MP3" else "Ogg"
    return AudioError(
        f"{name} is joined from {kind} files of different sample rates or channels: convert it to "
        "WAV or FLAC."
    )


def _read(
    parts: Iterator[_Sound], name: str, skip: int, wanted: int | None
) -> Iterator[np.ndarray]:
    """Give ``wanted`` frames (None: all) after the first ``skip``; a block may be empty."""
    got_any = False
    try:
        for part in parts:
            sound, at = _sought(part, skip)
            skip -= at
            got_any = got_any or at > 0
            size = max(1, round(BLOCK_SECONDS * sound.samplerate / max(1, sound.channels)))
            while wanted is None or wanted > 0:
                ask = size if wanted is None else min(size, skip + wanted)
                # Beyond a FLAC's last frame there may be tags, which its decoder takes for damage.
                # After an MP3's the decoder has to come to the file that is joined to it.
                if sound.format != "MP3" and sound.frames < UNKNOWN_FRAMES:
                    ask = min(ask, max(0, int(sound.frames) - at))
                block, error = _block(sound, ask)  # (n, channels)
                if len(block):
                    got_any = True
                    at += len(block)
                    skipped = min(skip, len(block))
                    skip -= skipped
                    if wanted is not None:
                        wanted -= len(block) - skipped
                    yield block[skipped:]
                if error is not None:
                    raise error
                if len(block) == 0:
                    break
            if wanted == 0:
                return
    except soundfile.LibsndfileError as error:
        if sound.format == "MP3" and error.code == CHANGED_FORMAT:
            raise _mixed(name, sound) from error
        if not got_any:
            raise AudioError(f"{name} is damaged and nothing in it could be decoded.") from error
        # A file cut short in a download: what was decoded until here is good.
        logger.warning("%s is damaged; the part before the damage is used: %s", name, error)


def _sought(sound: _Sound, skip: int) -> tuple[_Sound, int]:
    """Return the sound at or before the frame ``skip``, and the frame that it is at."""
    if sound.frames >= UNKNOWN_FRAMES:
        return sound, 0
    # A second early: an MP3's frames lean on those before them, and after the last is read the
    # handle is where a joined MP3 begins.
    early = min(skip, int(sound.frames)) - int(sound.samplerate)
    if early <= 0:
        return sound, 0
    try:
        return sound, sound.seek(early)
    except soundfile.LibsndfileError:
        if sound.format == "MP3":
            raise
        # Some codecs cannot seek (GSM 6.10, G.721, DWVW), and a damaged FLAC's decoder is then
        # anywhere, so all is read from the beginning.
        sound.name.seek(0)
        return _Sound(sound.name), 0


def _block(sound: _Sound, ask: int) -> tuple[np.ndarray, soundfile.LibsndfileError | None]:
    """Return the next ``ask`` frames, fewer before the end or damage, and what the damage is."""
    block = np.empty((ask, sound.channels), np.float32)
    piece = max(1, round(PIECE_SECONDS * sound.samplerate))
    filled = 0
    try:
        while filled < ask:
            part = block[filled : filled + piece]
            got = len(sound.read(out=part))
            filled += got
            if got < len(part):
                break
    except soundfile.LibsndfileError as error:  # soundfile drops what came before it in a piece
        return block[:filled], error
    return block[:filled], None
