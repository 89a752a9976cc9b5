"""What the machine hears in a track: embedding rows and tags, cached by content."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiogpt.audio.embedding import AudioEmbedding, load_embedding
from audiogpt.audio.loading import Waveform, iter_mono, resample_mono
from audiogpt.audio.tagger import Tagger, load_tagger
from audiogpt.request import HeardTag, Track

CACHE_TRACKS = 64
PEAKS = 800
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

    `embedding` names an embedding of `audiogpt.audio.embedding`; networks load on first use.
    """

    def __init__(self, embedding: str, *, device: str = "cpu") -> None:
        self.embedding_name, self.device = embedding, device
        self._embedding: AudioEmbedding | None = None
        self._tagger: Tagger | None = None
        self._cache: OrderedDict[tuple[str, float, float | None], Listening] = OrderedDict()
        self._lock = threading.Lock()

    def listen(self, track: Track, *, progress: Progress | None = None) -> Listening:
        """Embed and tag a track; a cached track costs only its hash.

        Raises AudioError (a ValueError) for audio that cannot be used.
        """
        digest = content_hash(track)
        key = (digest, track.start, track.end)
        with self._lock:  # one at a time: torch already uses every core
            if key not in self._cache:
                self._cache[key] = self._listen(track, digest, progress)
            self._cache.move_to_end(key)
            while len(self._cache) > CACHE_TRACKS:
                self._cache.popitem(last=False)
            return self._cache[key]

    def _listen(self, track: Track, digest: str, progress: Progress | None) -> Listening:
        self._embedding = self._embedding or load_embedding(self.embedding_name, device=self.device)
        self._tagger = self._tagger or load_tagger(device=self.device)
        samples = read_mono(track, self._tagger.sample_rate, progress)
        seconds = len(samples) / self._tagger.sample_rate
        heard = self._tagger.listen(samples)
        if self._embedding.sample_rate == self._tagger.sample_rate:
            embedded = self._embedding.embed(samples)
        else:
            embedded = self._embedding.embed(read_mono(track, self._embedding.sample_rate, None))
        return Listening(
            rows=embedded.rows,
            times=embedded.times + track.start,
            heard=tuple(HeardTag(text=t.text, confidence=t.confidence) for t in heard.tags),
            taggram=heard.taggram,
            taggram_labels=tuple(heard.labels),
            taggram_times=heard.times + track.start,
            peaks=_peaks(samples),
            note=heard.note,
            seconds=seconds,
            sha256=digest,
        )


def content_hash(track: Track) -> str:
    """sha256 of a track's file, or of its samples and rate; raises ValueError without either."""
    if track.waveform is not None:
        digest = hashlib.sha256(str(track.sample_rate).encode())
        digest.update(np.ascontiguousarray(track.waveform).tobytes())
        return digest.hexdigest()
    if track.path is None:
        name = f" ({track.name})" if track.name else ""
        raise ValueError(f"This request was saved without its audio{name}: add the file again.")
    try:
        with Path(track.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise ValueError(
            f"{Path(track.path).name} cannot be opened: check that the file exists."
        ) from None


def read_mono(track: Track, sample_rate: int, progress: Progress | None) -> np.ndarray:
    """A track's passage as mono float32 (n,) at `sample_rate` Hz."""
    duration = None if track.end is None else track.end - track.start
    if track.waveform is None:
        assert track.path is not None  # content_hash has checked it
        blocks = iter_mono(
            track.path, sample_rate, start=track.start, duration=duration, progress=progress
        )
        return np.concatenate(list(blocks))
    samples = np.atleast_2d(np.asarray(track.waveform))
    if np.issubdtype(samples.dtype, np.integer):  # as browsers and wav files give it
        samples = samples / np.iinfo(samples.dtype).max
    rate = int(track.sample_rate or 0)
    first = round(track.start * rate)
    last = None if duration is None else first + round(duration * rate)
    return resample_mono(Waveform(samples[:, first:last].astype(np.float32), rate), sample_rate)


def _peaks(samples: np.ndarray) -> np.ndarray:
    edges = np.linspace(0, len(samples), PEAKS, endpoint=False).astype(int)
    return np.maximum.reduceat(np.abs(samples), edges).clip(max=1.0).astype(np.float32)
