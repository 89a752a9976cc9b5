"""Decode through the ffmpeg program what libsndfile cannot read (AAC, M4A, WMA, video files).

The command line is fixed: no part of a request becomes an option. Only container formats named
below are opened and only the local file itself, so playlists and references to other files or to
the network are refused.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from audiogpt.audio.errors import AudioError

FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "ogg,rm,tta,w64,wav,webm,wv"
)
TIMEOUT_SECONDS = 60.0  # for one read; ffmpeg decodes some hundred times faster than sound plays
BLOCK_FRAMES = 1 << 19
COPY_BYTES = 1 << 20

Opened = tuple[int, int | None, Iterator[np.ndarray]]


def open_stream(
    stack: ExitStack,
    source: str | Path | BinaryIO,
    *,
    name: str,
    start: float,
    duration: float | None,
) -> Opened:
    """Return (sample rate, frames or None, blocks float32 ``(n, channels)``).

    The process and any temporary file end with ``stack``.

    Raises:
        AudioError: ffmpeg is not installed, or finds no sound in the file.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{name} is not a sound file that can be read here: try WAV, FLAC, MP3 or Ogg "
            "(or install ffmpeg for M4A, AAC and video files)."
        )
    path = _as_path(stack, source)
    command = [program, "-nostdin", "-hide_banner", "-v", "error"]
    command += ["-protocol_whitelist", "file", "-format_whitelist", FORMATS]
    if start:
        command += ["-ss", f"{start:.6f}"]
    command += ["-i", f"file:{path.absolute()}", "-map", "0:a:0", "-vn", "-sn", "-dn"]
    if duration is not None:
        command += ["-t", f"{duration:.6f}"]
    command += ["-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    stack.callback(_end, process)
    assert process.stdout is not None  # PIPE was asked for
    with _deadline(process):
        rate, channels = _read_wav_header(process.stdout, name)
    return rate, None, _read_blocks(process, channels, name)


def _as_path(stack: ExitStack, source: str | Path | BinaryIO) -> Path:
    """The source as a file on disk: MP4 keeps its index at the end, so a pipe would not do."""
    if isinstance(source, str | Path):
        return Path(source)
    copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="audiogpt-"))  # noqa: SIM115
    source.seek(0)
    shutil.copyfileobj(source, copy, COPY_BYTES)
    copy.flush()
    return Path(copy.name)


def _read_wav_header(pipe: IO[bytes], name: str) -> tuple[int, int]:
    """Read up to the samples; return (sample rate, channels)."""
    refused = AudioError(f"{name} is not an audio file that can be decoded, or it is damaged.")
    if len(head := pipe.read(12)) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise refused
    layout: tuple[int, int] | None = None
    while len(head := pipe.read(8)) == 8:
        kind, size = struct.unpack("<4sI", head)
        if kind == b"data":
            if layout is None:
                raise refused
            return layout
        body = pipe.read(size + size % 2)
        if kind == b"fmt " and len(body) >= 8:
            _, channels, rate = struct.unpack("<HHI", body[:8])
            layout = rate, channels
    raise refused


def _read_blocks(process: subprocess.Popen, channels: int, name: str) -> Iterator[np.ndarray]:
    assert process.stdout is not None
    frame_bytes = 4 * max(1, channels)
    size = max(1, BLOCK_FRAMES // max(1, channels)) * frame_bytes
    while True:
        with _deadline(process):
            data = process.stdout.read(size)
        if not data:
            break
        whole = len(data) - len(data) % frame_bytes
        yield np.frombuffer(data[:whole], dtype="<f4").reshape(-1, max(1, channels)).copy()
    if process.wait(TIMEOUT_SECONDS) < 0:  # killed: what came so far is not the whole
        raise AudioError(f"{name} took too long to decode: convert it to WAV, FLAC, MP3 or Ogg.")


@contextmanager
def _deadline(process: subprocess.Popen) -> Iterator[None]:
    """Kill the process if what is done inside takes too long; waiting readers do not count."""
    timer = threading.Timer(TIMEOUT_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(process: subprocess.Popen) -> None:
    if process.stdout is not None:
        process.stdout.close()
    process.kill()
    process.wait()
