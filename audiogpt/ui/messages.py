"""What travels between the page and the server: one JSON object each way.

A message of the page is {page, run, request, auto, ...}; an answer repeats `run`, and grows: it
holds everything said so far, so that a skipped intermediate answer loses nothing. Only what was
heard is left out while words stream in, and comes again with the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from audiogpt.listening import Listening
from audiogpt.request import Artist, CaptionRequest, CaptionResult, Decoding, Tag, Track
from audiogpt.ui.uploads import local_path

MAX_PAGE_TRACKS = 50
MAX_MESSAGE = 8_000_000  # characters; a saved caption of an hour of music is smaller


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message of the page. `auto`: take the tags from the audio instead of the request's."""

    page: str
    run: int
    request: CaptionRequest
    auto: bool
    extra: Mapping[str, Any]


def read_message(text: Any) -> Message:
    """Parse and check a message; raises ValueError, in one sentence, for what cannot be used."""
    data = read_json(text)
    try:
        return Message(
            page=str(data["page"])[:64],
            run=int(data["run"]),
            request=read_request(data["request"]),
            auto=bool(data.get("auto", False)),
            extra=data.get("extra") or {},
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"The page sent a message of another form: {error}.") from None


def read_json(text: Any) -> dict[str, Any]:
    """A JSON object from text; raises ValueError otherwise."""
    if not isinstance(text, str) or len(text) > MAX_MESSAGE:
        raise ValueError("The page sent no message that can be read: reload the page.")
    try:
        data = json.loads(text)
    except ValueError:
        raise ValueError("This is not JSON that the page wrote.") from None
    if not isinstance(data, dict):
        raise ValueError("This is not JSON that the page wrote.")
    return data


def read_request(data: Mapping[str, Any]) -> CaptionRequest:
    """The request the page describes; only uploaded files and examples become tracks."""
    if len(data.get("tracks", ())) > MAX_PAGE_TRACKS:
        raise ValueError(f"A playlist on this page has at most {MAX_PAGE_TRACKS} tracks.")
    tracks = tuple(
        Track(
            path=local_path(entry.get("file", ""), str(entry.get("name", ""))),
            name=str(entry.get("name", "")),
            artist=str(entry.get("artist", "")).strip(),
            weight=_number(entry.get("weight", 1.0)),
            start=_number(entry.get("start") or 0.0),
            end=None if entry.get("end") is None else _number(entry["end"]),
        )
        for entry in data.get("tracks", ())
    )
    return CaptionRequest(
        tracks=tracks,
        tags=tuple(
            Tag(text=entry["text"], weight=_number(entry.get("weight", 1.0)))
            for entry in data.get("tags", ())
        ),
        artists=tuple(
            Artist(name=entry["name"], share=_number(entry.get("share", 1.0)))
            for entry in data.get("artists", ())
            if str(entry["name"]).strip()
        ),
        strengths={name: _number(value) for name, value in data.get("strengths", {}).items()},
        decoding=Decoding(**data["decoding"]) if data.get("decoding") else None,
        seed=int(data.get("seed", 0)),
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number.")
    return float(value)


def heard_view(listening: Listening) -> dict[str, Any]:
    """What the page shows of one track."""
    return {
        "sha256": listening.sha256,
        "seconds": round(listening.seconds, 3),
        "peaks": [round(float(peak), 3) for peak in listening.peaks],
        "tags": [
            {"text": tag.text, "confidence": round(tag.confidence, 3)} for tag in listening.heard
        ],
        "note": listening.note,
    }


def why_view(result: CaptionResult, token_text: Callable[[int], str] | None) -> dict[str, Any]:
    """The numbers per word that the pictures need; `token_text` turns one id into text, None where
    nobody can: then there are no candidates."""
    trace = result.trace
    if trace is None:
        return {}
    words, candidates = result.words, None
    if token_text is not None:
        candidates = [
            [[token_text(int(i)), round(float(p), 3)] for i, p in zip(ids, ps, strict=True)]
            for ids, ps in zip(trace.candidates, trace.candidate_log_probability, strict=True)
        ]
    return {
        "shares": _rounded(trace.word_shares(words)),
        "drops": _rounded(trace.word_drops(words)),
        "marks": trace.disagreements(words),
        "candidates": candidates,
    }


def _rounded(array: Any) -> list[list[float]]:
    return [[round(float(value), 5) for value in row] for row in array]


def write_answer(**fields: Any) -> str:
    """JSON text; "<" is escaped, so that no part of it can be taken for markup.

    Lone surrogates, which an error may quote, become "?": no text that holds one can be sent.
    """
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return text.encode("utf-8", "replace").decode("utf-8")
