"""What the machine hears in a track: embedding rows and tags, cached by content."""

from __future__ import annotations

import hashlib
import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiogpt.audio.embedded import EmbeddedAudio, checked_mono
from audiogpt.audio.embedding import MUSICNN_POOLED, WIDTHS, AudioEmbedding, load_embedding
from audiogpt.audio.errors import AudioError
from audiogpt.audio.loading import (
    MAX_LEVEL,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    Waveform,
    is_folder,
    iter_mono,
    resample_mono,
    too_long,
    too_short,
)
from audiogpt.audio.sndfile import MAX_CHANNELS
from audiogpt.audio.tagger import Tagger, load_tagger
from audiogpt.request import MAX_TRACKS, HeardTag, Track

# Above what one request may have: its tracks are listened to for the suggested tags, then for the
# caption, then again for each change. Of musicnn's widest rows four minutes take half a megabyte.
CACHE_TRACKS = MAX_TRACKS + 50
CACHE_PASSAGES = 8  # of one sound, so that its many parts do not drive out all others
PEAKS = 800
SHORT_SECONDS = 600.0
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Listening:
    """One track (or passage) as the machine hears it; times are seconds from the track's start.

    rows float32 (S, width) with times (S, 2); `heard` sorted by confidence; taggram float32
    (P, n) over `taggram_labels` with taggram_times (P, 2); `peaks` float32 (PEAKS,) in [0, 1], the
    loudest sample per slice, for drawing; `note` is "" or a sentence (silence, speech).
    """

    rows: np.ndarray
    times: np.ndarray
    heard: tuple[HeardTag, ...]
    taggram: np.ndarray
    taggram_labels: tuple[str, ...]
    taggram_times: np.ndarray
    peaks: np.ndarray
    note: str
    seconds: float
    sha256: str


class Listener:
    """Embeds and tags tracks; results are cached by content hash and passage.

    `embedding` names an embedding of `audiogpt.audio.embedding`; networks load on first use. A
    passage longer than `max_seconds` is refused, and so is an embedding of another `width`.
    """

    def __init__(
        self,
        embedding: str,
        *,
        width: int | None = None,
        device: str = "cpu",
        max_seconds: float | None = None,
    ) -> None:
        self.embedding_name, self.width = embedding, width
        self.device, self.max_seconds = device, max_seconds
        self._embedding: AudioEmbedding | None = None
        self._tagger: Tagger | None = None
        self._cache: OrderedDict[tuple[str, float, float | None], Listening] = OrderedDict()
        self._hashes: OrderedDict[tuple[str, int, int], str] = OrderedDict()
        self._cache_lock, self._work_lock = threading.Lock(), threading.Lock()

    def listen(self, track: Track, *, progress: Progress | None = None) -> Listening:
        """Embed and tag a track; a cached track costs only its hash.

        `progress` is called with the share done, in [0, 1]. Raises AudioError (a ValueError) for
        audio that cannot be used.
        """
        digest = self._hash(track)
        key = (digest, track.start, track.end)
        if (known := self._recall(key)) is not None:
            return known
        while not self._work_lock.acquire(timeout=0.5):  # one at a time: torch uses every core
            if progress is not None:  # may raise, where nobody waits any longer
                progress(0.0)
        try:
            if (known := self._recall(key)) is not None:
                return known
            listening = self._listen(track, digest, progress)
        finally:
            self._work_lock.release()
        with self._cache_lock:
            self._cache[key] = listening
            for older in [known for known in self._cache if known[0] == digest][:-CACHE_PASSAGES]:
                del self._cache[older]
            while len(self._cache) > CACHE_TRACKS:
                self._cache.popitem(last=False)
        return listening

    def _hash(self, track: Track) -> str:
        """`content_hash`, remembered for a file until it changes: its cuts are the same file."""
        if track.path is None or track.waveform is not None or not Path(track.path).is_file():
            return content_hash(track)
        status = Path(track.path).stat()
        stamp = (track.path, status.st_mtime_ns, status.st_size)
        with self._cache_lock:
            known = self._hashes.get(stamp)
        if known is None:
            known = content_hash(track)
            with self._cache_lock:
                self._hashes[stamp] = known
                while len(self._hashes) > CACHE_TRACKS:
                    self._hashes.popitem(last=False)
        return known

    def _recall(self, key: tuple[str, float, float | None]) -> Listening | None:
        with self._cache_lock:
            if key in self._cache:
                self._cache.move_to_end(key)
            return self._cache.get(key)

    def _listen(self, track: Track, digest: str, progress: Progress | None) -> Listening:
        if self.embedding_name == MUSICNN_POOLED:  # which the tagger has at hand
            self._check_width(WIDTHS[MUSICNN_POOLED])
        else:
            self._embedding = self._embedding or self._load_embedding()
        self._tagger = self._tagger or load_tagger(device=self.device)
        rate = self._tagger.sample_rate
        envelope = _Envelope(rate)
        # Short sounds are decoded once and kept; long ones are read twice, in bounded memory.
        share = _Share(progress if self._embedding is None else _half(progress, 0), envelope)
        opened = envelope.watch(self._blocks(track, rate, share.read))
        beginning = list(_until(opened, SHORT_SECONDS * rate))
        rest = next(opened, None)
        if rest is None:
            heard = self._tagger.listen(np.concatenate(beginning), progress=share.heard)
        else:
            chain = itertools.chain(beginning, [rest], opened)
            heard = self._tagger.listen_blocks(chain, progress=share.heard)
        share.finish()
        if self._embedding is None:
            embedded = EmbeddedAudio(heard.rows, heard.times)
        elif rest is None and self._embedding.sample_rate == rate:
            share = _Share(_half(progress, 0.5), envelope)
            parts = []
            for part in self._embedding.embed_blocks([checked_mono(np.concatenate(beginning))]):
                parts.append(part)
                share.heard(float(part.times[-1, 1]))
            share.finish()
            embedded = EmbeddedAudio.joined(parts)
        else:
            again = self._blocks(track, self._embedding.sample_rate, _half(progress, 0.5))
            embedded = EmbeddedAudio.joined(list(self._embedding.embed_blocks(again)))
        return Listening(
            rows=embedded.rows,
            times=embedded.times + track.start,
            heard=tuple(HeardTag(text=t.text, confidence=t.confidence) for t in heard.tags),
            taggram=heard.taggram,
            taggram_labels=tuple(heard.labels),
            taggram_times=heard.times + track.start,
            peaks=envelope.peaks(),
            note=heard.note,
            seconds=envelope.seconds,
            sha256=digest,
        )

    def _load_embedding(self) -> AudioEmbedding:
        embedding = load_embedding(self.embedding_name, device=self.device)
        self._check_width(embedding.width)
        return embedding

    def _check_width(self, width: int) -> None:
        if self.width is not None and width != self.width:
            raise ValueError(
                f"The checkpoint reads rows of {self.width} numbers, but the embedding "
                f"{self.embedding_name} that it names gives {width}: use the embedding "
                "that it was trained with."
            )

    def _blocks(
        self, track: Track, sample_rate: int, progress: Progress | None
    ) -> Iterator[np.ndarray]:
        return mono_blocks(track, sample_rate, progress=progress, max_seconds=self.max_seconds)


class _Envelope:
    """Watches samples go by: how long they are, and the loudest of each twentieth of a second."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._hop = sample_rate // 20
        self._count = 0
        self._loudest: list[np.ndarray] = []

    @property
    def seconds(self) -> float:
        return self._count / self._rate

    def watch(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self._count += len(block)
            magnitude = np.abs(block)
            self._loudest.append(
                np.maximum.reduceat(magnitude, np.arange(0, len(block), self._hop))
            )
            yield block

    def peaks(self) -> np.ndarray:
        loudest = np.concatenate(self._loudest)
        edges = np.linspace(0, len(loudest), PEAKS, endpoint=False).astype(int)
        return np.maximum.reduceat(loudest, edges).clip(max=1.0).astype(np.float32)


class _Share:
    """Tells how much of a sound the network has heard: reading is far ahead of it.

    `read` gets the share that was read, 0 where the file tells no length: of such a file no share
    is told until there is no more to read. All methods may raise what `progress` raises.
    """

    def __init__(self, progress: Progress | None, envelope: _Envelope) -> None:
        self._progress, self._envelope = progress, envelope
        self._whole: float | None = None  # s
        self._told = 0.0

    def read(self, share: float) -> None:
        self._whole = self._envelope.seconds / share if share else math.inf
        self._tell()

    def heard(self, seconds: float) -> None:
        whole = self._envelope.seconds if self._whole is None else self._whole
        self._told = min(1.0, max(self._told, seconds / max(whole, 1e-9)))
        self._tell()

    def finish(self) -> None:
        """All is heard; the last window of it may end before the sound does."""
        self._told = 1.0
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._told)


def _half(progress: Progress | None, first: float) -> Progress | None:
    """Progress of one of two passes over a file."""
    return None if progress is None else lambda share: progress(first + share / 2)


def _until(blocks: Iterator[np.ndarray], samples: float) -> Iterator[np.ndarray]:
    """Blocks from an iterator until there are so many samples; the iterator keeps the rest."""
    for block in blocks:
        yield block
        samples -= len(block)
        if samples <= 0:
            return


def content_hash(track: Track) -> str:
    """sha256 of a track's file, or of its samples, their form and rate; ValueError without either.

    The form counts because one string of bytes can be mono or stereo, and of several types.
    """
    if track.waveform is not None:
        samples = np.ascontiguousarray(track.waveform)
        form = f"{track.sample_rate} {samples.dtype.str} {np.shape(track.waveform)}"
        digest = hashlib.sha256(form.encode())
        digest.update(samples.tobytes())
        return digest.hexdigest()
    if track.path is None:
        name = f" ({track.name})" if track.name else ""
        raise ValueError(f"This request was saved without its audio{name}: add the file again.")
    if Path(track.path).is_dir():
        raise AudioError(is_folder(Path(track.path).name or track.path))
    try:
        with Path(track.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise ValueError(
            f"{Path(track.path).name} cannot be opened: check that the file exists."
        ) from None


def mono_blocks(
    track: Track,
    sample_rate: int,
    *,
    progress: Progress | None = None,
    max_seconds: float | None = None,
) -> Iterator[np.ndarray]:
    """A track's passage as mono float32 blocks (n,) at `sample_rate` Hz.

    Raises AudioError for audio that cannot be used, or is longer than `max_seconds`.
    """
    duration = None if track.end is None else track.end - track.start
    if track.waveform is None:
        assert track.path is not None  # content_hash has checked it
        yield from iter_mono(
            track.path,
            sample_rate,
            start=track.start,
            duration=duration,
            progress=progress,
            max_seconds=max_seconds,
        )
        return
    samples = np.atleast_2d(np.asarray(track.waveform))
    if samples.ndim > 2 or len(samples) > MAX_CHANNELS:
        raise AudioError(
            f"The recording's samples have the shape {samples.shape}, but it must be (samples,) or "
            f"(channels, samples) with at most {MAX_CHANNELS} channels: transpose them."
        )
    if samples.dtype.kind not in "fiu":
        raise AudioError(
            f"The recording's samples are of the type {samples.dtype}, but they must be whole or "
            "floating-point numbers: convert them."
        )
    if not MIN_SAMPLE_RATE <= (hertz := float(track.sample_rate or 0)) <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"The recording's sample rate is {hertz:g} Hz, but it must lie between "
            f"{MIN_SAMPLE_RATE:,} and {MAX_SAMPLE_RATE:,} Hz: give the one that it was made with."
        )
    rate = int(hertz)
    if np.issubdtype(samples.dtype, np.unsignedinteger):  # PCM whose silence is the middle: 128
        middle = np.iinfo(samples.dtype).max // 2 + 1
        samples = samples / middle - 1
    elif np.issubdtype(samples.dtype, np.integer):  # as browsers and wav files give it
        samples = samples / np.iinfo(samples.dtype).max
    first = round(track.start * rate)
    last = None if duration is None else first + round(duration * rate)
    samples = samples[:, first:last]
    if not samples.size:
        raise AudioError("The recording holds no sound in this passage.")
    if not float(np.abs(samples).max()) <= MAX_LEVEL:
        raise AudioError("The recording holds values that are not sound (NaN or far too large).")
    samples = samples.astype(np.float32)
    if max_seconds is not None and samples.shape[1] > max_seconds * rate:
        raise AudioError(too_long("This recording", max_seconds))
    mono = resample_mono(Waveform(samples, rate), sample_rate)
    if not len(mono):
        raise AudioError(too_short("This recording"))
    yield mono
