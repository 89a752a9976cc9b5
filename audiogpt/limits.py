"""What a caption must not do while it is written: banned tokens, repetition, too many words.

Letters in shape comments: B items, K hypotheses per item, N = B * K, T tokens, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.token_words import Said, TokenWords

DUE = -1.9  # nats: the log-probability of the artists together from which one has to come next
UNLIKELY = -2.3  # nats below the likeliest token


def banned_tokens(model: AudioGPT, items: int, forbidden: Sequence[Sequence[int]]) -> Tensor | None:
    """Mask (B, V) of what an item must never contain, or None if anything goes.

    The released model may write any token; ours never its start or padding. GPT-2 has one token
    for start, end and padding: as the end it stays allowed.
    """
    config = model.config
    markers = [] if config.published_padding else [config.bos_token_id, config.pad_token_id]
    markers = [token for token in markers if token != config.eos_token_id]
    if not markers and not any(forbidden):
        return None
    banned = torch.zeros(items, config.vocab_size, dtype=torch.bool)
    banned[:, markers] = True
    for item, tokens in enumerate(forbidden):
        banned[item, list(tokens)] = True
    return banned.to(model.device)


class InTime:
    """Per item, the best hypothesis that could have ended within the most words.

    It is the item's caption where all of its hypotheses run over. Where the search aims at a
    length, it also competes with those that did end.
    """

    def __init__(self, items: int) -> None:
        self.scores = [-float("inf")] * items
        self.tokens: list[Tensor | None] = [None] * items
        self.history: list[Tensor | None] = [None] * items

    def offer(self, item: int, score: float, tokens: Tensor, history: Tensor) -> None:
        """Remember tokens (T,) and their log-probabilities, end included, if they score higher."""
        if score > self.scores[item]:
            self.scores[item], self.tokens[item], self.history[item] = score, tokens, history

    def fill(
        self, tokens: Tensor, history: Tensor, scores: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Put it first where an item has lost all of its hypotheses: (B, K, T) twice, (B, K)."""
        lost = scores.isneginf().all(1).tolist()
        if not any(lost):
            return tokens, history, scores
        tokens, history, scores = tokens.clone(), history.clone(), scores.clone()
        for item, gone in enumerate(lost):
            mine, its = self.tokens[item], self.history[item]
            if gone and mine is not None and its is not None:
                tokens[item, 0], history[item, 0] = 0, 0.0
                tokens[item, 0, : len(mine)], history[item, 0, : len(its)] = mine, its
                scores[item, 0] = self.scores[item]
        return tokens, history, scores

    def compete(
        self, tokens: Tensor, history: Tensor, scores: Tensor, finished: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Put it in the last place where that holds a lower score or a text without an end, and
        sort each item, whole ones first, by score: (B, K, T) twice, (B, K) twice."""
        tokens, history = tokens.clone(), history.clone()
        scores, finished = scores.clone(), finished.clone()
        for item, score in enumerate(self.scores):
            mine, its = self.tokens[item], self.history[item]
            whole = bool(finished[item, -1])
            if mine is None or its is None or (whole and score <= float(scores[item, -1])):
                continue
            length = len(mine)
            same = (tokens[item, :, :length] == mine).all(-1) & finished[item]
            if bool(same.any()):
                continue
            tokens[item, -1], history[item, -1] = 0, 0.0
            tokens[item, -1, :length], history[item, -1, :length] = mine, its
            scores[item, -1], finished[item, -1] = score, True
        order = scores.argsort(dim=1, descending=True, stable=True)
        last = (~finished.gather(1, order)).long().argsort(dim=1, stable=True)
        order = order.gather(1, last)
        wide = order[..., None].expand_as(tokens)
        return (
            tokens.gather(1, wide),
            history.gather(1, wide),
            scores.gather(1, order),
            finished.gather(1, order),
        )


@dataclass(frozen=True)
class Limits:
    """Banned ids (B, V), n-grams of words or tokens said before, too few and too many words.

    `in_time` is for hypotheses that compete, those of a beam search; others are never given up.
    It remembers where there is a limit of words, or the search is `aimed` at a length. A text
    that had best go on with what its item lacks, as a second artist ("mostly by Ada, with a little
    of"), gives way to others. Of items whose search is `paid` for words (bool (B,), or nothing for
    none) what is said of artists is kept free of them.
    """

    banned: Tensor | None
    decoding: Decoding
    words: TokenWords | None
    eos: int
    in_time: InTime | None = None
    aimed: bool = False
    paid: Sequence[bool] = ()

    def forbid(self, log_p: Tensor, tokens: Tensor, finished: Tensor) -> list[Said | None]:
        """Set log_p (N, V) to -inf where a token may not follow `tokens` (N, T).

        Returns what the unfinished hypotheses have said, where limits on words need it.
        """
        if self.banned is not None:
            items, vocabulary = self.banned.shape
            if self.in_time is not None:
                self._drop_calling(self.banned, log_p, finished)
            log_p.view(items, -1, vocabulary).masked_fill_(self.banned[:, None], -torch.inf)
        if self.words is not None:
            said = self._forbid_words(self.words, log_p, tokens, finished)
            if any(self.paid) and self._has_artists(self.words):
                paid = torch.tensor(self.paid, device=log_p.device)
                free = ~paid.repeat_interleave(len(log_p) // len(paid))
                _keep_to_names(self.words, log_p, tokens, finished | free)
            return said
        n = self.decoding.no_repeat_ngram
        if n and tokens.shape[1] >= n:
            grams = tokens.unfold(1, n, 1)  # (N, T - n + 1, n)
            tail = tokens[:, tokens.shape[1] - n + 1 :]  # (N, n - 1)
            repeats = (grams[..., :-1] == tail[:, None]).all(-1) & ~finished[:, None]
            sequence, place = repeats.nonzero(as_tuple=True)
            log_p[sequence, grams[sequence, place, -1]] = -torch.inf
        return [None] * len(tokens)

    def _has_artists(self, words: TokenWords) -> bool:
        """Whether an item may name an artist at all."""
        artists = list(words.artists)
        return bool(artists) and (self.banned is None or not bool(self.banned[:, artists].all()))

    def _forbid_words(
        self, words: TokenWords, log_p: Tensor, tokens: Tensor, finished: Tensor
    ) -> list[Said | None]:
        decoding = self.decoding
        texts = tokens.tolist()
        said = [
            None if over else words.read(ids)
            for ids, over in zip(texts, finished.tolist(), strict=True)
        ]
        for row, text in enumerate(said):
            if text is None:
                continue
            if again := sorted(words.markers.intersection(texts[row])):
                log_p[row, again] = -torch.inf  # a caption has one title and one description
            if repeating := words.repeating(text, decoding.no_repeat_ngram):
                log_p[row, repeating] = -torch.inf
            if text.spaced < decoding.min_words:
                log_p[row, self.eos] = -torch.inf
            # A beam that is full before its fewest words gives way to others; a draw has to go on.
            if (
                text.full(decoding.max_words)
                and not text.title
                and not (self.in_time is None and text.spaced < decoding.min_words)
            ):
                end = log_p[row, self.eos].clone()
                log_p[row] = -torch.inf
                log_p[row, self.eos] = end
        if decoding.max_words and self.in_time is not None:
            self._drop_long(log_p, said, self.in_time)
        return said

    def _drop_calling(self, banned: Tensor, log_p: Tensor, finished: Tensor) -> None:
        """Give up hypotheses whose likeliest next token their item must not contain, as long as it
        has others."""
        items = len(banned)
        calling = banned.gather(1, log_p.argmax(-1).view(items, -1))  # (B, K)
        others = ~(calling | finished.view(items, -1)).all(1, keepdim=True)
        gone = (calling & others).view(-1, 1)
        log_p.masked_fill_(gone, -torch.inf)

    def _drop_long(self, log_p: Tensor, said: Sequence[Said | None], in_time: InTime) -> None:
        """Give up hypotheses of too many words, as long as the item has anything else."""
        beams = len(said) // len(in_time.tokens)
        for item, ended in enumerate(in_time.tokens):
            first = item * beams
            long = [
                text is not None and text.spaced > self.decoding.max_words
                for text in said[first : first + beams]
            ]
            if not all(long) or ended is not None:
                for row, gone in enumerate(long, start=first):
                    if gone:
                        log_p[row] = -torch.inf

    def remember(
        self,
        said: Sequence[Said | None],
        scores: Tensor,
        log_p: Tensor,
        tokens: Tensor,
        history: Tensor,
    ) -> None:
        """Offer the hypotheses that could end now, a sentence being over, to `in_time`.

        `scores` and `log_p` (B, K) are those of the end token at this place; `tokens` and
        `history` (B, K, T) what came before it.
        """
        longest = self.decoding.max_words
        if self.in_time is None or not (longest or self.aimed):
            return
        beams = scores.shape[1]
        for row, text in enumerate(said):
            if text is None or text.title or not text.ended:
                continue
            if longest and text.spaced > longest:
                continue
            item, beam = divmod(row, beams)
            end = torch.tensor([self.eos], device=tokens.device)
            self.in_time.offer(
                item,
                float(scores[item, beam]),
                torch.cat([tokens[item, beam], end]),
                torch.cat([history[item, beam], log_p[item, beam, None]]),
            )


def _keep_to_names(words: TokenWords, log_p: Tensor, tokens: Tensor, exempt: Tensor) -> None:
    """Set log_p (N, V) to -inf where an artist may well be due, for all but artists, and in a
    sentence that has named one, for what the model finds unlikely; not where `exempt` (N,).

    What pays for the tags' words must have no part in what is said of people ("mostly by Ada, with
    a little of strings").
    """
    artists = list(words.artists)
    names = log_p[:, artists]
    due = (names.logsumexp(-1) > DUE) & ~exempt
    log_p.masked_fill_(due[:, None], -torch.inf)
    log_p[:, artists] = names
    for row, ids in enumerate(tokens.tolist()):
        sentence = itertools.takewhile(lambda token: token not in words.ends, reversed(ids))
        if not words.artists.keys().isdisjoint(sentence) and not exempt[row]:
            unlikely = log_p[row] < log_p[row].max() + UNLIKELY
            log_p[row].masked_fill_(unlikely, -torch.inf)
