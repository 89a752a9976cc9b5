"""Fine-tune a pretrained language model on MusicCaps' training rows, to make a language teacher."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedModel, set_seed

from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.language_model import (
    exchange_vocabulary,
    load_language_model,
    prompt_ids,
    text_ids,
)
from audiogpt.training.musiccaps import read_musiccaps
from audiogpt.training.open_data import take_folder
from audiogpt.training.options import BATCHES_PER_BLOCK, LanguageTeacherOptions
from audiogpt.training.pairs import Pair
from audiogpt.training.precision import computes_in_bfloat16
from audiogpt.training.trainer import OrderedTrainer, trainer_arguments
from audiogpt.training.views import draw_view, plain_view

logger = logging.getLogger(__name__)

Item = tuple[list[int], list[int]]  # tokens of the prompt, and of the text


class LanguageItems(Dataset[Item]):
    """Every row once an epoch, in blocks sorted by length.

    In the first epoch and every other one after it as the evaluation gives rows, with every aspect;
    in those between as training views do (`audiogpt/training/views.py`).
    """

    def __init__(
        self,
        rows: Sequence[Pair],
        tokenizer: CaptionTokenizer,
        *,
        epochs: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self.items: list[Item] = []
        left: list[Item] = []
        for epoch in range(epochs):
            dice = random.Random(f"{seed}-{epoch}")
            made = [_item(row, tokenizer, dice, plain=epoch % 2 == 0) for row in rows]
            dice.shuffle(made)
            block = batch_size * BATCHES_PER_BLOCK
            batches: list[list[Item]] = []
            for first in range(0, len(made), block):
                part = sorted(made[first : first + block], key=lambda item: sum(map(len, item)))
                batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
            left += [item for batch in batches if len(batch) < batch_size for item in batch]
            whole = [batch for batch in batches if len(batch) == batch_size]
            dice.shuffle(whole)
            self.items += [item for batch in whole for item in batch]
        self.items += left  # after all epochs, or the batches of the next would not be these

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item:
        return self.items[index]


def _item(row: Pair, tokenizer: CaptionTokenizer, dice: random.Random, *, plain: bool) -> Item:
    if plain:
        view = replace(plain_view(row), description=row.description)
    else:
        view = draw_view(row, dice, artists=False)
    return prompt_ids(tokenizer, view), text_ids(tokenizer, view)


class LanguageTrainer(OrderedTrainer):
    """Trainer that weighs the prompt's tokens less than the text's."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """input_ids (B, T) and weights (B, T) -> weighted mean of nats per token."""
        ids, weights = inputs["input_ids"], inputs["weights"][:, 1:]
        logits = model(input_ids=ids[:, :-1]).logits.float()  # (B, T - 1, V)
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), ids[:, 1:], reduction="none"
        )
        loss = (losses * weights).sum() / weights.sum()
        return (loss, {"loss": loss}) if return_outputs else loss


def collate(items: Sequence[Item], *, padding: int, tags_weight: float) -> dict[str, Tensor]:
    """`input_ids` int64 (B, T) and `weights` float32 (B, T), 0 for padding and the start."""
    length = max(len(prompt) + len(text) for prompt, text in items)
    ids = torch.full((len(items), length), padding)
    weights = torch.zeros(len(items), length)
    for i, (prompt, text) in enumerate(items):
        ids[i, : len(prompt) + len(text)] = torch.tensor([*prompt, *text])
        weights[i, 1 : len(prompt)] = tags_weight
        weights[i, len(prompt) : len(prompt) + len(text)] = 1.0
    return {"input_ids": ids, "weights": weights}


def train_language_teacher(options: LanguageTeacherOptions) -> Path:
    """Fine-tune, and write config, weights and tokenizer; returns that folder.

    Raises ValueError for a model or data that cannot be read, and for a folder that holds another
    run.
    """
    options = replace(options, bf16=computes_in_bfloat16(options.bf16))
    if options.threads:
        torch.set_num_threads(options.threads)
    set_seed(options.seed)
    begun = take_folder(options)
    tokenizer = CaptionTokenizer.from_folder(options.vocabulary_of)
    model, theirs = load_language_model(options.language_model)
    same = exchange_vocabulary(model, theirs, tokenizer)
    logger.info("%d of %d tokens are among the model's own", same, tokenizer.vocab_size)
    rows, held = (read_musiccaps(options.musiccaps, split) for split in ("train", "validation"))
    if not rows:
        raise ValueError(f"{options.musiccaps} has no rows to train on.")
    items = LanguageItems(
        rows, tokenizer, epochs=options.epochs, batch_size=options.batch_size, seed=options.seed
    )
    steps = -(-len(items) // options.batch_size)
    trainer = LanguageTrainer(
        model=model,
        args=trainer_arguments(
            options.output,
            max_steps=steps,
            per_device_train_batch_size=options.batch_size,
            learning_rate=options.lr,
            lr_scheduler_type="cosine",
            warmup_steps=options.warmup,
            weight_decay=options.weight_decay,
            adam_beta2=0.98,
            max_grad_norm=options.max_grad_norm,
            bf16=options.bf16,
            seed=options.seed,
            eval_strategy="steps",
            eval_steps=-(-steps // max(1, options.epochs)),
            save_strategy="steps",
            save_steps=-(-steps // max(1, options.epochs)),
            save_total_limit=1,
            logging_steps=20,
            label_names=["weights"],  # without which there would be no loss in evaluation
            prediction_loss_only=True,
            metric_for_best_model="loss",
            greater_is_better=False,
        ),
        train_dataset=items,
        eval_dataset=LanguageItems(held, tokenizer, epochs=1, batch_size=16, seed=0),
        data_collator=lambda batch: collate(
            batch, padding=tokenizer.pad_id, tags_weight=options.tags_weight
        ),
    )
    trainer.train(resume_from_checkpoint=str(begun) if begun else None)
    folder = options.output / "model"
    if trainer.is_world_process_zero():
        write_language_teacher(model, tokenizer, folder)
        log = json.dumps(trainer.state.log_history, indent=1) + "\n"
        (folder / "log.json").write_text(log, encoding="utf-8")
    return folder


def write_language_teacher(
    model: PreTrainedModel, tokenizer: CaptionTokenizer, folder: Path
) -> None:
    """config.json and model.safetensors in Hugging Face's format, and tokenizer.json."""
    model.save_pretrained(folder)
    tokenizer.save(folder)
