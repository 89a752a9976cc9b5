"""Named endpoints for programs: the same pipeline, plain JSON in and out."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from audiogpt.pipeline import Captioner
from audiogpt.request import Artist, CaptionRequest, Decoding, Tag, Track
from audiogpt.ui.uploads import local_path

log = logging.getLogger(__name__)


def one_sentence(function: Callable[..., Any]) -> Callable[..., Any]:
    """Errors reach the caller as one sentence, never as a traceback."""

    @functools.wraps(function)
    def wrapped(*args: Any) -> Any:
        try:
            return function(*args)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except (TypeError, KeyError, AttributeError, OverflowError) as error:
            log.info("A request of another form: %s", error)
            sentence = f"The request is not of the expected form: {error}."
            raise gr.Error(sentence, print_exception=False) from None

    return wrapped


def read_parts(
    tags: Any, artists: Any, strengths: Any, decoding: Any, seed: Any, *, usual: Decoding
) -> CaptionRequest:
    """A request without audio from an endpoint's JSON; raises ValueError or TypeError.

    `tags` and `artists` are {name: number} or lists of names; empty means none. What `decoding`
    does not set is as `usual`.
    """
    settings = _settings(decoding, "decoding")
    known = [field.name for field in dataclasses.fields(Decoding)]
    if unknown := [name for name in settings if name not in known]:
        raise ValueError(f"decoding has no setting {unknown[0]!r}: use {', '.join(known)}.")
    return CaptionRequest(
        tags=tuple(Tag(text=text, weight=weight) for text, weight in _pairs(tags)),
        artists=tuple(Artist(name=name, share=share) for name, share in _pairs(artists)),
        strengths=_settings(strengths, "strengths"),
        decoding=dataclasses.replace(usual, **settings) if settings else None,
        # JSON knows one kind of number: 7.0 is 7, but 7.5 is never rounded to a seed.
        seed=int(seed) if isinstance(seed, float) and seed.is_integer() else seed or 0,
    )


def _settings(value: Any, what: str) -> dict[str, Any]:
    if value and not isinstance(value, dict):
        raise TypeError(f"{what} is {{name: value}}")
    return dict(value or {})


def _pairs(value: Any) -> list[tuple[str, float]]:
    if isinstance(value, dict):
        return list(value.items())
    if value and not isinstance(value, list | tuple):
        raise TypeError("tags and artists are {name: number} or lists of names")
    return [(name, 1.0) for name in value or ()]


def _track(audio: str | None) -> tuple[Track, ...]:
    return (Track(path=local_path(audio)),) if audio else ()


def add_endpoints(captioner: Captioner, *, queue: Mapping[str, Any]) -> None:
    """Add /caption and /hear to the blocks being built; their components are never shown.

    `queue` is what gradio's events take to share one queue (`concurrency_id`, …).
    """

    @one_sentence
    def caption(
        audio: str | None = None,  # the default tells clients that it may be left out
        tags: Any = None,
        artists: Any = None,
        strengths: Any = None,
        decoding: Any = None,
        seed: float = 0,
    ) -> dict[str, Any]:
        """Caption a music file, tags, artists, or any of them together, with a full explanation.

        Without tags, those heard in the audio are used. Returns title, description, alternatives,
        words, the trace (shares, gates, attention, drops per layer and token) and the request.
        """
        request = read_parts(
            tags, artists, strengths, decoding, seed, usual=captioner.default_decoding
        )
        tracks = _track(audio)
        heard = captioner.suggest_tags(tracks) if tracks and not request.tags else request.tags
        full = CaptionRequest(
            tracks=tracks,
            tags=heard,
            artists=request.artists,
            strengths=request.strengths,
            decoding=request.decoding,
            seed=request.seed,
        )
        return captioner.caption(full).to_dict()

    @one_sentence
    def hear(audio: str | None) -> dict[str, float]:
        """Tags heard in a music file with their confidence in [0, 1], highest first."""
        if not audio:
            raise ValueError("Give an audio file.")
        heard = captioner.listen(_track(audio)[0]).heard
        return {tag.text: round(tag.confidence, 4) for tag in heard}

    with gr.Row(visible=False):
        audio = gr.File(label="Audio file", type="filepath")
        tags = gr.JSON({}, label="Tags: {text: weight in [0, 1]}")
        artists = gr.JSON({}, label="Artists: {name: share}")
        strengths = gr.JSON({}, label="Strengths: {audio, tags, artists: 0 to 2}")
        decoding = gr.JSON({}, label="Decoding settings; the model's own for all others")
        seed = gr.Number(0, label="Seed, a whole number")
        answer = gr.JSON(label="Result")
        heard_button, caption_button = gr.Button(), gr.Button()
    options: dict[str, Any] = {**queue, "show_progress": "hidden"}
    caption_button.click(
        caption,
        [audio, tags, artists, strengths, decoding, seed],
        answer,
        api_name="caption",
        **options,
    )
    heard_button.click(hear, [audio], answer, api_name="hear", **options)
