"""Does the model do what its inputs say? Three checks: audio matters, tags steer, artists show."""

from __future__ import annotations

import random
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from audiogpt.length import LengthModel
from audiogpt.model import AudioGPT
from audiogpt.pipeline import Captioner
from audiogpt.request import Artist, CaptionRequest, Decoding, Tag
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.artist_sentences import draw_shares
from audiogpt.training.captioning import write_captions
from audiogpt.training.collate import Collator, to_device
from audiogpt.training.compose import compose
from audiogpt.training.dataset import Example, make_example
from audiogpt.training.losses import caption_log_probabilities
from audiogpt.training.pairs import Pair
from audiogpt.training.views import View
from audiogpt.words import all_words, content_words

CONTEXTS = 5
SYNONYMS: Mapping[str, str] = {
    "amateur": "home video",
    "e": "electric",
    "fast": "uptempo upbeat quick",
    "instrumental": "instrument",
    "uptempo": "fast upbeat",
    "upbeat": "uptempo fast lively",
    "moderate": "medium",
    "medium": "moderate",
    "tempo": "medium moderate pace speed",
    "noisy": "noise",
    "voice": "vocal singer vocalist sing singing",
    "vocal": "voice singer vocalist sing singing",
    "singer": "voice vocal vocalist sing singing",
    "singing": "voice vocal vocalist sing singer",
    "male": "man",
    "female": "woman",
    "classical": "orchestral",
    "drum": "percussion beat",
    "percussion": "drum",
    "bad": "poor low",
    "poor": "bad low",
    "emotional": "emotion",
    "electronic": "digital",
    "calming": "calm soothing relaxing",
    "happy": "joyful cheerful",
}
"""Words that count as a mention of a tag's word (plurals are folded)."""

_RAW_ARTIST = re.compile(r"artist\d", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class AudioMatters:
    """How well clips find their own description among an album's, from audio alone."""

    clips: int
    descriptions: int
    chance: float  # expected mean reciprocal rank of a random order
    mrr: float  # ranked by mean log-probability per token of the description
    mrr_gain: float  # ranked by how much the audio raises that over no input at all
    overlap: float  # mean share of a clip's facts that its own caption names, percent
    overlap_shuffled: float  # the same with captions of other clips


def audio_matters(
    model: AudioGPT,
    tokenizer: CaptionTokenizer,
    pairs: Sequence[Pair],
    embeddings: Mapping[str, np.ndarray],
    *,
    decoding: Decoding,
    lengths: LengthModel | None = None,
    facts: bool = False,
    seed: int = 0,
) -> AudioMatters:
    """Rank each clip's description among all, and compare captions with genre, moods, instruments.

    Descriptions are ranked without controls: nothing but the sound is told.
    `facts`: descriptions composed from genre, moods and instruments instead of the composer's.
    """
    dice = random.Random(seed)
    if facts:
        told = [[p.style, *p.moods[:2], *p.instruments[:4]] for p in pairs]
        texts = [" ".join(compose([fact for fact in some if fact], dice)) for some in told]
    else:
        pairs = [pair for pair in pairs if pair.sentences]
        texts = [pair.description for pair in pairs]
    clips = [(i, clip) for i, pair in enumerate(pairs) for clip in pair.audio]
    blank = View(title="", description="")
    heard = [make_example(replace(blank, audio=clip), tokenizer, embeddings) for _, clip in clips]
    written = list(write_captions(model, tokenizer, heard, decoding, lengths=lengths))
    ranks, gains = [], []
    for (own, _), example, caption in zip(clips, heard, written, strict=True):
        candidates = [f"<title> {caption.title} <description> {text}" for text in texts]
        given = _description_scores(model, tokenizer, candidates, example)
        nothing = _description_scores(model, tokenizer, candidates, Example(tokens=()))
        ranks.append(reciprocal_rank(given, own))
        gains.append(reciprocal_rank(given - nothing, own))
    known = [_fact_words(pairs[i]) for i, _ in clips]
    said = [set(all_words(f"{w.title} {w.description}")) for w in written]
    shares = np.array([[len(k & s) / max(len(k), 1) for s in said] for k in known])
    others = ~np.eye(len(clips), dtype=bool)
    n = len(texts)
    return AudioMatters(
        clips=len(clips),
        descriptions=n,
        chance=sum(1 / k for k in range(1, n + 1)) / n,
        mrr=statistics.fmean(ranks),
        mrr_gain=statistics.fmean(gains),
        overlap=100 * float(shares.diagonal().mean()),
        overlap_shuffled=100 * float(shares[others].mean()),
    )


def reciprocal_rank(scores: torch.Tensor, own: int) -> float:
    """Expected reciprocal rank of one of the scores (n,), those equal to it in a random order: to a
    model that hears nothing all are equal, and that must not count as finding the right one."""
    higher = int((scores > scores[own]).sum())
    places = range(higher + 1, higher + 1 + int((scores == scores[own]).sum()))
    return statistics.fmean(1 / place for place in places)


def _fact_words(pair: Pair) -> set[str]:
    facts = (pair.style, *pair.moods, *pair.instruments)
    return set().union(*(content_words(fact) for fact in facts))


def _description_scores(
    model: AudioGPT, tokenizer: CaptionTokenizer, captions: Sequence[str], rows: Example
) -> torch.Tensor:
    """Mean log-probability per token of each caption's description: (n,)."""
    marker = tokenizer.token_id("<description>")
    examples, firsts = [], []
    for caption in captions:
        ids = [tokenizer.bos_id, *tokenizer.encode(caption), tokenizer.eos_id]
        examples.append(replace(rows, tokens=tuple(ids[: model.config.n_positions])))
        firsts.append(ids.index(marker) if marker in ids else 0)
    batch = to_device(Collator(model.config)(examples), model.device)
    for row, first in enumerate(firsts):
        batch["labels"][row, :first] = -100
    sums, counts = caption_log_probabilities(model, **batch)
    return (sums / counts).cpu()


@dataclass(frozen=True, kw_only=True)
class TagsSteer:
    """Whether switching a tag on makes the caption mention it."""

    mentioned: float  # percent of all (tag, context) cases
    mentioned_anyway: float  # the same without the tag
    by_tag: Mapping[str, int]  # contexts, of five, in which each tag is mentioned
    zero_is_absent: bool  # weight 0 gives the same tokens as leaving the tag out, in every case


def commonest_tags(pairs: Sequence[Pair], count: int = 60) -> list[str]:
    """The tags of most rows."""
    return [tag for tag, _ in Counter(t for p in pairs for t in p.tags).most_common(count)]


def tags_steer(
    model: AudioGPT,
    tokenizer: CaptionTokenizer,
    tags: Sequence[str],
    contexts: Sequence[Sequence[str]],
    *,
    decoding: Decoding,
    lengths: LengthModel | None = None,
) -> TagsSteer:
    """Put each tag into each context (a tag list without its words), at weights 1, 0 and not."""
    cases = []
    for tag in tags:
        free = [c for c in contexts if not content_words(tag) & content_words(" ".join(c))]
        chosen = random.Random(tag).sample(free, min(CONTEXTS, len(free)))
        cases += [(tag, context) for context in chosen]
    blank = View(title="", description="")

    def views(weight: float | None) -> list[Example]:
        rows = [
            [(t, 1.0) for t in context] + ([] if weight is None else [(tag, weight)])
            for tag, context in cases
        ]
        return [make_example(replace(blank, tags=tuple(r)), tokenizer, {}) for r in rows]

    on, zero, off = (
        list(write_captions(model, tokenizer, views(weight), decoding, lengths=lengths))
        for weight in (1.0, 0.0, None)
    )
    hits: Counter[str] = Counter(dict.fromkeys(tags, 0))
    anyway = 0
    for (tag, _), with_it, without in zip(cases, on, off, strict=True):
        hits[tag] += mentions(tag, f"{with_it.title} {with_it.description}")
        anyway += mentions(tag, f"{without.title} {without.description}")
    return TagsSteer(
        mentioned=100 * sum(hits.values()) / len(cases),
        mentioned_anyway=100 * anyway / len(cases),
        by_tag=dict(hits),
        zero_is_absent=all(z.tokens == o.tokens for z, o in zip(zero, off, strict=True)),
    )


def mentions(tag: str, text: str) -> bool:
    """Whether a text has most of a tag's content words, both of two, or listed synonyms."""
    said = set(all_words(text))
    wanted = content_words(tag) or set(all_words(tag))
    found = sum(bool({word, *SYNONYMS.get(word, "").split()} & said) for word in wanted)
    return 2 * found > len(wanted)


@dataclass(frozen=True, kw_only=True)
class ArtistsShow:
    """What happens to artists in random requests."""

    requests: int
    raw_tokens: int  # captions with an artist token left in them
    nameless: int  # captions that mention a rank without a name
    named: float  # percent of captions that name an artist
    same_wording: float  # percent of captions alike for one dominating artist and an even mix


def artists_show(
    model: AudioGPT,
    tokenizer: CaptionTokenizer,
    tag_lists: Sequence[Sequence[str]],
    *,
    decoding: Decoding,
    lengths: LengthModel | None = None,
    requests: int = 1000,
    seed: int = 0,
) -> ArtistsShow:
    """Caption random requests with artists, and pairs that differ in the shares alone."""
    dice = random.Random(seed)
    captioner = Captioner(model, tokenizer, lengths=lengths)
    names = [f"Name{letter}" for letter in "ABCDEFGHIJ"]
    drawn = [
        (dice.choice(tag_lists)[: dice.randint(1, 6)], draw_shares(dice)) for _ in range(requests)
    ]
    texts = _artist_captions(captioner, drawn, names, decoding)
    few = [tags for tags, _ in drawn[:50]]
    alone = (0.9, 0.05, 0.05) + (0.0,) * 7
    even = (1 / 3, 1 / 3, 1 / 3) + (0.0,) * 7
    one = _artist_captions(captioner, [(t, alone) for t in few], names, decoding)
    mix = _artist_captions(captioner, [(t, even) for t in few], names, decoding)
    return ArtistsShow(
        requests=requests,
        raw_tokens=sum(bool(_RAW_ARTIST.search(text)) for text, _ in texts),
        nameless=sum(unnamed for _, unnamed in texts),
        named=100 * statistics.fmean("Name" in text for text, _ in texts),
        same_wording=100 * statistics.fmean(a[0] == b[0] for a, b in zip(one, mix, strict=True)),
    )


def _artist_captions(
    captioner: Captioner,
    requests: Sequence[tuple[Sequence[str], tuple[float, ...]]],
    names: Sequence[str],
    decoding: Decoding,
) -> list[tuple[str, bool]]:
    """(title and description, whether a rank without a name is mentioned), as users get them."""
    results = captioner.caption_batch(
        [
            CaptionRequest(
                tags=tuple(Tag(text=tag) for tag in tags),
                artists=tuple(
                    Artist(name=name, share=share)
                    for name, share in zip(names, shares, strict=True)
                    if share > 0
                ),
                decoding=decoding,
                seed=seed,
            )
            for seed, (tags, shares) in enumerate(requests)
        ]
    )
    return [
        (f"{r.title}. {r.description}", any("more artists" in w for w in r.warnings))
        for r in results
    ]
