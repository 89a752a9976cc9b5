"""Cross-entropy over captions, with label smoothing, teachers and a contrast between sounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiogpt.model import AudioGPT
from audiogpt.training.collate import IGNORED, RowTensors, as_rows
from audiogpt.training.teachers import Teachers

AUDIO = "audio"  # the branch whose inputs are told apart


class CaptioningLoss(nn.Module):
    """The model with its loss, in the form that transformers' Trainer drives."""

    def __init__(
        self,
        model: AudioGPT,
        *,
        label_smoothing: float = 0.0,
        token_dropout: float = 0.0,
        teachers: Teachers | None = None,
        distillation: float = 0.5,
        contrast: float = 0.0,
    ) -> None:
        """`token_dropout`: share of the input tokens that are hidden behind the padding token in
        training, so that the text alone tells less and the branches more (Bowman et al., 2016).
        `distillation`: how much a teacher's prediction weighs in the target, against the text's
        own token, for items that the teachers can see whole, or a language teacher was asked about.
        `contrast`: weight of the contrast between sounds (`_contrast`)."""
        super().__init__()
        for name, value in (("label_smoothing", label_smoothing), ("token_dropout", token_dropout)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name} must lie in [0, 1), not {value}.")
        if contrast < 0.0:
            raise ValueError(f"contrast must not be negative, but is {contrast}.")
        if teachers is not None:
            theirs, ours = teachers.models[0].config, model.config
            if (theirs.vocab_size, theirs.controls) != (ours.vocab_size, ours.controls):
                raise ValueError(
                    "The teachers need the vocabulary and controls of the model that learns."
                )
        if not 0.0 <= distillation <= 1.0:
            raise ValueError(f"distillation must lie in [0, 1], not {distillation}.")
        self.model = model
        self.label_smoothing, self.token_dropout = label_smoothing, token_dropout
        self.teachers, self.distillation = teachers, distillation
        self.contrast = contrast

    def forward(
        self,
        tokens: Tensor,
        labels: Tensor,
        rows: RowTensors,
        controls: Tensor | None = None,
        expected: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """tokens (B, T), labels (B, T) with -100 where there is none, control features (B, F), what
        a language teacher expects at some labels' places (B, T, K) -> {"loss": scalar}.

        In evaluation mode the loss is without smoothing, so that it can be compared.
        """
        context = self.model.encode(as_rows(rows), controls=controls)
        seen = tokens
        if self.training and self.token_dropout:
            hidden = torch.rand(tokens.shape, device=tokens.device) < self.token_dropout
            hidden[:, 0] = False
            tokens = tokens.masked_fill(hidden, self.model.config.pad_token_id)
        logits = self.model(tokens, context).float()  # (B, T, V)
        smoothing = self.label_smoothing if self.training else 0.0
        losses = F.cross_entropy(
            logits.transpose(1, 2),
            labels,
            ignore_index=IGNORED,
            label_smoothing=smoothing,
            reduction="none",
        )  # (B, T)
        if self.training and self.teachers is not None:
            mean, known = self.teachers.probabilities(seen, rows, controls)
            taught = -(mean * logits.log_softmax(-1)).sum(-1)  # (B, T)
            losses = self._mix(losses, taught, known[:, None] & (labels != IGNORED))
        if self.training and expected is not None:
            likely = logits.log_softmax(-1).gather(-1, expected["tokens"])  # (B, T, K)
            mass = expected["probabilities"].sum(-1)  # (B, T)
            taught = -(expected["probabilities"] * likely).sum(-1) / mass.clamp(min=1e-3)
            losses = self._mix(losses, taught, (mass > 0) & (labels != IGNORED))
        loss = losses.sum() / (labels != IGNORED).sum()
        if self.training and self.contrast and AUDIO in rows:
            own = _log_probabilities(logits, labels)
            loss = loss + self.contrast * self._contrast(tokens, labels, rows, controls, own)
        return {"loss": loss}

    def _mix(self, losses: Tensor, taught: Tensor, known: Tensor) -> Tensor:
        """Where a teacher knows better: the cross-entropy with its prediction, by weight."""
        weight = self.distillation * known
        return (1 - weight) * losses + weight * taught

    def _contrast(
        self,
        tokens: Tensor,
        labels: Tensor,
        rows: RowTensors,
        controls: Tensor | None,
        own: Tensor,
    ) -> Tensor:
        """Cross-entropy of telling each sound from the next one of the batch by the caption.

        `own` (B,) are the captions' log-probabilities given their own sounds; scalar, and 0 where
        fewer than two items have sound. Likelihood alone learns the commonest wording first and is
        content with it; this asks what likelihood the right sound adds, as ranking by mutual
        information does (Li et al., 2016). Two views of one track may meet, as in any contrast
        within a batch.
        """
        heard = (rows[AUDIO]["weights"] > 0).any(1).nonzero()[:, 0]
        if len(heard) < 2:
            return own.new_zeros(())
        other = {
            name: {
                part: values[heard.roll(1) if name == AUDIO else heard]
                for part, values in parts.items()
            }
            for name, parts in rows.items()
        }
        given = None if controls is None else controls[heard]
        context = self.model.encode(as_rows(other), controls=given)
        logits = self.model(tokens[heard], context).float()
        return F.softplus(_log_probabilities(logits, labels[heard]) - own[heard]).mean()


def _log_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of the labels' log-probabilities per item: (B, T, V), (B, T) -> (B,)."""
    return -F.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    ).sum(-1)


@torch.inference_mode()
def caption_log_probabilities(
    model: AudioGPT,
    tokens: Tensor,
    labels: Tensor,
    rows: RowTensors,
    controls: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum of the log-probabilities of each caption, and its number of tokens: (B,), (B,)."""
    logits = model(tokens, model.encode(as_rows(rows), controls=controls))  # (B, T, V)
    return _log_probabilities(logits.float(), labels), (labels != IGNORED).sum(-1)
