"""What is measured on the validation cut while training: loss, CIDEr and faithfulness."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch
from torch.utils.data import DataLoader

from audiogpt.length import LengthModel
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.captioning import write_captions
from audiogpt.training.cider import CiderD
from audiogpt.training.collate import Collator, to_device
from audiogpt.training.dataset import Example, FixedExamples
from audiogpt.training.losses import caption_log_probabilities
from audiogpt.training.pairs import Pair
from audiogpt.words import instruments_supported, tag_words_used

GREEDY = Decoding(beams=1, n_best=1, max_tokens=110)


class Validation:
    """Measures a model on fixed examples, one per pair."""

    def __init__(
        self,
        tokenizer: CaptionTokenizer,
        pairs: Sequence[Pair],
        examples: Sequence[Example],
        *,
        decoding: Decoding = GREEDY,
        lengths: LengthModel | None = None,
        batch_size: int = 50,
        references: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Captions are decoded as `decoding` asks, at the words that `lengths` expect. With
        `references` (texts per example), whole captions are scored against them, titles
        included; else descriptions against the pairs' references."""
        self.tokenizer, self.pairs, self.examples = tokenizer, pairs, examples
        self.decoding, self.lengths, self.batch_size = decoding, lengths, batch_size
        self.whole = references is not None
        self.references = references or [[pair.reference] for pair in pairs]
        self.cider = CiderD(self.references)

    def measure(self, model: AudioGPT) -> dict[str, float]:
        """loss (nats per token), and of the captions that the model writes cider (plain words,
        times 100) and, where pairs have tags, tag_words_used and instruments_supported (percent).

        A model with controls is told the references' own for the loss, as in training, and what
        the decoding asks for the captions.
        """
        training = model.training
        model.eval()
        try:
            return {"loss": self._loss(model), **self._captions(model)}
        finally:
            model.train(training)

    def _loss(self, model: AudioGPT) -> float:
        total, count = 0.0, 0
        collate = Collator(model.config)
        for batch in DataLoader(
            FixedExamples(self.examples), batch_size=self.batch_size, collate_fn=collate
        ):
            sums, tokens = caption_log_probabilities(model, **to_device(batch, model.device))
            total -= float(sums.sum())
            count += int(tokens.sum())
        return total / count

    def _captions(self, model: AudioGPT) -> dict[str, float]:
        ciders, used, named = [], [], torch.zeros(2)
        written = write_captions(
            model,
            self.tokenizer,
            self.examples,
            self.decoding,
            lengths=self.lengths,
            batch_size=self.batch_size,
        )
        for pair, texts, caption in zip(self.pairs, self.references, written, strict=True):
            said = f"{caption.title} {caption.description}" if self.whole else caption.description
            ciders.append(self.cider.score(said, texts))
            if (share := tag_words_used(pair.tags, said)) is not None:
                used.append(share)
            if pair.tags:
                named += torch.tensor(instruments_supported(pair.tags, said))
        measured = {"cider": 100 * statistics.fmean(ciders)}
        if used:
            measured["tag_words_used"] = 100 * statistics.fmean(used)
        if any(pair.tags for pair in self.pairs):
            measured["instruments_supported"] = 100 * float(named[0] / named[1].clamp(min=1))
        return measured
