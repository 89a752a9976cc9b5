"""After cross-entropy: self-critical training of the small captioner on CIDEr and faithfulness."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from transformers import TrainingArguments, set_seed

from audiogpt.checkpoints import from_pretrained
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.averaging import WeightAverage
from audiogpt.training.collate import Collator
from audiogpt.training.dataset import ScheduledViews, make_example
from audiogpt.training.losses import CaptioningLoss
from audiogpt.training.musiccaps import read_musiccaps
from audiogpt.training.open_data import (
    plain_options,
    read_embeddings,
    validation_set,
    write_checkpoint,
    write_curve,
)
from audiogpt.training.options import PolishOptions
from audiogpt.training.rewards import Reward, RewardWeights
from audiogpt.training.scst import Rewarded, RewardedCollator, RewardedExample, SelfCriticalTrainer
from audiogpt.training.sources import read_sources
from audiogpt.training.trainer import last_checkpoint
from audiogpt.training.views import LONGEST, View

LONGEST_WRITTEN = 100  # tokens of a drawn caption


def polish_open_data(options: PolishOptions) -> Path:
    """Train, and write the averaged weights of the best checkpoint by CIDEr on the validation cut,
    beside the curve; returns that folder."""
    if options.threads:
        torch.set_num_threads(options.threads)
    set_seed(options.seed)
    tokenizer = CaptionTokenizer.from_folder(options.checkpoint)
    model = from_pretrained(options.checkpoint).requires_grad_(True).train()
    for parameter in model.parameters():  # loading lays some out for decoding; saving needs rows
        parameter.data = parameter.data.contiguous()
    average = WeightAverage(model, decay=options.average_decay)
    sources = read_sources(
        musiccaps=options.musiccaps,
        incompetech=options.incompetech,
        grooves=options.grooves,
        seed=options.seed,
    )
    rows = read_musiccaps(options.musiccaps, "train")
    items = [
        RewardedExample(
            example=make_example(
                View(title="", description="", tags=tuple((tag, 1.0) for tag in pair.tags)),
                tokenizer,
                {},
            ),
            references=(pair.description,),
            tags=tuple((tag, 1.0) for tag in pair.tags),
        )
        for pair in (*rows, *sources.pairs["recombined"][: len(rows)])
        if pair.tags and len(pair.description.split()) <= LONGEST
    ]
    arguments = _arguments(options)
    count = options.steps * options.batch_size * arguments.world_size
    ordinary = ScheduledViews(
        sources,
        tokenizer,
        read_embeddings(options),
        length=count,
        batch_size=options.batch_size,
        seed=options.seed,
        longest=model.config.n_positions,
    )
    weights = RewardWeights(coverage=options.coverage, invention=options.invention)
    trainer = SelfCriticalTrainer(
        model=CaptioningLoss(model),
        validation=validation_set(options.musiccaps, tokenizer),
        average=average,
        tokenizer=tokenizer,
        reward=Reward([pair.description for pair in rows], weights),
        captions=options.captions,
        sample=options.sample,
        longest=LONGEST_WRITTEN,
        cross_entropy=options.cross_entropy,
        args=arguments,
        train_dataset=Rewarded(items, _order(len(items), count, options.seed), ordinary),
        data_collator=RewardedCollator(Collator(model.config)),
    )
    resumed = last_checkpoint(options.output) if options.resume else None
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    if best := trainer.state.best_model_checkpoint:
        average.load(Path(best))
    average.swap(model)
    folder = options.output / "model"
    if not trainer.is_world_process_zero():
        return folder
    write_checkpoint(model, tokenizer, folder)
    write_curve(trainer.state.log_history, folder, name="polish_curve")
    (folder / "polish.json").write_text(json.dumps(plain_options(options), indent=2) + "\n")
    return folder


def _order(items: int, count: int, seed: int) -> list[int]:
    """`count` indices: the items shuffled anew each time round."""
    dice = random.Random(seed)
    order: list[int] = []
    while len(order) < count:
        order += dice.sample(range(items), items)
    return order[:count]


def _arguments(options: PolishOptions) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(options.output),
        max_steps=options.steps,
        per_device_train_batch_size=options.batch_size,
        learning_rate=options.lr,
        max_grad_norm=options.max_grad_norm,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=options.warmup,
        bf16=options.bf16,
        use_cpu=not torch.cuda.is_available(),
        seed=options.seed,
        logging_steps=10,
        eval_strategy="steps",
        eval_steps=options.evaluate_every,
        save_strategy="steps",
        save_steps=options.evaluate_every,
        save_total_limit=2,
        metric_for_best_model="cider",
        report_to=["tensorboard"],
        remove_unused_columns=False,
        label_names=["labels"],
    )
