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

    def __init__(
        self, model: AudioGPT, *, label_smoothing: float = 0.0, token_dropout: float = 0.0
    ) -> None:
        """`token_dropout`: share of the input tokens that are hidden behind the padding token in
        training, so that the text alone tells less and the branches more (Bowman et al., 2016)."""
        super().__init__()
        for name, value in (("label_smoothing", label_smoothing), ("token_dropout", token_dropout)):
            if not 0.0 <= value < 1.0:
                raise ValueError(f"{name} must lie in [0, 1), not {value}.")
        self.model = model
        self.label_smoothing, self.token_dropout = label_smoothing, token_dropout

    def forward(self, tokens: Tensor, labels: Tensor, rows: RowTensors) -> dict[str, Any]:
        """tokens (B, T), labels (B, T) with -100 where there is none -> {"loss": scalar}.

        In evaluation mode the loss is without smoothing, so that it can be compared.
        """
        context = self.model.encode(as_rows(rows))
        if self.training and self.token_dropout:
            hidden = torch.rand(tokens.shape, device=tokens.device) < self.token_dropout
            hidden[:, 0] = False
            tokens = tokens.masked_fill(hidden, self.model.config.pad_token_id)
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
