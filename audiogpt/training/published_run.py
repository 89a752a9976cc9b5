"""The published trainer's run: cross-entropy until CIDEr stops rising, then self-critical training.

It trains PlayNTell's form from playlists and VisualGPT's from COCO captions with detections, with
the original's switches. The best checkpoint by CIDEr on the validation split ends up in
`<output>/<exp_name>/model`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import load_file
from torch.optim import Adam
from transformers import EarlyStoppingCallback, TrainingArguments, set_seed

from audiogpt.checkpoints import save_pretrained
from audiogpt.config import AudioGPTConfig, BranchConfig
from audiogpt.gpt2 import from_gpt2, gpt2_folder, gpt2_width
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.tags import TagTable
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.annotations import Item, formatted, is_playlists, read_annotations
from audiogpt.training.collate import Collator
from audiogpt.training.dataset import Example, FixedExamples
from audiogpt.training.losses import CaptioningLoss
from audiogpt.training.options import PublishedOptions
from audiogpt.training.pairs import Pair
from audiogpt.training.plain_text import spoken
from audiogpt.training.published_data import (
    branch_names,
    branches,
    item_examples,
    read_tag_table,
    references,
    sampled,
    without_text,
)
from audiogpt.training.rewards import Reward, RewardWeights
from audiogpt.training.scst import Rewarded, RewardedCollator, RewardedExample, SelfCriticalTrainer
from audiogpt.training.trainer import (
    CaptionTrainer,
    best_checkpoint,
    last_checkpoint,
    trainer_arguments,
)
from audiogpt.training.validation import Validation
from audiogpt.training.vocabulary import train_vocabulary

logger = logging.getLogger(__name__)

CROSS_ENTROPY, SELF_CRITICAL = "cross-entropy", "self-critical"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything the two phases share."""

    folder: Path
    tokenizer: CaptionTokenizer
    model: AudioGPT
    train: Sequence[tuple[Example, Item]]
    validation: Validation
    tag_table: TagTable | None


def train_published(options: PublishedOptions) -> Path:
    """Run both phases; returns the folder of the finished checkpoint. ValueError for bad data."""
    if options.threads:
        torch.set_num_threads(options.threads)
    set_seed(options.random_seed)
    _log_to_file(options.log_file)
    prepared = _prepare(options)
    logger.info("%s", json.dumps(_plain(options)))
    phase = prepared.folder / CROSS_ENTROPY
    _run_phase(_cross_entropy_trainer(prepared, options, phase), options, phase)
    if options.reinforcement_epochs:
        phase = prepared.folder / SELF_CRITICAL
        _run_phase(_self_critical_trainer(prepared, options, phase), options, phase)
    model = prepared.folder / "model"
    if not PartialState().is_main_process:  # the others have the same weights
        return model
    save_pretrained(prepared.model, model)
    prepared.tokenizer.save(model)
    if prepared.tag_table is not None:
        prepared.tag_table.save(model)
    (model / "training.json").write_text(json.dumps(_plain(options), indent=2) + "\n")
    return model


def _prepare(options: PublishedOptions) -> Prepared:
    items = read_annotations(options.annotation_folder)
    gpt2 = gpt2_folder(options.gpt_path) if options.gpt_model_type == "gpt" else None
    table = read_tag_table(options.tag_table) if options.tag_table else None
    if table is not None and "tags" not in branch_names(options):
        raise ValueError("--tag_table needs tags among --playlist_feature.")
    made, embedding = branches(
        options,
        [*items["train"], *items["val"]],
        n_embd=options.n_embd if gpt2 is None else gpt2_width(gpt2),
        tag_table=table,
    )
    _check_tags(made, table)
    train = sampled(items["train"], options)
    tokenizer = _tokenizer(options, train)
    model = _model(options, made, embedding, tokenizer)
    settings: dict[str, Any] = {
        "tokenizer": tokenizer,
        "formatting": options.formatting,
        "longest": options.longest,
        "tag_table": table,
    }
    held = item_examples(items["val"], made, options.features_path, **settings)
    first = {item.key: (example, item) for example, item in reversed(held)}
    texts = {
        key: [spoken(t) for t in references(i, options.formatting)] for key, (_, i) in first.items()
    }
    keys = list(dict.fromkeys(item.key for _, item in held))
    validation = Validation(
        tokenizer,
        [Pair(key=key, source="annotations", sentences=(), tags=()) for key in keys],
        [first[key][0] for key in keys],
        decoding=Decoding(beams=options.beam_size, n_best=1, max_tokens=options.longest),
        batch_size=options.eval_batch_size,
        references=[texts[key] for key in keys],
    )
    return Prepared(
        folder=options.output / options.exp_name,
        tokenizer=tokenizer,
        model=model,
        train=item_examples(train, made, options.features_path, **settings),
        validation=validation,
        tag_table=table,
    )


def _check_tags(made: Sequence[BranchConfig], table: TagTable | None) -> None:
    """ValueError if the table's vectors are not what the tags branch reads; a warning where nobody
    will be able to type tags for the checkpoint."""
    for branch in made:
        if branch.name != "tags" or branch.rows == "text":
            continue
        if table is None:
            logger.warning(
                "The tags' vectors come without their words, so the checkpoint will know no tags "
                "by name: give --tag_table, or playlist2tags.json instead of <id>_tags."
            )
        elif table.width != branch.width:
            raise ValueError(
                f"The tag table has vectors of width {table.width}, the features {branch.width}."
            )


def _tokenizer(options: PublishedOptions, train: Sequence[Item]) -> CaptionTokenizer:
    """GPT-2's vocabulary with its weights, else one of our own from the training texts."""
    if options.gpt_model_type == "gpt":
        return CaptionTokenizer.from_folder(gpt2_folder(options.gpt_path))
    texts = [formatted(c, options.formatting) for item in train for c in item.captions]
    texts += [tag for item in train for tag in item.tags]
    return CaptionTokenizer(train_vocabulary(texts, size=options.vocabulary))


def _model(
    options: PublishedOptions,
    made: tuple[BranchConfig, ...],
    embedding: str | None,
    tokenizer: CaptionTokenizer,
) -> AudioGPT:
    playlists = is_playlists(options.annotation_folder)
    shape: dict[str, Any] = {
        "branches": made,
        "fusion": options.fusion or ("sum" if playlists else "meshed"),
        "srau": not options.no_srau,
        "tau": options.tau,
        "encoder_layer": (
            options.encoder_layer if options.encoder_layer is not None else 0 if playlists else 3
        ),
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
        "decoding": {"beams": options.beam_size, "max_tokens": options.longest},
        "audio_rows": "tracks" if playlists else "segments",
        "formatting": options.formatting,
    }
    if embedding is not None:
        shape["audio_embedding"] = embedding
    if options.gpt_model_type == "gpt":
        model = from_gpt2(options.gpt_path, seed=options.random_seed, **shape)
        given = (model.config.n_layer, model.config.n_head)
        if given != (options.decoder_layer, options.head):
            raise ValueError(
                f"{options.gpt_path} has {given[0]} layers and {given[1]} heads: set "
                "--decoder_layer and --head to that, or use --gpt_model_type random."
            )
        return model.requires_grad_(True).train()
    config = AudioGPTConfig(
        n_layer=options.decoder_layer,
        n_head=options.head,
        n_embd=options.n_embd,
        n_positions=options.longest,
        vocab_size=tokenizer.vocab_size,
        **shape,
    )
    return AudioGPT(config)


class _PublishedTrainer(CaptionTrainer):
    """Adam without decoupled decay where `optimizer_type` asks for it, and shuffled epochs."""

    plain_adam = False

    def create_optimizer(self, model: Any = None) -> Any:
        if self.plain_adam and self.optimizer is None:
            weights: Any = self.model
            self.optimizer = Adam(weights.parameters(), lr=self.args.learning_rate)
        return super().create_optimizer()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        chosen: Any = self.train_dataset if train_dataset is None else train_dataset
        generator = torch.Generator().manual_seed(self.args.seed)
        return torch.utils.data.RandomSampler(chosen, generator=generator)


class _PublishedSelfCriticalTrainer(SelfCriticalTrainer, _PublishedTrainer):
    """Both."""


def _cross_entropy_trainer(
    prepared: Prepared, options: PublishedOptions, folder: Path
) -> _PublishedTrainer:
    trainer = _PublishedTrainer(
        model=CaptioningLoss(prepared.model),
        validation=prepared.validation,
        args=_arguments(options, folder, lr=options.lr, epochs=options.num_train_epochs),
        train_dataset=FixedExamples([example for example, _ in prepared.train]),
        data_collator=Collator(prepared.model.config),
        callbacks=[EarlyStoppingCallback(options.patience)],
    )
    trainer.plain_adam = options.optimizer_type == "adam"
    return trainer


def _self_critical_trainer(
    prepared: Prepared, options: PublishedOptions, folder: Path
) -> _PublishedSelfCriticalTrainer:
    by_item = {item.key: (example, item) for example, item in prepared.train}
    items = [
        RewardedExample(
            example=without_text(example),
            references=tuple(spoken(text) for text in references(item, options.formatting)),
        )
        for example, item in by_item.values()
    ]
    corpus = [text for item in items for text in item.references]
    trainer = _PublishedSelfCriticalTrainer(
        model=CaptioningLoss(prepared.model),
        validation=prepared.validation,
        tokenizer=prepared.tokenizer,
        reward=Reward(corpus, RewardWeights(unfinished=0.0, repetition=0.0)),
        captions=options.beam_size,
        longest=options.longest,
        whole=True,
        args=_arguments(
            options, folder, lr=options.reinforcement_lr, epochs=options.reinforcement_epochs
        ),
        train_dataset=Rewarded(items, list(range(len(items)))),
        data_collator=RewardedCollator(Collator(prepared.model.config)),
        callbacks=[EarlyStoppingCallback(options.patience)],
    )
    trainer.plain_adam = options.optimizer_type == "adam"
    return trainer


def _run_phase(trainer: CaptionTrainer, options: PublishedOptions, folder: Path) -> None:
    """Train one phase, then put its best weights into the model."""
    start = None
    if options.resume_last:
        start = last_checkpoint(folder)
    elif options.resume_best:
        start = best_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    if best := trainer.state.best_model_checkpoint:
        state = load_file(Path(best) / "model.safetensors")
        trainer.accelerator.unwrap_model(trainer.model).load_state_dict(state)
        logger.info("%s: best CIDEr %s at %s", folder.name, trainer.state.best_metric, best)


def _arguments(
    options: PublishedOptions, folder: Path, *, lr: float, epochs: float
) -> TrainingArguments:
    return trainer_arguments(
        folder,
        num_train_epochs=epochs,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        learning_rate=lr,
        weight_decay=0.01 if options.optimizer_type == "adamw" else 0.0,
        max_grad_norm=options.max_grad_norm,
        lr_scheduler_type="linear",
        bf16=options.bf16,
        seed=options.random_seed,
        logging_steps=10,
        eval_strategy="epoch",
        save_strategy="epoch",
        dataloader_num_workers=options.workers,
    )


def _log_to_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _plain(options: PublishedOptions) -> dict[str, Any]:
    return {k: v.name if isinstance(v, Path) else v for k, v in asdict(options).items()}
