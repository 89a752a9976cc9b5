"""Cross-entropy over captions, with label smoothing."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiogpt.model import AudioGPT
from audiogpt.training.collate import IGNORED, RowTensors, as_rows


class CaptioningLoss(nn.Module):
    """The model with its loss, in the form that transformers' Trainer drives."""

    def __init__(self, model: AudioGPT, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {label_smoothing}.")
        self.model = model
        self.label_smoothing = label_smoothing

    def forward(self, tokens: Tensor, labels: Tensor, rows: RowTensors) -> dict[str, Any]:
        """tokens (B, T), labels (B, T) with -100 where there is none -> {"loss": scalar}.

        In evaluation mode the loss is without smoothing, so that it can be compared.
        """
        context = self.model.encode(as_rows(rows))
        logits = self.model(tokens, context)  # (B, T, V)
        smoothing = self.label_smoothing if self.training else 0.0
        loss = F.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORED,
            label_smoothing=smoothing,
        )
        return {"loss": loss}


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
