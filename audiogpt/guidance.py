"""Coverage and invention as terms of the search: beams are paid for the tags' words they use.

What a hypothesis is paid is added to its normalised log-probability: `coverage` times the share of
the tags' content words that its description uses (words count with their tags' weights), half as
much for the share of the tags of several words that one sentence tells whole, minus `invention` for
each instrument word that no tag names, for each word that a tag rules out ("no percussion"), and
for each time a sentence says a tag's word again. What a tag rules out is paid for after a negation
in the same sentence alone, and a tag of one word gives back what it earned with each further
sentence that tells it. `reranking` computes the same score exactly, from the text; here it steers
the search token by token: a word of several tokens is paid for piece by piece, and what was
paid is taken back when it turns out otherwise. Beyond that score, a title is charged for what it
invents while it is written. Log-probabilities are means over the tokens so far,
so the payments weigh little in the first words, and more the nearer the end comes. Nothing is paid
for a token that the model itself finds absurd at its place (`PLAUSIBLE`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audiogpt.request import Decoding
from audiogpt.reranking import TOGETHER, phrase_weights, single_words
from audiogpt.token_words import TokenWords
from audiogpt.words import INSTRUMENTS, NEGATIONS, all_words, content_words, denied_words

WeightedTags = Sequence[tuple[str, float]]

PLAUSIBLE = -6.0  # nats: the least log-probability of a token that is paid for
MANY = 1000  # times that a sentence may say a word
EVERYWHERE, DENIED, AFFIRMED = 0, 1, -1  # in a sentence, where a word counts


def wants_guidance(decoding: Decoding, tags: WeightedTags) -> bool:
    """Whether these tags say anything to the search."""
    used = any(weight > 0 for _, weight in tags)
    return used and bool(decoding.coverage or decoding.invention)


class Guidance:
    """What the words of the tags are worth to the hypotheses of B items.

    Letters in shape comments: B items, K hypotheses, S spellings, W words, P tags of several words,
    T columns of W for those, V vocabulary.
    """

    def __init__(
        self,
        words: TokenWords,
        items: Sequence[WeightedTags],
        decoding: Decoding,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.words, self.repeated = words, float(decoding.invention)
        self.paid = [wants_guidance(decoding, tags) for tags in items]
        tables = [_Item(words, tags, decoding) for tags in items]
        B = len(items)
        S = max(1, *(len(table.spellings) for table in tables))
        W = max(1, *(len(table.gains) for table in tables))
        L = max([1, *(len(ids) for table in tables for ids in table.spellings)])
        self.spellings = torch.full((B, S, L + 1), -1)
        self.lengths = torch.ones(B, S, dtype=torch.long)
        self.word = torch.zeros(B, S, dtype=torch.long)
        self.gains = torch.zeros(B, W)
        self.allowed = torch.full((B, W), MANY)
        self.returns = torch.zeros(B, W)
        self.where = torch.full((B, W), EVERYWHERE)
        self.negation = torch.zeros(B, W, dtype=torch.bool)
        P = max(1, *(len(table.phrases) for table in tables))
        # The tags' words come first: the instruments that no tag names need no columns here.
        T = max([1, *(1 + max(ids) for table in tables for ids, _ in table.phrases)])
        self.phrases = torch.zeros(B, P, T, dtype=torch.bool)
        self.whole = torch.zeros(B, P)
        for b, table in enumerate(tables):
            for s, (ids, word) in enumerate(zip(table.spellings, table.word_of, strict=True)):
                self.spellings[b, s, : len(ids)] = torch.tensor(ids)
                self.lengths[b, s], self.word[b, s] = len(ids), word
            self.gains[b, : len(table.gains)] = torch.tensor(table.gains)
            self.allowed[b, : len(table.allowed)] = torch.tensor(table.allowed)
            self.returns[b, : len(table.returns)] = torch.tensor(table.returns)
            self.where[b, : len(table.where)] = torch.tensor(table.where)
            if table.negation is not None:
                self.negation[b, table.negation] = True
            for p, (members, gain) in enumerate(table.phrases):
                self.phrases[b, p, members] = True
                self.whole[b, p] = gain
        for name in (
            *("spellings", "lengths", "word", "gains", "allowed", "returns", "where", "negation"),
            *("phrases", "whole"),
        ):
            setattr(self, name, getattr(self, name).to(device))
        self.first = self.spellings[:, None, :, 0]  # (B, 1, S): their first tokens
        self.continuing, self.stop = (~words.boundary).to(device), words.stop.to(device)  # (V,)

    def lacking(self, in_sentence: Tensor) -> Tensor:
        """The words of each tag that the sentences (B, K, W) do not have: bool (B, K, P, T)."""
        return self.phrases[:, None] & (in_sentence[..., : self.phrases.shape[-1]] == 0)[:, :, None]

    def start(self) -> GuidanceState:
        """The state before the first token, with one hypothesis per item."""
        device = self.word.device
        (B, S), W = self.word.shape, self.gains.shape[1]
        begun = self.words.description_id is None
        return GuidanceState(
            guidance=self,
            progress=torch.zeros(B, 1, S, dtype=torch.long, device=device),
            said=torch.zeros(B, 1, W, dtype=torch.bool, device=device),
            in_sentence=torch.zeros(B, 1, W, dtype=torch.long, device=device),
            recent=torch.zeros(B, 1, W, dtype=torch.bool, device=device),
            new=torch.zeros(B, 1, W, dtype=torch.bool, device=device),
            told=torch.zeros(B, 1, self.whole.shape[1], dtype=torch.bool, device=device),
            new_told=torch.zeros(B, 1, self.whole.shape[1], dtype=torch.bool, device=device),
            fresh=torch.zeros(B, 1, device=device),
            credit=torch.zeros(B, 1, device=device),
            described=torch.full((B, 1), begun, device=device),
            total=torch.zeros(B, 1, device=device),
        )


class _Candidates(NamedTuple):
    """The next tokens of spellings that hypotheses have begun, the first of all, and their worth.

    What every token is paid needs them first, then the growth of the hypotheses that were chosen.
    """

    next_ids: Tensor  # (B, K, S): the next token of each begun spelling, or -1
    worth: Tensor  # (B, K, 2 S): of these and of the first tokens, the word's, by the share written
    whole: Tensor  # (B, K, 2 S): and whether that is all of the word
    counts: Tensor  # (B, K, W): the words that count at this place of the sentence


@dataclass(frozen=True)
class GuidanceState:
    """What the hypotheses have said so far; `total` (B, K) is what they were paid."""

    guidance: Guidance
    progress: Tensor  # (B, K, S): tokens of each spelling that the text ends with
    said: Tensor  # (B, K, W)
    in_sentence: Tensor  # (B, K, W): times in the present sentence
    recent: Tensor  # (B, K, W): the words that the last token completed,
    new: Tensor  # (B, K, W): those of them that the text had not before,
    told: Tensor  # (B, K, P): tags that a sentence has told whole,
    new_told: Tensor  # (B, K, P): and those of them that the last token completed,
    fresh: Tensor  # (B, K): and what was paid for them; the next token may make others of them
    credit: Tensor  # (B, K): paid in advance for an unfinished word
    described: Tensor  # (B, K): the description has begun
    total: Tensor  # (B, K)

    def payments(self, log_p: Tensor) -> Tensor:
        """What each possible next token is paid, of log-probabilities log_p: both (B, K, V)."""
        guidance, candidates = self.guidance, self._candidates
        first = guidance.first.expand_as(candidates.next_ids)
        # A word that is not finished gives back what was paid for its beginning; a word that goes
        # on after all was not the word it seemed.
        begun, going_on = -self.credit[..., None], -self.credit[..., None] - self.fresh[..., None]
        paid = torch.where(guidance.continuing, going_on, begun)
        ids = torch.cat([candidates.next_ids, first], dim=-1).clamp(min=0)
        plausible = log_p.gather(-1, ids) >= PLAUSIBLE
        gains = torch.where(plausible, candidates.worth.clamp(min=0), 0.0)
        losses = torch.where(candidates.whole, candidates.worth.clamp(max=0), 0.0)
        # In place: tables over the vocabulary are most of what a step of many requests costs.
        paid += torch.zeros_like(paid).scatter_reduce_(-1, ids, gains, "amax")
        paid += torch.zeros_like(paid).scatter_reduce_(-1, ids, losses, "amin")
        return paid

    def advance(
        self, beam: Tensor, token: Tensor, payments: Tensor, log_p: Tensor
    ) -> GuidanceState:
        """The state of hypotheses `beam` (B, K') grown by `token`, with its payments (0 for those
        that had ended) and log-probabilities, all (B, K')."""
        tables: dict[str, Any] = {
            field.name: _pick(getattr(self, field.name), beam)
            for field in fields(self)
            if field.name != "guidance"
        }
        candidates = _Candidates(*(_pick(table, beam) for table in self._candidates))
        return replace(self, **tables)._grown(candidates, token, payments, log_p >= PLAUSIBLE)

    def _grown(
        self, candidates: _Candidates, token: Tensor, payments: Tensor, plausible: Tensor
    ) -> GuidanceState:
        """The state after one more token (B, K) each; `candidates` are those of this state."""
        guidance, words = self.guidance, self.guidance.words
        continues = guidance.continuing[token]  # (B, K)
        said = self.said & ~(self.new & continues[..., None])
        in_sentence = self.in_sentence - (self.recent & continues[..., None]).long()
        goes_on = candidates.next_ids == token[..., None]
        begins = guidance.first == token[..., None]
        progress = torch.where(goes_on, self.progress + 1, begins.long())
        complete = (progress == guidance.lengths[:, None]) & (goes_on | begins)
        word = guidance.word[:, None].expand_as(progress)
        done = torch.zeros_like(in_sentence).scatter_reduce(-1, word, complete.long(), "amax") > 0
        reached = torch.cat([goes_on, begins & ~goes_on], dim=-1)
        worth = torch.where(reached, candidates.worth, 0.0)
        worth = torch.where(plausible[..., None], worth, worth.clamp(max=0))
        whole = torch.where(candidates.whole, worth, 0.0)
        begun = torch.where(candidates.whole, 0.0, worth).clamp(min=0).amax(-1)
        stop, described = guidance.stop[token], self.described
        if words.description_id is not None:
            begins_now = token == words.description_id  # and what the title said is another text
            stop, described = stop | begins_now, described | begins_now
        new = done & ~said & described[..., None] & candidates.counts
        told = self.told & ~(self.new_told & continues[..., None])
        in_sentence = in_sentence + done.long()
        lacking = guidance.lacking(in_sentence).any(-1)
        new_told = ~lacking & ~told & described[..., None] & (guidance.whole > 0)[:, None]
        return replace(
            self,
            progress=progress,
            said=said | new,
            in_sentence=torch.where(stop[..., None], 0, in_sentence),
            recent=done,
            new=new,
            told=told | new_told,
            new_told=new_told,
            fresh=whole.amax(-1).clamp(min=0) + whole.amin(-1).clamp(max=0),
            credit=(begun - whole.amax(-1).clamp(min=0)).clamp(min=0),
            described=described,
            total=self.total + payments,
        )

    @cached_property
    def _candidates(self) -> _Candidates:
        """What may come next: needed for what every token is paid, and then for those chosen."""
        guidance = self.guidance
        spellings = guidance.spellings[:, None].expand(-1, self.progress.shape[1], -1, -1)
        next_ids = spellings.gather(-1, self.progress[..., None])[..., 0]
        next_ids = torch.where(self.progress > 0, next_ids, -1)
        denying = ((self.in_sentence > 0) & guidance.negation[:, None]).any(-1, keepdim=True)
        where = guidance.where[:, None]
        counts = torch.where(denying, where != AFFIRMED, where != DENIED)
        gains = torch.where(self.said | ~counts, 0.0, guidance.gains[:, None])
        gains = torch.where(self.described[..., None], gains, gains.clamp(max=0))
        # A tag's last word in a sentence that has its others is worth the whole tag, too.
        lacking = guidance.lacking(self.in_sentence)
        last = lacking & (lacking.sum(-1, keepdim=True) == 1) & ~self.told[..., None]
        whole = (last * guidance.whole[:, None, :, None]).sum(2)  # (B, K, T)
        gains[..., : whole.shape[-1]] += torch.where(self.described[..., None], whole, 0.0)
        again = self.in_sentence >= guidance.allowed[:, None]
        retold = self.said & (self.in_sentence == 0)
        worth = gains - guidance.repeated * again - guidance.returns[:, None] * retold  # (B, K, W)
        value = worth.gather(-1, guidance.word[:, None].expand_as(next_ids))
        lengths = guidance.lengths[:, None]
        first = torch.where(guidance.first >= 0, value, 0.0)
        value = torch.cat([torch.where(next_ids >= 0, value, 0.0), first], dim=-1)
        share = torch.cat([(self.progress + 1) / lengths, (1 / lengths).expand_as(first)], dim=-1)
        return _Candidates(next_ids, value * share, share >= 1, counts)


def _pick(table: Tensor, beam: Tensor) -> Tensor:
    """(B, K) or (B, K, n) -> that of the hypotheses `beam` (B, K')."""
    if table.ndim == 2:
        return table.gather(1, beam)
    return table.gather(1, beam[..., None].expand(-1, -1, table.shape[-1]))


class _Item:
    """The words of one item's tags, and the instruments that they do not name, as spellings."""

    def __init__(self, words: TokenWords, tags: WeightedTags, decoding: Decoding) -> None:
        self.spellings: list[list[int]] = []
        self.word_of: list[int] = []
        self.gains: list[float] = []
        self.allowed: list[int] = []
        self.returns: list[float] = []
        self.where: list[int] = []
        self.phrases: list[tuple[list[int], float]] = []  # places of a tag's words, and their gain
        self.negation: int | None = None  # the word that any negation is
        tags = [(tag, weight) for tag, weight in tags if weight > 0]
        if not wants_guidance(decoding, tags):
            return
        weights: dict[str, float] = {}
        forms: dict[str, set[str]] = {}
        times: Counter[str] = Counter()
        for tag, weight in tags:
            wanted = content_words(tag)
            times.update(wanted)
            for surface in tag.lower().replace("-", " ").replace("/", " ").split():
                for word in sorted(wanted.intersection(all_words(surface))):
                    forms.setdefault(word, set()).update({surface.strip(".,;:()'\""), word})
                    weights[word] = max(weights.get(word, 0.0), weight)
        single = single_words(tags)
        total = sum(weights.values())
        denied = denied_words(tag for tag, _ in tags)
        if denied:
            self.negation = 0
            self._add(words, sorted(NEGATIONS | {"lacks"}), 0.0)  # which folds into "lack"
        columns: dict[str, int] = {}
        for word, weight in weights.items():
            columns[word] = len(self.gains)
            spelled = sorted(form for form in forms[word] | {word + "s"} if form)
            gain = decoding.coverage * weight / total
            if word in denied:
                self._add(words, spelled, gain, times[word], where=DENIED)
                self._add(words, spelled, -decoding.invention, where=AFFIRMED)
            else:
                returned = gain if word in single else 0.0
                self._add(words, spelled, gain, times[word], returned=returned)
        phrases = phrase_weights(tags)
        weight_of_all = sum(phrases.values())
        for phrase, weight in phrases.items():
            gain = TOGETHER * decoding.coverage * weight / weight_of_all
            self.phrases.append(([columns[word] for word in sorted(phrase)], gain))
        given = {word for tag, _ in tags for word in all_words(tag)}
        for instrument in sorted(INSTRUMENTS - given):
            self._add(words, [instrument, instrument + "s"], -decoding.invention)

    def _add(
        self,
        words: TokenWords,
        forms: Sequence[str],
        gain: float,
        allowed: int = MANY,
        *,
        returned: float = 0.0,
        where: int = EVERYWHERE,
    ) -> None:
        for ids in words.spellings(forms):
            self.spellings.append(ids)
            self.word_of.append(len(self.gains))
        self.gains.append(gain)
        self.allowed.append(allowed)
        self.returns.append(returned)
        self.where.append(where)
