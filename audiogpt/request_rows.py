"""Turns a request and what was heard in its tracks into the rows of each branch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audiogpt.artists import RankedArtists, rank_artists, rank_track_artists
from audiogpt.audio.embedding import TRACK_ROWS, track_row
from audiogpt.config import AudioGPTConfig
from audiogpt.length import Audible
from audiogpt.listening import Listening
from audiogpt.request import BRANCH_NAMES, CaptionRequest, HeardTag, Tag
from audiogpt.rows import ItemRows, tag_token_ids
from audiogpt.tags import TagTable
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.words import plain_tag

# The clips that models are trained on have ten segments. More segments share that total weight, so
# that a long song does not outweigh the null row by its length alone.
TRAINED_AUDIO_ROWS = 10
# Beyond this many segments neighbours are averaged: an hour of music stays a small picture.
MAX_AUDIO_ROWS = 240


@dataclass(frozen=True)
class Inputs:
    """What the model is given for one request, and what to tell the user about it."""

    request: CaptionRequest  # with the content hash of every track
    rows: ItemRows
    strengths: Mapping[str, float]
    artist_names: tuple[str, ...]
    heard: tuple[HeardTag, ...]
    row_times: tuple[tuple[int, float, float], ...]
    warnings: tuple[str, ...]

    def hears(self, branch: str) -> bool:
        """Whether the model is given anything of a branch, at a strength above 0."""
        given = branch in self.rows.features or branch in self.rows.phrases
        return given and self.strengths.get(branch, 0.0) > 0

    def audible_tags(self) -> list[tuple[str, float]]:
        """Tags at the weights that the model hears: none where they do not reach it."""
        if not self.hears("tags"):
            return []
        loudness = min(1.0, self.strengths["tags"])
        return [(tag.text, tag.weight * loudness) for tag in distinct_tags(self.request.tags)]

    def audible(self) -> Audible:
        """What a caption's length is expected from (`audiogpt.length`)."""
        return Audible(
            tags=self.audible_tags(), audio=self.hears("audio"), artists=self.hears("artists")
        )


def reads_tags(config: AudioGPTConfig, tag_table: TagTable | None) -> bool:
    """Whether tags reach the model by name: as text, or by the vectors of a table."""
    return config.tag_rows == "text" or (config.tag_rows == "features" and tag_table is not None)


def distinct_tags(tags: Sequence[Tag]) -> list[Tag]:
    """Each tag once, whatever its case and spaces, at its first place and with its largest weight:
    the model reads the same tokens of both, and saying a tag twice is not asking for it twice."""
    kept: dict[str, Tag] = {}
    for tag in tags:
        name = plain_tag(tag.text)
        known = kept.setdefault(name, tag)
        kept[name] = dataclasses.replace(known, weight=max(known.weight, tag.weight))
    return list(kept.values())


def prepare_inputs(
    request: CaptionRequest,
    listenings: Sequence[Listening],
    config: AudioGPTConfig,
    tokenizer: CaptionTokenizer,
    *,
    tag_table: TagTable | None = None,
) -> Inputs:
    """Rows of weight 0 are left out here, so that weight 0 is exactly as if they were absent.

    What was given but has no effect on this model is told in the warnings.
    """
    features: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    phrases: dict[str, list[tuple[list[int], float]]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    warnings = [listening.note for listening in listenings if listening.note]
    row_times: tuple[tuple[int, float, float], ...] = ()

    used = [i for i, track in enumerate(request.tracks) if track.weight > 0]
    if used and "audio" in config.branch_names:
        rows, weights, row_times = _audio_rows(request, listenings, used, config)
        features["audio"] = (rows, weights)
        many = len({track for track, _, _ in row_times}) > 1
        labels["audio"] = tuple(
            f"{f'{track + 1}: ' if many else ''}{_clock(start)}–{_clock(end)}"
            for track, start, end in row_times
        )
        if config.audio_rows == "tracks":
            warnings += _cut_notes([listenings[i] for i in used])

    tags = [tag for tag in request.tags if tag.weight > 0]
    if tags and config.tag_rows == "text":
        tags = distinct_tags(tags)
        phrases["tags"] = [(tag_token_ids(tokenizer, t.text), t.weight) for t in tags]
        labels["tags"] = tuple(tag.text for tag in tags)
    elif tags and config.tag_rows == "features" and tag_table is not None:
        found = tag_table.lookup((tag.text, tag.weight) for tag in tags)
        if found.words:
            features["tags"] = (found.vectors, found.weights)
            labels["tags"] = found.words
        warnings += [
            f"The model does not know {text!r}, so it has no effect."
            for text in (*found.unknown, *found.unknown_words)
        ]

    ranked = _ranked_artists(request)
    if ranked and "artists" in config.branch_names:
        features["artists"] = (ranked.vector()[None], np.ones(1, np.float32))
        labels["artists"] = (", ".join(ranked.names[:10]),)

    given = {"audio": bool(used), "tags": bool(tags), "artists": bool(ranked)}
    strengths = {
        name: request.strength(name) if name in BRANCH_NAMES else 1.0
        for name in config.branch_names
    }
    warnings += _unread(config, tag_table, [branch for branch in BRANCH_NAMES if given[branch]])
    if not any(strengths[name] > 0 for name in (*features, *phrases)):
        what = "that was given reaches this model" if any(given.values()) else "was given"
        warnings.append(f"Nothing {what}, so this caption is the language model's alone.")
    hashed = tuple(
        dataclasses.replace(track, sha256=listening.sha256)
        for track, listening in zip(request.tracks, listenings, strict=True)
    )
    heard = weighted_heard(
        [(heard, track.weight) for heard, track in zip(listenings, request.tracks, strict=True)]
    )
    return Inputs(
        request=dataclasses.replace(request, tracks=hashed),
        rows=ItemRows(features=features, phrases=phrases, labels=labels),
        strengths=strengths,
        artist_names=ranked.names,
        heard=heard,
        row_times=row_times,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _unread(config: AudioGPTConfig, tag_table: TagTable | None, given: Sequence[str]) -> list[str]:
    """A sentence for each kind of input in `given` that the model has no way to read."""
    readable = reads_tags(config, tag_table)
    warnings = []
    for kind in given:
        if kind == "tags" and config.tag_rows is not None and not readable:
            warnings.append(
                "This checkpoint knows no tags by name, so tags have no effect: put "
                "tags.safetensors and tags.txt into its folder, or train with --tag_table."
            )
        elif kind not in config.branch_names:
            effect = {
                "audio": "sound counts only by the tags heard in it"
                if readable
                else "sound has no effect",
                "tags": "tags have no effect",
                "artists": "artists have no effect",
            }
            warnings.append(f"This checkpoint has no {kind} branch, so {effect[kind]}.")
    return warnings


def _cut_notes(listenings: Sequence[Listening]) -> list[str]:
    """What is to be said where a track is longer than what its one row is made of."""
    long = [listening.times for listening in listenings if len(listening.rows) > TRACK_ROWS]
    if not long:
        return []
    seconds = float(long[0][TRACK_ROWS - 1, 1] - long[0][0, 0])
    return [f"This checkpoint reads the first {seconds:.0f} s of each track."]


def weighted_heard(listenings: Sequence[tuple[Listening, float]]) -> tuple[HeardTag, ...]:
    """Tags heard over several tracks: confidences averaged by track weight, highest first."""
    total = sum(weight for _, weight in listenings)
    if not total:
        return ()
    mean: dict[str, float] = {}
    for listening, weight in listenings:
        for tag in listening.heard:
            mean[tag.text] = mean.get(tag.text, 0.0) + tag.confidence * weight / total
    ordered = sorted(mean.items(), key=lambda item: (-item[1], item[0]))
    return tuple(HeardTag(text=text, confidence=value) for text, value in ordered)


def _audio_rows(
    request: CaptionRequest,
    listenings: Sequence[Listening],
    used: Sequence[int],
    config: AudioGPTConfig,
) -> tuple[np.ndarray, np.ndarray, tuple[tuple[int, float, float], ...]]:
    """Values (R, width), weights (R,) and (track, start s, end s) of each row."""
    if config.audio_rows == "tracks":
        values = np.stack([track_row(listenings[i].rows) for i in used])
        weights = np.array([request.tracks[i].weight for i in used], np.float32)
        return (
            values,
            weights,
            tuple(_span(i, listenings[i].times[:TRACK_ROWS]) for i in used),
        )
    total = sum(len(listenings[i].rows) for i in used)
    pool = -(-total // MAX_AUDIO_ROWS)
    parts, weights_of, spans = [], [], []
    for i in used:
        rows, times = listenings[i].rows, listenings[i].times
        for first in range(0, len(rows), pool):
            parts.append(rows[first : first + pool].mean(0))
            weights_of.append(request.tracks[i].weight)
            spans.append(_span(i, times[first : first + pool]))
    # Rows count as their weights compare, so that a track fades out without a jump.
    loudness = np.array(weights_of, np.float32)
    scale = min(1.0, TRAINED_AUDIO_ROWS * float(loudness.max() / loudness.sum()))
    return np.stack(parts), loudness * np.float32(scale), tuple(spans)


def _span(track: int, times: np.ndarray) -> tuple[int, float, float]:
    return track, round(float(times[0, 0]), 2), round(float(times[-1, 1]), 2)


def _ranked_artists(request: CaptionRequest) -> RankedArtists:
    """The request's artists, or else the artists of its tracks, counted as the playlists are."""
    if request.artists:
        return rank_artists((artist.name, artist.share) for artist in request.artists)
    return rank_track_artists(t.artist for t in request.tracks if t.artist and t.weight > 0)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
