"""Cross-entropy over captions, with label smoothing and teachers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiogpt.model import AudioGPT
from audiogpt.training.collate import IGNORED, RowTensors, as_rows
from audiogpt.training.teachers import Teachers


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
    ) -> None:
        """`token_dropout`: share of the input tokens that are hidden behind the padding token in
        training, so that the text alone tells less and the branches more (Bowman et al., 2016).
        `distillation`: how much the teachers' prediction weighs in the target, against the text's
        own token, for items that the teachers can see whole."""
        super().__init__()
        for name, value in (("label_smoothing", label_smoothing), ("token_dropout", token_dropout)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name} must lie in [0, 1), not {value}.")
        if not 0.0 <= distillation <= 1.0:
            raise ValueError(f"distillation must lie in [0, 1], not {distillation}.")
        self.model = model
        self.label_smoothing, self.token_dropout = label_smoothing, token_dropout
        self.teachers, self.distillation = teachers, distillation

    def forward(self, tokens: Tensor, labels: Tensor, rows: RowTensors) -> dict[str, Any]:
        """tokens (B, T), labels (B, T) with -100 where there is none -> {"loss": scalar}.

        In evaluation mode the loss is without smoothing, so that it can be compared.
        """
        context = self.model.encode(as_rows(rows))
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
            expected, known = self.teachers.probabilities(seen, rows)
            taught = -(expected * logits.log_softmax(-1)).sum(-1)  # (B, T)
            weight = self.distillation * known[:, None]
            losses = torch.where(labels == IGNORED, 0.0, (1 - weight) * losses + weight * taught)
        return {"loss": losses.sum() / (labels != IGNORED).sum()}


@torch.inference_mode()
def caption_log_probabilities(
    model: AudioGPT, tokens: Tensor, labels: Tensor, rows: RowTensors
) -> tuple[Tensor, Tensor]:
    """Sum of the log-probabilities of each caption, and its number of tokens: (B,), (B,)."""
    logits = model(tokens, model.encode(as_rows(rows)))  # (B, T, V)
    losses = F.cross_entropy(
        logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    )  # (B, T)
    return -losses.sum(-1), (labels != IGNORED).sum(-1)
