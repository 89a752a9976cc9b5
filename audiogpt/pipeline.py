"""CaptionRequest in, CaptionResult out: the one path of the page, the API and the command line."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch

from audiogpt.asking import Asking
from audiogpt.audio.embedding import MUSICNN_POOLED
from audiogpt.audio.tag_vocabulary import LABELS, contradicts
from audiogpt.captions import Caption, read_caption
from audiogpt.checkpoint_parts import load_parts
from audiogpt.checkpoints import DEFAULT_CHECKPOINT, CheckpointError, default_decoding
from audiogpt.consensus import compare, comparing
from audiogpt.context import Context
from audiogpt.decoding import Hypotheses, decode, decode_all
from audiogpt.devices import usable_device
from audiogpt.length import LengthModel
from audiogpt.listening import Listener, Listening, Progress
from audiogpt.model import AudioGPT
from audiogpt.request import (
    CaptionRequest,
    CaptionResult,
    Decoding,
    Partial,
    SegmentCaption,
    Tag,
    Track,
)
from audiogpt.request_rows import Inputs, prepare_inputs, reads_tags, weighted_heard
from audiogpt.results import by_label, caption_warnings, ranked_captions, versions
from audiogpt.rows import collate
from audiogpt.tags import TagTable
from audiogpt.token_words import TokenWords
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.trace import compute_trace, shapley_values

log = logging.getLogger(__name__)

MAX_BATCH = 16
SEGMENT_BATCH = 4  # stretches heard before their captions are shown
SUGGESTED_TAGS = 8
MIN_CONFIDENCE = 0.2
MIN_SEGMENT = 3.0  # s


class Captioner:
    """A loaded checkpoint with its tokenizer and its ears.

    One instance serves any number of requests and threads; nothing about a request is kept but the
    listening cache, which is keyed by the content of the audio, and the words of the latest tags
    and sentences, which later requests push out.
    """

    def __init__(
        self,
        model: AudioGPT,
        tokenizer: CaptionTokenizer,
        *,
        tag_table: TagTable | None = None,
        lengths: LengthModel | None = None,
        name: str = "unsaved",
        sha256: str = "",
        max_seconds: float | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.tag_table, self.lengths = tag_table, lengths
        self.config, self.name, self.sha256 = model.config, name, sha256
        if not self.config.branches:
            raise CheckpointError("This model has no branches, so there is nothing it can caption.")
        audio = next((branch for branch in self.config.branches if branch.name == "audio"), None)
        self.listener = Listener(
            # Without rows of sound only its tags count, and the tagger brings this embedding.
            self.config.audio_embedding if audio is not None else MUSICNN_POOLED,
            width=None if audio is None else audio.width,
            device=str(model.device),
            max_seconds=max_seconds,
        )
        self.default_decoding = default_decoding(self.config)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = DEFAULT_CHECKPOINT,
        *,
        device: str | None = None,
        max_seconds: float | None = None,
    ) -> Captioner:
        """Load a checkpoint folder or Hugging Face Hub id; the default device is a GPU if any.

        Tracks longer than `max_seconds` are refused (None: any length is taken). Raises ValueError
        in one sentence: CheckpointError for the checkpoint, or for a device that is not here.
        """
        parts = load_parts(name, device=usable_device(device))
        return cls(
            parts.model,
            parts.tokenizer,
            tag_table=parts.tag_table,
            lengths=parts.lengths,
            name=parts.name,
            sha256=parts.sha256,
            max_seconds=max_seconds,
        )

    @property
    def reads_tags(self) -> bool:
        """Whether tags reach the model by name."""
        return reads_tags(self.config, self.tag_table)

    def listen(self, track: Track, *, progress: Progress | None = None) -> Listening:
        """What is heard in a track; cached by content. Raises ValueError for unusable audio."""
        return self.listener.listen(track, progress=progress)

    def suggest_tags(self, tracks: Sequence[Track]) -> tuple[Tag, ...]:
        """The tags heard with the highest confidence, which becomes their weight.

        Of two tags that contradict each other only the surer one is suggested; none are for a
        checkpoint that cannot read tags.
        """
        if not self.reads_tags:
            return ()
        heard = weighted_heard([(self.listen(track), track.weight) for track in tracks])
        chosen: list[str] = []
        for tag in heard:
            if tag.confidence >= MIN_CONFIDENCE and not contradicts(tag.text, chosen):
                chosen.append(tag.text)
        confidence = {tag.text: round(tag.confidence, 2) for tag in heard}
        return tuple(Tag(text=text, weight=confidence[text]) for text in chosen[:SUGGESTED_TAGS])

    def known_tags(self) -> tuple[str, ...]:
        """Tags worth suggesting: the tag table's, or those the taggers can hear; none for a
        checkpoint that cannot read tags."""
        if not self.reads_tags:
            return ()
        table = self.tag_table if self.config.tag_rows == "features" else None
        return LABELS if table is None else table.words

    def warm_up(self) -> None:
        """Run everything once, so that the first visitor does not wait for it."""
        noise = np.random.default_rng(0).normal(0, 0.1, 4 * 16000).astype(np.float32)
        track = Track(waveform=noise, sample_rate=16000)
        request = CaptionRequest(tracks=(track,), tags=(Tag(text="rock"),))
        if self.config.text_format == "published":
            request = dataclasses.replace(request, decoding=Decoding(beams=1, max_tokens=4))
        self.caption(request)

    def caption(self, request: CaptionRequest, *, trace: bool = True) -> CaptionResult:
        """Caption a request. Raises ValueError, in one sentence, for input that cannot be used."""
        result = None
        for result in self.stream(request, trace=trace):  # noqa: B007 - the last one counts
            pass
        assert isinstance(result, CaptionResult)
        return result

    def stream(
        self, request: CaptionRequest, *, trace: bool = True
    ) -> Iterator[Partial | CaptionResult]:
        """Yield the running best hypothesis after each token, the result, then it with its trace.

        A caller that stops iterating stops the work. Raises as `caption` does.
        """
        request = self._resolved(request)
        decoding = request.decoding or self.default_decoding
        started = time.perf_counter()
        inputs = self._inputs(request)
        heard = time.perf_counter()
        asking = self._asking([inputs], decoding)
        context = self._encode([inputs], asking)
        encoded = time.perf_counter()
        state, partial = None, Partial(title="", description="", tokens=0)
        for state in decode(
            self.model,
            context,
            decoding,
            seeds=[request.seed],
            steering=asking.steering(),
        ):
            if not state.done:
                ids = state.ids(0, 0, self.config.eos_token_id)
                caption = self._read(ids, inputs.artist_names)
                partial = Partial(
                    title=caption.title, description=caption.description, tokens=len(ids)
                )
                yield partial
        assert state is not None
        draws: Sequence[Hypotheses] = ()
        for compared in comparing(self.model, context, asking, state, seeds=[request.seed]):
            if compared is None:
                yield partial  # a caller may stop while others are looked at
            else:
                state, draws = compared
        decoded = time.perf_counter()
        timings = {
            "listen": heard - started,
            "encode": encoded - heard,
            "decode": decoded - encoded,
        }
        result = self._result(request, inputs, asking, state, draws, 0, timings)
        yield result
        if trace:
            traced = by_label(compute_trace(self.model, context, result.tokens), inputs.rows)
            timings["trace"] = time.perf_counter() - decoded
            yield dataclasses.replace(result, trace=traced, timings=timings)

    def caption_batch(self, requests: Sequence[CaptionRequest]) -> list[CaptionResult]:
        """Caption several requests, decoded together where their decoding settings agree.

        Results carry no trace. Raises as `caption` does, before anything is decoded.
        """
        requests = [self._resolved(request) for request in requests]
        inputs = [self._inputs(request) for request in requests]
        # Published padding depends on which branches a request has, so those stay alone.
        limit = 1 if self.config.published_padding else MAX_BATCH
        results: dict[int, CaptionResult] = {}
        groups: dict[Decoding, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(request.decoding or self.default_decoding, []).append(index)
        for decoding, members in groups.items():
            for first in range(0, len(members), limit):
                batch = members[first : first + limit]
                started = time.perf_counter()
                asking = self._asking([inputs[i] for i in batch], decoding)
                context = self._encode([inputs[i] for i in batch], asking)
                seeds = [requests[i].seed for i in batch]
                state = decode_all(
                    self.model, context, decoding, seeds=seeds, steering=asking.steering()
                )
                state, draws = compare(self.model, context, asking, state, seeds=seeds)
                timings = {"decode": (time.perf_counter() - started) / len(batch)}
                for place, i in enumerate(batch):
                    results[i] = self._result(
                        requests[i], inputs[i], asking, state, draws, place, timings
                    )
        return [results[i] for i in range(len(requests))]

    def segments(
        self, request: CaptionRequest, *, seconds: float = 30.0
    ) -> Iterator[SegmentCaption]:
        """Caption every track stretch by stretch, each with the tags heard there.

        The request's artists, strengths and decoding settings hold throughout; its tags do not,
        because they describe the whole. Raises ValueError for stretches under 3 s.
        """
        if not MIN_SEGMENT <= seconds < math.inf:
            raise ValueError(f"Segments must last at least {MIN_SEGMENT:g} s, one embedding row.")
        for number, track in enumerate(request.tracks):
            listening = self.listen(track)
            end = track.start + listening.seconds
            last = max(end - MIN_SEGMENT, track.start) + 1e-3  # what is left over joins the last
            edges = np.arange(track.start, last, seconds).tolist()
            spans = list(zip(edges, [*edges[1:], end], strict=True))
            for first in range(0, len(spans), SEGMENT_BATCH):
                some = spans[first : first + SEGMENT_BATCH]
                self.listen(track)  # stays remembered, however many parts there are
                cuts = [dataclasses.replace(track, start=a, end=b, weight=1.0) for a, b in some]
                parts = [
                    dataclasses.replace(request, tracks=(cut,), tags=self.suggest_tags([cut]))
                    for cut in cuts
                ]
                for (a, b), result in zip(some, self.caption_batch(parts), strict=True):
                    yield SegmentCaption(
                        track=number,
                        start=a,
                        end=b,
                        title=result.title,
                        description=result.description,
                    )

    def shapley(self, result: CaptionResult) -> np.ndarray:
        """Exact Shapley values (W, M) in nats: what each branch adds to each word's log p."""
        inputs = [self._inputs(result.request)]
        decoding = result.request.decoding or self.default_decoding
        context = self._encode(inputs, self._asking(inputs, decoding))
        values = shapley_values(self.model, context, result.tokens)
        rows = [values[word.start : word.end].sum(0) for word in result.words]
        return np.stack(rows) if rows else np.zeros((0, len(self.config.branches)), np.float32)

    def _resolved(self, request: CaptionRequest) -> CaptionRequest:
        """The request with every default made explicit, so that it can be repeated."""
        return dataclasses.replace(request, decoding=request.decoding or self.default_decoding)

    def _inputs(self, request: CaptionRequest) -> Inputs:
        listenings = [self.listen(track) for track in request.tracks]
        return prepare_inputs(
            request, listenings, self.config, self.tokenizer, tag_table=self.tag_table
        )

    @torch.inference_mode()
    def _encode(self, items: Sequence[Inputs], asking: Asking) -> Context:
        rows = collate(self.config, [item.rows for item in items], device=self.model.device)
        names = self.config.branch_names
        strengths = torch.tensor([[item.strengths[name] for name in names] for item in items])
        return self.model.encode(
            rows, strengths=strengths.to(self.model.device), controls=asking.told()
        )

    @cached_property
    def _token_words(self) -> TokenWords:
        return TokenWords(self.tokenizer, self.config.vocab_size, formatting=self.config.formatting)

    def _asking(self, items: Sequence[Inputs], decoding: Decoding) -> Asking:
        return Asking(
            words=self._token_words,
            decoding=decoding,
            lengths=self.lengths,
            controls=self.config.controls,
            audible=[inputs.audible() for inputs in items],
            forbidden=[self._unnamed_artists(inputs) for inputs in items],
            device=self.model.device,
        )

    def _unnamed_artists(self, inputs: Inputs) -> list[int]:
        """Artist tokens that no name stands for; none where artists are ordinary text."""
        named = len(inputs.artist_names) if inputs.hears("artists") else 0
        return [token for token, rank in self.tokenizer.artist_ids.items() if rank >= named]

    def _read(self, ids: Sequence[int], names: Sequence[str]) -> Caption:
        return read_caption(
            self.tokenizer,
            ids,
            artists=names,
            text_format=self.config.text_format,
            formatting=self.config.formatting,
            exact=False,
        )

    def _result(
        self,
        request: CaptionRequest,
        inputs: Inputs,
        asking: Asking,
        state: Hypotheses,
        draws: Sequence[Hypotheses],
        item: int,
        timings: dict[str, float],
    ) -> CaptionResult:
        ranked = ranked_captions(
            state, item, self._read, inputs.artist_names, self.config, asking, draws
        )
        best, caption = ranked[0]
        warnings = caption_warnings(caption, best.tokens, self.config, asking.decoding)
        return CaptionResult(
            title=caption.title,
            description=caption.description,
            alternatives=tuple(alternative for alternative, _ in ranked),
            tokens=best.tokens,
            token_texts=tuple(self.tokenizer.decode([token]) for token in best.tokens),
            words=caption.words,
            trace=None,
            tags_heard=inputs.heard,
            rows=dict(inputs.rows.labels),
            row_times=inputs.row_times,
            timings=dict(timings),
            warnings=(*inputs.warnings, *warnings),
            request=inputs.request,
            checkpoint=self.name,
            checkpoint_sha256=self.sha256,
            versions=versions(),
        )
