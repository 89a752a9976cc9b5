"""Self-critical sequence training (Rennie et al., 2017), in VisualGPT's form.

For each item the model writes K captions, by beam search or sampling; each caption's reward less
the mean reward of the item's others weighs its log-probability. A share of cross-entropy on the
ordinary schedule may be mixed in, so that what the reward does not see is not forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from audiogpt.captions import read_caption
from audiogpt.decoding import decode_all
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.tokenizer import DESCRIPTION, CaptionTokenizer
from audiogpt.training.collate import Collator, as_rows
from audiogpt.training.dataset import Example
from audiogpt.training.losses import CaptioningLoss
from audiogpt.training.plain_text import NAMES
from audiogpt.training.rewards import Reward
from audiogpt.training.trainer import CaptionTrainer


@dataclass(frozen=True, kw_only=True)
class RewardedExample:
    """An item to caption, its references, and an ordinary example to mix in."""

    example: Example
    references: tuple[str, ...]
    tags: tuple[tuple[str, float], ...] = ()
    ordinary: Example | None = None


class RewardedCollator:
    """Batches of rewarded examples: rows and controls as tensors, the texts as they are."""

    def __init__(self, collate: Collator) -> None:
        self.collate = collate

    def __call__(self, items: Sequence[RewardedExample]) -> dict[str, Any]:
        ordinary = [item.ordinary for item in items if item.ordinary is not None]
        examples = [item.example for item in items]
        return {
            "rows": self.collate.rows(examples),
            "controls": self.collate.controls(examples),
            "references": [item.references for item in items],
            "tags": [item.tags for item in items],
            "ordinary": self.collate(ordinary) if ordinary else None,
        }


class SelfCriticalLoss(CaptioningLoss):
    """The model with the self-critical loss of captions that it has written.

    All of it is one call of the module, so that whatever wraps it (mixed precision, the exchange
    of gradients between processes) sees the whole step.
    """

    def __init__(self, model: AudioGPT, *, cross_entropy: float = 0.0, **options: Any) -> None:
        """`cross_entropy` weighs the loss of ordinary examples beside it."""
        super().__init__(model, **options)
        self.cross_entropy = cross_entropy

    def forward(  # type: ignore[override]
        self,
        tokens: Tensor,
        rows: Any,
        advantages: Tensor,
        controls: Tensor | None = None,
        after: int | None = None,
        ordinary: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What `self_critical_loss` takes, and a batch of ordinary examples -> {"loss": scalar}."""
        loss = self_critical_loss(
            self.model, tokens, rows, advantages, controls=controls, after=after
        )
        if self.cross_entropy and ordinary is not None:
            loss = loss + self.cross_entropy * super().forward(**ordinary)["loss"]
        return {"loss": loss}


class SelfCriticalTrainer(CaptionTrainer):
    """CaptionTrainer for a model with the self-critical loss."""

    def __init__(
        self,
        *,
        model: SelfCriticalLoss,
        tokenizer: CaptionTokenizer,
        reward: Reward,
        captions: int = 5,
        sample: bool = False,
        longest: int = 96,
        whole: bool = False,
        **options: Any,
    ) -> None:
        """`captions` per item, by beam search or `sample`; `whole` rewards titles too, instead of
        the description alone."""
        super().__init__(model=model, **options)
        if captions < 2:
            raise ValueError("Self-critical training needs at least two captions per item.")
        self.tokenizer, self.reward, self.whole = tokenizer, reward, whole
        self.decoding = Decoding(
            method="sample" if sample else "beam",
            beams=captions,
            n_best=captions,
            top_p=1.0,
            max_tokens=longest,
        )

    def compute_loss(  # type: ignore[override]
        self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, **_: Any
    ) -> Any:
        """The loss of a batch of `RewardedCollator`."""
        captioner: AudioGPT = self.accelerator.unwrap_model(model).model
        rows, controls = inputs["rows"], inputs["controls"]
        tokens, finished = self._write(captioner, rows, controls)
        rewards = self._rewards(captioner, tokens, finished, inputs)  # (B, K)
        others = (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
        loss = model(
            tokens=tokens,
            rows=rows,
            advantages=rewards - others,
            controls=controls,
            after=self._description_marker,
            ordinary=inputs["ordinary"],
        )["loss"]
        if self.state.global_step % max(1, int(self.args.logging_steps)) == 0:
            self.log({"reward": float(rewards.mean())})
        return (loss, {"loss": loss}) if return_outputs else loss

    @property
    def _description_marker(self) -> int | None:
        return None if self.whole else self.tokenizer.token_id(DESCRIPTION)

    def _write(self, captioner: AudioGPT, rows: Any, controls: Tensor) -> tuple[Tensor, Tensor]:
        """K captions per item: tokens (B, K, T) and whether each ended (B, K)."""
        training = captioner.training
        captioner.eval()
        with torch.inference_mode():
            context = captioner.encode(as_rows(rows), controls=controls)
            step = self.state.global_step * context.batch
            seeds = [self.args.seed * 1_000_003 + step + item for item in range(context.batch)]
            found = decode_all(captioner, context, self.decoding, seeds=seeds)
        captioner.train(training)
        return found.tokens.clone(), found.finished.clone()

    def _rewards(
        self, captioner: AudioGPT, tokens: Tensor, finished: Tensor, inputs: Mapping[str, Any]
    ) -> Tensor:
        eos = captioner.config.eos_token_id
        values = torch.zeros(tokens.shape[:2])  # (B, K)
        for b, (references, tags) in enumerate(
            zip(inputs["references"], inputs["tags"], strict=True)
        ):
            for k, ids in enumerate(tokens[b].tolist()):
                ids = ids[: ids.index(eos) + 1] if finished[b, k] else ids
                caption = read_caption(
                    self.tokenizer,
                    ids,
                    artists=NAMES,
                    text_format=captioner.config.text_format,
                    formatting=captioner.config.formatting,
                )
                text = (
                    f"{caption.title} {caption.description}" if self.whole else caption.description
                )
                values[b, k] = self.reward(
                    text.strip(), references, tags, finished=bool(finished[b, k])
                )
        return values.to(tokens.device)


def self_critical_loss(
    model: AudioGPT,
    tokens: Tensor,
    rows: Any,
    advantages: Tensor,
    *,
    controls: Tensor | None = None,
    after: int | None = None,
) -> Tensor:
    """- mean over captions of advantage times mean log-probability of their tokens.

    `tokens` (B, K, T) end with the end token and then zeros; `advantages` (B, K). Tokens up to the
    first `after` (a marker's id) are left out where it occurs.
    """
    B, K, T = tokens.shape
    config = model.config
    flat = tokens.reshape(B * K, T)
    ended = (flat == config.eos_token_id).cumsum(1)
    mask = (ended - (flat == config.eos_token_id).long()) == 0  # up to and with the first end
    if after is not None:
        passed = (flat == after).cumsum(1) > 0
        mask = mask & torch.where(passed.any(1, keepdim=True), passed, True)
    start = torch.full((B * K, 1), config.bos_token_id, device=flat.device)
    inputs = torch.cat([start, flat[:, :-1]], dim=1)
    logits = model(inputs, model.encode(as_rows(rows), controls=controls))  # (B * K, T, V)
    losses = F.cross_entropy(logits.float().transpose(1, 2), flat, reduction="none")  # (B * K, T)
    mean = (losses * mask).sum(1) / mask.sum(1).clamp(min=1)
    return (advantages.reshape(-1) * mean).mean()


class Rewarded(Dataset[RewardedExample]):
    """Items to caption in a fixed order, each beside an ordinary example where there are any."""

    def __init__(
        self,
        items: Sequence[RewardedExample],
        order: Sequence[int],
        ordinary: Dataset[Example] | None = None,
    ) -> None:
        self.items, self.order, self.ordinary = items, order, ordinary

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> RewardedExample:
        item = self.items[self.order[index]]
        if self.ordinary is None:
            return item
        return RewardedExample(
            example=item.example,
            references=item.references,
            tags=item.tags,
            ordinary=self.ordinary[index],
        )
