"""What goes in and what comes out: the same for the page, the API and the command line.

Everything here is plain data: frozen dataclasses that turn into JSON and back. Waveforms travel in
memory only; in JSON a track keeps its name and content hash.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audiogpt.controls import TOLD
from audiogpt.trace import Trace, Word

BRANCH_NAMES = ("audio", "tags", "artists")
MAX_STRENGTH = 2.0
MAX_TOKENS = 256
MAX_TRACKS, MAX_TAGS, MAX_ARTISTS, MAX_NAME = 200, 300, 200, 200


def _check_number(value: float, low: float, high: float, what: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # NaN is in no range
        raise ValueError(
            f"{what} must be a number between {low:g} and {high:g}, not {value!r:.40}."
        )


def _check_text(value: str, what: str) -> None:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise ValueError(f"{what} must be a text of at most {MAX_NAME} characters.")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{what} holds half a character, which cannot be written: type it again.")


def name_of_file(name: str) -> str:
    """A file's name as a track's: a disk has longer ones, and bytes in them that are no UTF-8."""
    return name.encode("utf-8", "replace").decode("utf-8")[:MAX_NAME]


@dataclass(frozen=True, kw_only=True)
class Track:
    """One piece of audio: a local file, or a waveform (n,) or (channels, n) with its sample rate.

    `weight` in [0, 1] scales its rows (`Tag` says what that means); `start` and `end` (seconds)
    choose a passage; `artist` is used where the request gives no artists of its own. `tags` are the
    playlist file's.
    """

    path: str | None = None
    waveform: np.ndarray | None = field(default=None, repr=False, compare=False)
    sample_rate: int | None = None
    weight: float = 1.0
    name: str = ""
    artist: str = ""
    tags: tuple[str, ...] = ()
    start: float = 0.0
    end: float | None = None
    sha256: str = ""  # of the file's bytes or the waveform, filled in by the pipeline

    def __post_init__(self) -> None:
        _check_number(self.weight, 0, 1, "A track's weight")
        _check_text(self.name, "A track's name")
        _check_text(self.artist, "A track's artist")
        _check_number(self.start, 0, 86400, "A passage's start")
        if self.end is not None:
            _check_number(self.end, 0, 86400, "A passage's end")
            if self.end <= self.start:
                raise ValueError("A passage must end after it starts.")
        if self.waveform is not None and not self.sample_rate:
            raise ValueError("A waveform needs its sample rate in Hz.")


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A tag and its weight in [0, 1]; 0 is exactly as if the tag were absent.

    Between 0 and 1, what a weight means is the checkpoint's. With null rows a tag fades out as its
    weight goes to 0. Without them (`AudioGPTConfig.weights_are_relative`) the weights of a branch
    only act in relation to each other: a single tag at 0.01 does what it does at 1.
    """

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_text(self.text, "A tag")
        if not self.text.strip():
            raise ValueError("A tag must not be empty.")
        _check_number(self.weight, 0, 1, f"The weight of the tag {self.text!r}")


@dataclass(frozen=True, kw_only=True)
class Artist:
    """An artist and a share of any scale; shares are normalised over the request."""

    name: str
    share: float = 1.0

    def __post_init__(self) -> None:
        _check_text(self.name, "An artist's name")
        if not self.name.strip():
            raise ValueError("An artist's name must not be empty.")
        _check_number(self.share, 0, 1e9, f"The share of {self.name}")


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How words are chosen. A checkpoint may bring its own defaults, as the bundled one does.

    `beam` search scores a hypothesis by its sum of log-probabilities over length ** length_penalty
    (0: no normalisation); `sample` draws from the smallest set of tokens with probability top_p,
    at `temperature`. `no_repeat_ngram` forbids repeating n-grams of that many words,
    single words of a title, and naming an artist twice (0: allowed). With `max_words` hypotheses
    end with a sentence within so many words (0: no limit), and not before `min_words`.
    Beams gain `coverage` times the share of the tags' words that they use (less that of the tags of
    one word, for each sentence that tells one again), and half as much for the share of the longer
    tags that a sentence tells whole; they lose `invention` for each instrument that no tag names,
    each word that a tag rules out ("no drums") and each word of a sentence or longer tag that is
    said again (0: off). They gain up to `length` (0: off) for ending near the length that the
    checkpoint expects, if it expects any, or four times that near `target_words` (0: as expected).
    Finished ones gain `consensus` times their likeness to captions drawn at `temperature` and
    `top_p` (0: off, as it takes longer; `audiogpt.consensus`). A checkpoint with controls is also
    told these words, and that it shall use the share `target_coverage` of the tags' words (0: not
    asked).
    """

    method: str = "beam"
    beams: int = 4
    max_tokens: int = 96
    min_words: int = 0
    max_words: int = 0
    length_penalty: float = 0.0
    no_repeat_ngram: int = 0
    temperature: float = 1.0
    top_p: float = 0.9
    n_best: int = 3
    coverage: float = 0.0
    invention: float = 0.0
    length: float = 0.1
    target_words: int = 0
    target_coverage: float = 0.0
    consensus: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in ("beam", "sample"):
            raise ValueError(f"The decoding method must be beam or sample, not {self.method!r}.")
        for name, low, high in (
            ("beams", 1, 16),
            ("max_tokens", 1, MAX_TOKENS),
            ("min_words", 0, MAX_TOKENS),
            ("max_words", 0, MAX_TOKENS),
            ("target_words", 0, MAX_TOKENS),
            ("no_repeat_ngram", 0, 16),
            ("n_best", 1, 16),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"{name} must be a whole number, not {value!r}.")
            _check_number(value, low, high, name)
        if 0 < self.max_words < self.min_words:
            raise ValueError(
                f"min_words ({self.min_words}) must not be greater than max_words "
                f"({self.max_words})."
            )
        _check_number(self.coverage, 0, 10, "coverage")
        _check_number(self.invention, 0, 10, "invention")
        _check_number(self.length, 0, 10, "length")
        _check_number(self.consensus, 0, 10, "consensus")
        _check_number(self.target_coverage, 0, 1, "target_coverage")
        _check_number(self.length_penalty, 0, 3, "length_penalty")
        _check_number(self.temperature, 0.05, 5, "temperature")
        _check_number(self.top_p, 0.01, 1, "top_p")

    @property
    def counts_words(self) -> bool:
        """Whether the search has to know where words and sentences end."""
        return bool(self.no_repeat_ngram or self.min_words or self.max_words)

    def controls(
        self, tags: Sequence[tuple[str, float]], expected_words: float | None
    ) -> dict[str, float]:
        """What the caption is asked to be (`audiogpt.controls`): the words aimed at, else those
        expected of the request, within the limits, and the coverage, where there are tags that
        count for it."""
        controls: dict[str, float] = {}
        if words := self.target_words or expected_words:
            words = max(words, self.min_words)
            controls["words"] = float(min(words, self.max_words or words))
        if self.target_coverage and any(weight > TOLD for _, weight in tags):
            controls["coverage"] = self.target_coverage
        return controls


@dataclass(frozen=True, kw_only=True)
class CaptionRequest:
    """Everything that decides a caption. `strengths` are lambdas in [0, 2] by branch name."""

    tracks: tuple[Track, ...] = ()
    tags: tuple[Tag, ...] = ()
    artists: tuple[Artist, ...] = ()
    strengths: Mapping[str, float] = field(default_factory=dict)
    decoding: Decoding | None = None  # None: the checkpoint's own settings
    seed: int = 0

    def __post_init__(self) -> None:
        for what, items, limit in (
            ("tracks", self.tracks, MAX_TRACKS),
            ("tags", self.tags, MAX_TAGS),
            ("artists", self.artists, MAX_ARTISTS),
        ):
            if len(items) > limit:
                raise ValueError(f"A request takes at most {limit} {what}, not {len(items)}.")
        for name, value in self.strengths.items():
            if name not in BRANCH_NAMES:
                raise ValueError(f"There is no branch {name!r}: use {', '.join(BRANCH_NAMES)}.")
            _check_number(value, 0, MAX_STRENGTH, f"The strength of {name}")
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        if not whole or not 0 <= self.seed < 2**32:
            raise ValueError("The seed must be a whole number from 0 to 4294967295.")

    def strength(self, branch: str) -> float:
        return float(self.strengths.get(branch, 1.0))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; audio is left out, and so is the directory a file came from."""
        data = dataclasses.asdict(
            dataclasses.replace(
                self, tracks=tuple(dataclasses.replace(t, waveform=None) for t in self.tracks)
            )
        )
        for track in data["tracks"]:
            del track["waveform"], track["path"]
        data["strengths"] = dict(self.strengths)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CaptionRequest:
        """Rebuild from `to_dict`. Paths are never read from data. Raises ValueError."""
        try:
            tracks = []
            for entry in data.get("tracks", ()):
                if entry.get("path") or entry.get("waveform"):
                    raise ValueError("A stored request must not name files on this machine.")
                tracks.append(Track(**{**entry, "tags": tuple(entry.get("tags", ()))}))
            return cls(
                tracks=tuple(tracks),
                tags=tuple(Tag(**entry) for entry in data.get("tags", ())),
                artists=tuple(Artist(**entry) for entry in data.get("artists", ())),
                strengths=dict(data.get("strengths", {})),
                decoding=Decoding(**data["decoding"]) if data.get("decoding") else None,
                seed=data.get("seed", 0),
            )
        except (TypeError, AttributeError) as error:
            raise ValueError(f"The request is not of the expected form: {error}.") from None


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """One hypothesis: `log_probability` is the sum over its tokens, `score` what ranks it.

    The score is the search's own, or, where hypotheses are ranked again by their texts, that of
    `audiogpt.reranking`: log-probability over length ** length_penalty plus the terms of the text.
    """

    title: str
    description: str
    score: float
    log_probability: float
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class HeardTag:
    """A tag the tagger heard, with its calibrated confidence in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Partial:
    """The running best hypothesis while decoding: what the page streams."""

    title: str
    description: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class SegmentCaption:
    """The caption of one stretch of a track, in seconds."""

    track: int
    start: float
    end: float
    title: str
    description: str


@dataclass(frozen=True, kw_only=True)
class CaptionResult:
    """The caption, why it came out so, and everything needed to get it again.

    `rows` labels the rows of each branch in order: segments ("0:03–0:06"), tags, artists.
    `timings` are seconds per stage. `warnings` are sentences for the user.
    """

    title: str
    description: str
    alternatives: tuple[Alternative, ...]
    tokens: tuple[int, ...]
    token_texts: tuple[str, ...]
    words: tuple[Word, ...]
    trace: Trace | None
    tags_heard: tuple[HeardTag, ...]
    rows: Mapping[str, tuple[str, ...]]
    row_times: tuple[tuple[int, float, float], ...]  # per audio row: track, start and end in s
    timings: Mapping[str, float]
    warnings: tuple[str, ...]
    request: CaptionRequest
    checkpoint: str
    checkpoint_sha256: str
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        data = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in ("trace", "request", "words", "alternatives", "tags_heard")
        }
        data["rows"] = {name: list(labels) for name, labels in self.rows.items()}
        data["row_times"] = [list(times) for times in self.row_times]
        for name in ("tokens", "token_texts", "warnings"):
            data[name] = list(data[name])
        for name in ("timings", "versions"):
            data[name] = dict(data[name])
        for name in ("words", "alternatives", "tags_heard"):
            data[name] = [dataclasses.asdict(item) for item in getattr(self, name)]
        for alternative in data["alternatives"]:
            alternative["tokens"] = list(alternative["tokens"])
        data["trace"] = self.trace.to_dict() if self.trace is not None else None
        data["request"] = self.request.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CaptionResult:
        """Rebuild from `to_dict`; raises ValueError where the data is not of that form."""
        try:
            values = dict(data)
            values["request"] = CaptionRequest.from_dict(values["request"])
            values["trace"] = Trace.from_dict(values["trace"]) if values["trace"] else None
            values["words"] = tuple(Word(**word) for word in values["words"])
            values["alternatives"] = tuple(
                Alternative(**{**entry, "tokens": tuple(entry["tokens"])})
                for entry in values["alternatives"]
            )
            values["tags_heard"] = tuple(HeardTag(**entry) for entry in values["tags_heard"])
            values["rows"] = {name: tuple(labels) for name, labels in values["rows"].items()}
            values["row_times"] = tuple(tuple(times) for times in values["row_times"])
            for name in ("tokens", "token_texts", "warnings"):
                values[name] = tuple(values[name])
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"The result is not of the expected form: {error}.") from None
