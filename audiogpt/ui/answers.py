"""The page's handlers: a message in, growing JSON answers out, errors as one sentence."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from audiogpt.pipeline import Captioner
from audiogpt.request import MAX_TOKENS, CaptionRequest, CaptionResult, Partial
from audiogpt.ui.memory import Memory
from audiogpt.ui.messages import (
    Message,
    heard_view,
    read_json,
    read_message,
    why_view,
    write_answer,
)
from audiogpt.ui.parts import check_parts, length_told

log = logging.getLogger(__name__)

# A page is redrawn at most this often while words stream in: more costs time and shows nothing.
STREAM_INTERVAL = 0.06  # s
# A caption that is done sooner than this is shown at once, without its making.
STREAM_PATIENCE = 0.3  # s
PROGRESS_INTERVAL = 0.4  # s
MAX_RESTORING = 1  # saved files read at the same time
FAILURE = "Something went wrong on the server; the caption was not made. Try again."


def answering(handler: Callable[..., Iterator[dict[str, Any]]]) -> Callable[..., Iterator[str]]:
    """Turn a handler's growing dicts into JSON, and its errors into a sentence for the user."""

    @functools.wraps(handler)
    def wrapped(self: Answers, text: Any) -> Iterator[str]:
        run = 0
        try:
            said = read_json(text).get("run")
            run = said if isinstance(said, int) else 0
            answer: dict[str, Any] = {}
            for more in handler(self, read_message(text)):
                answer |= more
                streaming = "partial" in answer and "result" not in answer
                # What was heard is large, and the page has it by then, or gets it with the result.
                told = answer.keys() - ({"heard"} if streaming else set())
                yield write_answer(run=run, **{name: answer[name] for name in told})
        except ValueError as error:
            yield write_answer(run=run, error=str(error), done=True)
        except StopListening:
            yield write_answer(run=run, stopped=True, done=True)
        except Exception:
            log.exception("A handler of the page failed.")
            yield write_answer(run=run, error=FAILURE, done=True)

    return wrapped


class StopListening(Exception):
    """The page no longer wants what is being heard."""


class Answers:
    """The handlers over one captioner. They keep nothing of a visitor but `Memory`."""

    def __init__(self, captioner: Captioner) -> None:
        self.captioner, self.memory = captioner, Memory()
        self._restoring = threading.BoundedSemaphore(MAX_RESTORING)

    @answering
    def caption(self, message: Message) -> Iterator[dict[str, Any]]:
        """Listen, then stream a caption, then its trace; stops when the page has moved on."""
        started = time.perf_counter()
        request = message.request
        for step in self._listen(message) if request.tracks else ():
            # The page may know what is heard; the server may have forgotten it all the same.
            if not ("heard" in step and message.extra.get("heard")):
                yield step
        if request.tracks and message.auto:
            request = self._tagged(request)
            yield {"auto_tags": [dataclasses.asdict(tag) for tag in request.tags]}
        shown = started + STREAM_PATIENCE - STREAM_INTERVAL
        for item in self.captioner.stream(request):
            if self.memory.unwanted(message.page, message.run):
                yield {"stopped": True, "done": True}
                return
            if isinstance(item, Partial):
                if time.perf_counter() - shown >= STREAM_INTERVAL:
                    shown = time.perf_counter()
                    yield {"partial": {"title": item.title, "description": item.description}}
            elif item.trace is None:
                yield {"result": item.to_dict(), "seconds": time.perf_counter() - started}
            else:
                yield self._traced(item) | {"done": True}

    def _listen(self, message: Message) -> Iterator[dict[str, Any]]:
        """Hear every track, saying how far that is; stops early when the page has moved on."""
        tracks, done, left = message.request.tracks, 0.0, False
        heard: list[dict[str, Any]] = []

        def progress(share: float) -> None:
            nonlocal done
            done = (len(heard) + share) / len(tracks)
            if left or self.memory.unwanted(message.page, message.run):
                raise StopListening

        pool = ThreadPoolExecutor(max_workers=1)
        try:
            for track in tracks:
                if self.memory.unwanted(message.page, message.run):
                    raise StopListening  # of a track that is remembered, no progress is told
                job = pool.submit(self.captioner.listen, track, progress=progress)
                while not wait([job], timeout=PROGRESS_INTERVAL).done:
                    yield {"listening": round(done, 2)}
                heard.append(heard_view(job.result()))
        finally:  # a closed page must not make the server wait for what it no longer wants
            left = True
            pool.shutdown(wait=False)
        yield {"heard": heard}

    def _tagged(self, request: CaptionRequest) -> CaptionRequest:
        return dataclasses.replace(request, tags=self.captioner.suggest_tags(request.tracks))

    def _traced(self, result: CaptionResult) -> dict[str, Any]:
        # The trace is the largest part by far, and Shapley values are computed without it.
        return {
            "key": self.memory.keep(dataclasses.replace(result, trace=None)),
            "result": result.to_dict(),
            "why": why_view(result, lambda token: self.captioner.tokenizer.decode([token])),
        }

    @answering
    def segments(self, message: Message) -> Iterator[dict[str, Any]]:
        """Captions of every stretch of every track, as they come.

        A run of many parts holds the model for minutes, so their number is bounded, and the page
        can end it on the way: while a track is heard, and after every few parts.
        """
        request = message.request
        seconds = message.extra.get("seconds", 30)
        if not isinstance(seconds, int | float) or not 3 <= seconds <= 600:
            raise ValueError("A part must last between 3 and 600 seconds.")
        if not request.tracks:
            raise ValueError("Add audio first: there is nothing to go through yet.")
        lengths = [length_told(track) for track in request.tracks]
        check_parts(lengths, seconds)
        found: list[dict[str, Any]] = []
        yield {"segments": []}
        for number, track in enumerate(request.tracks):
            alone = dataclasses.replace(request, tracks=(track,))
            for step in self._listen(dataclasses.replace(message, request=alone)):
                if "heard" in step:  # a file may tell no length, or a wrong one
                    lengths[number] = step["heard"][0]["seconds"]
                    check_parts(lengths, seconds)
                else:
                    yield step
            for segment in self.captioner.segments(alone, seconds=float(seconds)):
                if self.memory.unwanted(message.page, message.run):
                    raise StopListening
                found.append(dataclasses.asdict(segment) | {"track": number})
                yield {"segments": list(found)}
        yield {"done": True}

    @answering
    def shapley(self, message: Message) -> Iterator[dict[str, Any]]:
        """Exact Shapley values per word of a remembered result, in nats."""
        key = str(message.extra.get("key", ""))
        values = self.captioner.shapley(self.memory.recall(key))
        yield {
            "key": key,
            "shapley": [[round(float(v), 5) for v in row] for row in values],
            "done": True,
        }

    def restore(self, text: Any) -> str:
        """Check a saved result and give it back with what the pictures need.

        What else was likely is left out of another checkpoint's: its tokens are others.
        """
        try:
            with self._restoring:
                result = CaptionResult.from_dict(read_json(text))
                same = result.checkpoint_sha256 == self.captioner.sha256
                decode = self.captioner.tokenizer.decode
                why = why_view(result, (lambda token: decode([token])) if same else None)
                return write_answer(result=result.to_dict(), why=why, same_checkpoint=same)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            IndexError,
            OverflowError,
            RecursionError,
        ) as error:
            log.info("A saved caption could not be read: %s", error)
            return write_answer(error="This file is not a caption that this page saved.")

    def supersede(self, page_and_run: Any) -> None:
        """The page has moved on to another run, or the user pressed Stop."""
        try:
            page, run = page_and_run
            self.memory.supersede(str(page)[:64], float(run))
        except (TypeError, ValueError):
            log.info("A supersede call of another form was ignored.")


def first_message(captioner: Captioner) -> str:
    """What the page knows from the start: tags, defaults, model."""
    return json.dumps(
        {
            "checkpoint": captioner.name,
            "sha256": captioner.sha256,
            "branches": list(captioner.config.branch_names),
            "decoding": dataclasses.asdict(captioner.default_decoding),
            "known_tags": list(captioner.known_tags()),
            "reads_tags": captioner.reads_tags,
            "tags_as_text": captioner.config.tag_rows == "text",
            "weights_are_relative": captioner.config.weights_are_relative,
            "tags_ordered": any(branch.ordered for branch in captioner.config.branches),
            "controls": list(captioner.config.controls),
            "end": captioner.tokenizer.decode([captioner.config.eos_token_id]),
            "longest": min(MAX_TOKENS, captioner.config.n_positions),
        }
    ).replace("<", "\\u003c")
