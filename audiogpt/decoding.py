"""From a context to token ids: beam search as PlayNTell published it, and what goes beyond it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from audiogpt.context import Context
from audiogpt.guidance import Guidance, WeightedTags, wants_guidance
from audiogpt.layers import Cache
from audiogpt.length import LengthTerm
from audiogpt.limits import InTime, Limits, banned_tokens
from audiogpt.model import AudioGPT, log_softmax
from audiogpt.request import Decoding
from audiogpt.token_words import Said, TokenWords

# The published code gives a finished beam's other continuations this score instead of -inf.
FROZEN = -999.0
# Sorting a vocabulary takes longer than the model: a nucleus seldom has more tokens than this.
NUCLEUS = 256


@dataclass(frozen=True)
class Hypotheses:
    """B items with K hypotheses each, best first; the state after each step and the final one."""

    tokens: Tensor  # (B, K, T); after the end token come zeros
    log_probabilities: Tensor  # (B, K, T); 0 after the end token
    scores: Tensor  # (B, K): what ranks them
    finished: Tensor  # (B, K)
    done: bool

    def ids(self, item: int, rank: int, eos: int) -> list[int]:
        """Token ids of one hypothesis up to and including its end token."""
        ids = self.tokens[item, rank].tolist()
        return ids[: ids.index(eos) + 1] if eos in ids else ids


@dataclass(frozen=True)
class Steering:
    """What decoding knows beside the model. Without `words`, `no_repeat_ngram` counts tokens, and
    `max_words` is not kept; `guidance` and `length` add to the scores of beams."""

    forbidden: Sequence[Sequence[int]] = ()  # per item, ids that it must not contain
    words: TokenWords | None = None
    guidance: Guidance | None = None
    length: LengthTerm | None = None

    @property
    def reranked(self) -> bool:
        """Whether finished hypotheses are ordered again by their texts."""
        return self.guidance is not None or self.length is not None


NO_STEERING = Steering()


def steer(
    words: TokenWords,
    tags: Sequence[WeightedTags],
    decoding: Decoding,
    *,
    device: torch.device | str = "cpu",
    forbidden: Sequence[Sequence[int]] = (),
    gains: Sequence[np.ndarray | None] = (),
) -> Steering:
    """What the settings ask for, given the tags of each item and what lengths gain (`length`)."""
    guided = any(wants_guidance(decoding, some) for some in tags)
    aimed = any(some is not None for some in gains)
    # By the settings, not by the tags: an item must not depend on those beside it.
    asked = decoding.counts_words or decoding.coverage or decoding.invention
    return Steering(
        forbidden=forbidden,
        words=words if asked or aimed else None,
        guidance=Guidance(words, tags, decoding, device=device) if guided else None,
        length=LengthTerm(gains, device=device) if aimed else None,
    )


def decode(
    model: AudioGPT,
    context: Context,
    decoding: Decoding,
    *,
    seeds: Sequence[int] = (),
    eos: int | None = None,
    stop_early: bool = True,
    steering: Steering = NO_STEERING,
) -> Iterator[Hypotheses]:
    """Yield the hypotheses after every step; the last has `done` set.

    `seeds` (one per item, for sampling) make an item's draws independent of its batch. `eos`
    replaces the configuration's end token. With `stop_early` the search ends as soon as the best
    `n_best` hypotheses can no longer change.
    """
    run = _sample if decoding.method == "sample" else _beam_search
    eos = model.config.eos_token_id if eos is None else eos
    limits = Limits(
        banned_tokens(model, context.batch, steering.forbidden),
        decoding,
        steering.words,
        eos,
        None if decoding.method == "sample" else InTime(context.batch),
        steering.length is not None,
        steering.guidance.paid if decoding.method == "beam" and steering.guidance else (),
    )
    steps = run(model, context, decoding, seeds, eos, limits, steering)
    while True:
        # inference mode must not leak into the caller between two steps
        with torch.inference_mode():
            state = next(steps, None)
        if state is None:
            return
        if stop_early and not state.done and _settled(state, decoding, steering.reranked):
            state = replace(state, done=True)
        if state.done and limits.aimed and limits.in_time is not None:
            state = Hypotheses(
                *limits.in_time.compete(
                    state.tokens, state.log_probabilities, state.scores, state.finished
                ),
                done=True,
            )
        yield state
        if state.done:
            return


def decode_all(
    model: AudioGPT,
    context: Context,
    decoding: Decoding,
    *,
    seeds: Sequence[int] = (),
    eos: int | None = None,
    stop_early: bool = True,
    steering: Steering = NO_STEERING,
) -> Hypotheses:
    """The final hypotheses of `decode`."""
    steps = decode(
        model,
        context,
        decoding,
        seeds=seeds,
        eos=eos,
        stop_early=stop_early,
        steering=steering,
    )
    return deque(steps, maxlen=1)[0]


def _settled(state: Hypotheses, decoding: Decoding, reranked: bool) -> bool:
    """Whether further steps leave the best `n_best` hypotheses of every item as they are."""
    if decoding.method == "sample":
        return bool(state.finished.all())
    n = min(decoding.n_best, state.finished.shape[1])
    if reranked or decoding.consensus:  # among all of them
        n = state.finished.shape[1]
    # Log-probabilities only fall, so an open hypothesis scores at most its sum over the largest
    # length it may reach.
    sums = state.log_probabilities.sum(-1)
    bound = sums / float(decoding.max_tokens) ** decoding.length_penalty
    bound = torch.where(state.finished, -torch.inf, bound).max(1).values  # (B,)
    return bool((state.finished[:, :n].all(1) & (state.scores[:, n - 1] >= bound)).all())


def _beam_search(
    model: AudioGPT,
    context: Context,
    decoding: Decoding,
    seeds: Sequence[int],
    eos: int,
    limits: Limits,
    steering: Steering,
) -> Iterator[Hypotheses]:
    B, K, device = context.batch, decoding.beams, model.device
    guided = steering.guidance.start() if steering.guidance is not None else None
    frozen = -torch.inf if decoding.max_words else FROZEN
    length = min(decoding.max_tokens, model.config.n_positions)
    cache = Cache(model.config, B, length, device, dtype=model.dtype)
    last = torch.full((B, 1), model.config.bos_token_id, device=device)
    tokens = torch.zeros(B, 1, 0, dtype=torch.long, device=device)
    history = torch.zeros(B, 1, 0, device=device)  # log-probability of each token
    sums = torch.zeros(B, 1, device=device)
    finished = torch.zeros(B, 1, dtype=torch.bool, device=device)
    lengths = torch.zeros(B, 1, device=device)
    words = torch.zeros(B, 1, dtype=torch.long, device=device)  # counted for the length term
    for step in range(length):
        log_p = log_softmax(model(last, context, cache=cache, last_only=True)[:, -1])
        V = log_p.shape[-1]
        said = limits.forbid(log_p, tokens.flatten(0, 1), finished.flatten())
        log_p = log_p.view(B, -1, V)
        # Tables of (B, K, V) are changed in place: making new ones costs more than what is added.
        totals = sums[..., None] + log_p
        # A finished beam stays in the running: its first entry carries its score.
        totals.masked_fill_(finished[..., None], frozen)
        totals[..., 0] = torch.where(finished, sums, totals[..., 0])
        new_lengths = lengths + (~finished).float()
        ranked = totals / new_lengths.clamp(min=1)[..., None] ** decoding.length_penalty
        payments = None
        if guided is not None:
            payments = guided.payments(log_p).masked_fill_(finished[..., None], 0.0)  # (B, K, V)
            ranked += guided.total[..., None]
            ranked += payments
        if steering.length is not None:
            words = _words(said, words)
            ends = steering.length.ended(words)  # (B, K)
            goes_on = torch.where(finished, ends, steering.length.open(words))
            ranked += goes_on[..., None]
            ranked[..., eos] += ends - goes_on
        limits.remember(said, ranked[..., eos], log_p[..., eos], tokens, history)
        scores, flat = ranked.view(B, -1).topk(min(K, ranked[0].numel()), dim=1)
        beam, word = flat // V, flat % V  # (B, K)
        was_finished = finished.gather(1, beam)
        added = torch.where(was_finished, 0.0, log_p.reshape(B, -1).gather(1, flat))
        if guided is not None and payments is not None:
            guided = guided.advance(beam, word, payments.view(B, -1).gather(1, flat), added)
        sums, words = totals.view(B, -1).gather(1, flat), words.gather(1, beam)
        history = torch.cat([_pick(history, beam), added[..., None]], dim=-1)
        tokens = torch.cat([_pick(tokens, beam), word[..., None]], dim=-1)
        # Where beams were dropped there may be too few to fill the places: those stay empty.
        finished = was_finished | (word == eos) | sums.isneginf()
        lengths = new_lengths.gather(1, beam)
        offsets = torch.arange(B, device=device)[:, None] * log_p.shape[1]
        cache.reorder((beam + offsets).view(-1))
        last = word.view(-1, 1)
        shown = (tokens, history, scores)
        if limits.in_time is not None:
            shown = limits.in_time.fill(*shown)
        yield Hypotheses(*shown, finished, step + 1 == length)


def _words(said: Sequence[Said | None], before: Tensor) -> Tensor:
    """Words of each hypothesis (B, K) now; `before`, for those that had ended."""
    now = [
        known if text is None else text.spaced
        for text, known in zip(said, before.flatten().tolist(), strict=True)
    ]
    return torch.tensor(now, dtype=before.dtype, device=before.device).view_as(before)


def _pick(values: Tensor, beam: Tensor) -> Tensor:
    """(B, K, T) -> (B, K', T): for each item the beams named by `beam` (B, K')."""
    return values.gather(1, beam[..., None].expand(-1, -1, values.shape[-1]))


def _sample(
    model: AudioGPT,
    context: Context,
    decoding: Decoding,
    seeds: Sequence[int],
    eos: int,
    limits: Limits,
    steering: Steering,
) -> Iterator[Hypotheses]:
    """Nucleus sampling (Holtzman et al., 2020): n_best independent draws per item.

    Scores are the sums of log-probabilities under the model itself, without temperature; draws are
    not guided.
    """
    B, K, device = context.batch, decoding.n_best, model.device
    if len(seeds) != B:
        raise ValueError(f"Sampling needs one seed per item: {B}, not {len(seeds)}.")
    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    length = min(decoding.max_tokens, model.config.n_positions)
    cache = Cache(model.config, B * K, length, device, dtype=model.dtype)
    last = torch.full((B * K, 1), model.config.bos_token_id, device=device)
    tokens = torch.zeros(B * K, 0, dtype=torch.long, device=device)
    history = torch.zeros(B * K, 0, device=device)
    finished = torch.zeros(B * K, dtype=torch.bool, device=device)
    for step in range(length):
        log_p = log_softmax(model(last, context, cache=cache, last_only=True)[:, -1])
        allowed = log_p.clone()
        limits.forbid(allowed, tokens, finished)
        p = (allowed / decoding.temperature).softmax(-1)
        uniform = torch.cat([torch.rand(K, generator=generator) for generator in generators])
        word = torch.zeros_like(last[:, 0])
        word[~finished] = _draw(p[~finished], uniform.to(device)[~finished], decoding.top_p)
        added = torch.where(finished, 0.0, log_p.gather(1, word[:, None])[:, 0])
        tokens = torch.cat([tokens, word[:, None]], dim=1)
        history = torch.cat([history, added[:, None]], dim=1)
        finished = finished | (word == eos)
        last = word[:, None]
        done = step + 1 == length or bool(finished.all())
        state = (tokens.view(B, K, -1), history.view(B, K, -1), finished.view(B, K))
        if done:  # best first only at the end, so that a streamed draw does not change places
            order_by_score = state[1].sum(-1).argsort(stable=True, dim=1, descending=True)
            state = (
                _pick(state[0], order_by_score),
                _pick(state[1], order_by_score),
                state[2].gather(1, order_by_score),
            )
        yield Hypotheses(state[0], state[1], state[1].sum(-1), state[2], done)
        if done:
            return


def _draw(p: Tensor, uniform: Tensor, top_p: float) -> Tensor:
    """The token (N,) of p (N, V) at `uniform` (N,) in [0, 1) of the nucleus' mass.

    The nucleus is the smallest set of the likeliest tokens with mass `top_p`, in that order.
    """
    if top_p == 1:
        return _invert(p, uniform)
    kept, order = p.topk(min(NUCLEUS, p.shape[-1]))
    token = order.gather(1, _invert(_nucleus(kept, top_p), uniform)[:, None])[:, 0]
    wide = kept.sum(-1) < top_p
    if bool(wide.any()):
        kept, order = p[wide].sort(-1, descending=True)
        place = _invert(_nucleus(kept, top_p), uniform[wide])
        token[wide] = order.gather(1, place[:, None])[:, 0]
    return token


def _nucleus(ranked: Tensor, top_p: float) -> Tensor:
    return torch.where(ranked.cumsum(-1) - ranked < top_p, ranked, 0.0)


def _invert(p: Tensor, uniform: Tensor) -> Tensor:
    """Where the cumulative mass of p (N, V) first exceeds the share `uniform` (N,) of it: (N,)."""
    exact = torch.float32 if p.device.type == "mps" else torch.float64  # which Apple's GPUs lack
    mass = p.to(exact).cumsum(-1)
    place = torch.searchsorted(mass, uniform.to(exact)[:, None] * mass[:, -1:], right=True)[:, 0]
    # In float32 a share just below 1 may come to all of the mass.
    return torch.minimum(place, torch.searchsorted(mass, mass[:, -1:].contiguous())[:, 0])
