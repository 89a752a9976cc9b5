"""After cross-entropy: self-critical training of the small captioner on CIDEr and faithfulness."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import set_seed

from audiogpt.checkpoints import from_pretrained, read_lengths, resolve
from audiogpt.length import Audible, LengthModel, expected_words
from audiogpt.request import Decoding
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.averaging import WeightAverage
from audiogpt.training.collate import Collator
from audiogpt.training.dataset import ScheduledViews, make_example
from audiogpt.training.embeddings import load_heard
from audiogpt.training.musiccaps import read_musiccaps
from audiogpt.training.open_data import (
    finish_run,
    read_embeddings,
    step_arguments,
    take_folder,
    validation_set,
)
from audiogpt.training.options import PolishOptions
from audiogpt.training.pairs import Pair
from audiogpt.training.precision import computes_in_bfloat16
from audiogpt.training.rewards import Reward, RewardWeights
from audiogpt.training.scst import (
    Rewarded,
    RewardedCollator,
    RewardedExample,
    SelfCriticalLoss,
    SelfCriticalTrainer,
)
from audiogpt.training.sources import read_sources
from audiogpt.training.views import LONGEST, View

LONGEST_WRITTEN = 100  # tokens of a drawn caption


def polish_open_data(options: PolishOptions) -> Path:
    """Train, and write the averaged weights of the best checkpoint by CIDEr on the validation cut,
    beside the curve; returns that folder.

    Raises ValueError for data that is missing, and for a folder that holds another run.
    """
    options = replace(options, bf16=computes_in_bfloat16(options.bf16))
    if options.threads:
        torch.set_num_threads(options.threads)
    set_seed(options.seed)
    folder = resolve(options.checkpoint)
    tokenizer = CaptionTokenizer.from_folder(folder)
    model = from_pretrained(folder).requires_grad_(True).train()
    for parameter in model.parameters():  # loading lays some out for decoding; saving needs rows
        parameter.data = parameter.data.contiguous()
    average = WeightAverage(model, decay=options.average_decay)
    sources = read_sources(
        musiccaps=options.musiccaps,
        incompetech=options.incompetech,
        grooves=options.grooves,
        heard=load_heard(options.embeddings / "heard.json") if options.embeddings else None,
        seed=options.seed,
        tags_only="audio" not in model.config.branch_names,
    )
    resumed = take_folder(options)
    rows, lengths = read_musiccaps(options.musiccaps, "train"), read_lengths(folder)
    decoding = Decoding(**dict(model.config.decoding))
    items = [
        _rewarded(pair, tokenizer, decoding, lengths)
        for pair in (*rows, *sources.pairs["recombined"][: len(rows)])
        if pair.tags and len(pair.description.split()) <= LONGEST
    ]
    arguments = step_arguments(
        options,
        save_every=options.evaluate_every,
        lr_scheduler_type="constant_with_warmup",
        logging_steps=10,
    )
    count = options.steps * options.batch_size * arguments.world_size
    embeddings: dict[str, np.ndarray] = {}
    if "audio" in model.config.branch_names:
        embeddings = read_embeddings(options, sources, width=model.config.branch("audio").width)
    ordinary = ScheduledViews(
        sources,
        tokenizer,
        embeddings,
        length=count,
        batch_size=options.batch_size,
        seed=options.seed,
        longest=model.config.n_positions,
    )
    weights = RewardWeights(coverage=options.coverage, invention=options.invention)
    trainer = SelfCriticalTrainer(
        model=SelfCriticalLoss(model, cross_entropy=options.cross_entropy),
        validation=validation_set(options.musiccaps, tokenizer, lengths),
        average=average,
        tokenizer=tokenizer,
        reward=Reward([pair.description for pair in rows], weights),
        captions=options.captions,
        sample=options.sample,
        longest=LONGEST_WRITTEN,
        args=arguments,
        train_dataset=Rewarded(items, _order(len(items), count, options.seed), ordinary),
        data_collator=RewardedCollator(Collator(model.config)),
    )
    return finish_run(
        trainer,
        average,
        model,
        tokenizer,
        options,
        lengths=lengths,
        resumed=resumed,
        curve="polish_curve",
        settings="polish.json",
    )


def _rewarded(
    pair: Pair, tokenizer: CaptionTokenizer, decoding: Decoding, lengths: LengthModel | None
) -> RewardedExample:
    """A row to caption, asked for what captions of such tags are asked for in use."""
    tags = tuple((tag, 1.0) for tag in pair.tags)
    expected = expected_words(lengths, Audible(tags=tags, audio=False, artists=False))
    example = make_example(View(title="", description="", tags=tags), tokenizer, {})
    return RewardedExample(
        example=replace(example, controls=decoding.controls(tags, expected)),
        references=(pair.description,),
        tags=tags,
    )


def _order(items: int, count: int, seed: int) -> list[int]:
    """`count` indices: the items shuffled anew each time round."""
    dice = random.Random(seed)
    order: list[int] = []
    while len(order) < count:
        order += dice.sample(range(items), items)
    return order[:count]
