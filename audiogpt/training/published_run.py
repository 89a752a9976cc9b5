"""The published trainer's run: cross-entropy until CIDEr stops rising, then self-critical training.

It trains PlayNTell's form from playlists and VisualGPT's from COCO captions with detections, with
the original's switches. The best checkpoint by CIDEr on the validation split ends up in
`<output>/<exp_name>/model`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch.optim import Adam
from torch.utils.data import Dataset
from transformers import TrainingArguments, set_seed

from audiogpt.checkpoints import save_pretrained
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.tags import VECTORS_FILE, WORDS_FILE, TagTable
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.annotations import READ, read_annotations
from audiogpt.training.claims import (
    claim,
    folder_identity,
    identity,
    is_first_process,
    table_identity,
)
from audiogpt.training.collate import Collator
from audiogpt.training.dataset import FixedExamples
from audiogpt.training.losses import CaptioningLoss
from audiogpt.training.options import PublishedOptions
from audiogpt.training.pairs import Pair
from audiogpt.training.phases import Phase, begin_from, load_best, run_phase, was_begun
from audiogpt.training.published_data import (
    ItemExamples,
    read_tag_table,
    references,
    sampled,
    usable,
)
from audiogpt.training.published_model import make_branches, make_model, make_tokenizer
from audiogpt.training.rewards import Reward, RewardWeights
from audiogpt.training.scst import (
    RewardedCollator,
    RewardedExample,
    SelfCriticalLoss,
    SelfCriticalTrainer,
)
from audiogpt.training.trainer import (
    CaptionTrainer,
    LogEvaluations,
    Patience,
    SaveEvery,
    trainer_arguments,
)
from audiogpt.training.validation import Validation

logger = logging.getLogger(__name__)

CROSS_ENTROPY, SELF_CRITICAL = "cross-entropy", "self-critical"
# What may differ when a run goes on: it changes how long or where it trains, not what it learns.
CHANGEABLE = {
    *("resume_last", "resume_best", "output", "exp_name", "log_file", "threads", "workers"),
    *("eval_batch_size", "num_train_epochs", "patience", "save_every"),
    "reinforcement_epochs",
}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything the two phases share."""

    tokenizer: CaptionTokenizer
    model: AudioGPT
    train: ItemExamples
    validation: Validation
    tag_table: TagTable | None


def train_published(options: PublishedOptions) -> Path:
    """Run both phases; returns the folder of the finished checkpoint.

    Raises ValueError for bad data, for a folder that holds another run, and where a phase's best
    checkpoint is not there.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    set_seed(options.random_seed)
    folder = options.output / options.exp_name
    begun = _claim(folder, options)
    with _log_file(options.log_file):
        prepared = _prepare(options, kept=folder if begun else None)
        if is_first_process():
            prepared.tokenizer.save(folder)
        logger.info("%s", json.dumps(_plain(options)))
        phase = folder / CROSS_ENTROPY
        trainer = _cross_entropy_trainer(prepared, options, phase)
        first = run_phase(trainer, options, options.num_train_epochs)
        if epochs := _self_critical_epochs(options, first):
            phase = folder / SELF_CRITICAL
            begin_from(phase, first)
            trainer = _self_critical_trainer(prepared, options, phase, epochs)
            second = run_phase(trainer, options, epochs)
            if second.cider < first.cider:
                logger.info("%s was not better: %s it is.", SELF_CRITICAL, CROSS_ENTROPY)
                load_best(trainer, folder / CROSS_ENTROPY / first.best)
    if PartialState().is_main_process:  # the others have the same weights
        _write(prepared, options, folder / "model")
    return folder / "model"


def _claim(folder: Path, options: PublishedOptions) -> bool:
    """Make the run's folder its own; returns whether it was begun earlier."""
    begun = any(was_begun(folder / phase) for phase in (CROSS_ENTROPY, SELF_CRITICAL))
    data = {
        "features_path": table_identity(options.features_path),
        "annotation_folder": folder_identity(options.annotation_folder, READ),
        "tag_table": identity(options.tag_table),
    }
    claim(
        folder,
        {**_plain(options), **data},
        begun=begun,
        resuming=options.resume_last or options.resume_best,
        changeable=CHANGEABLE,
        go_on="--resume_last",
        elsewhere="--exp_name",
    )
    return begun


def _prepare(options: PublishedOptions, *, kept: Path | None = None) -> Prepared:
    """`kept` is the folder of a run that goes on: it keeps its vocabulary, for its weights are of
    those tokens, whatever texts would give today."""
    items = read_annotations(options.annotation_folder)
    told = {split: usable(items[split], options.formatting, split) for split in ("train", "val")}
    table = read_tag_table(options.tag_table) if options.tag_table else None
    made, embedding = make_branches(options, [*told["train"], *told["val"]], table)
    train = sampled(told["train"], options)
    if kept is not None and (kept / "tokenizer.json").is_file():
        tokenizer = CaptionTokenizer.from_folder(kept)
    else:
        tokenizer = make_tokenizer(options, train)
    model = make_model(options, made, embedding, tokenizer)
    settings: dict[str, Any] = {
        "branches": made,
        "features_path": options.features_path,
        "tokenizer": tokenizer,
        "formatting": options.formatting,
        "longest": options.longest,
        "tag_table": table,
    }
    held = told["val"]
    validation = Validation(
        tokenizer,
        [Pair(key=item.key, source="annotations", sentences=(), tags=item.tags) for item in held],
        ItemExamples(
            [replace(item, captions=item.captions[:1]) for item in held], split="val", **settings
        ),
        decoding=Decoding(beams=options.beam_size, n_best=1, max_tokens=options.longest),
        batch_size=options.eval_batch_size,
        references=[references(item, options.formatting) for item in held],
    )
    return Prepared(
        tokenizer=tokenizer,
        model=model,
        train=ItemExamples(train, **settings),
        validation=validation,
        tag_table=table,
    )


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


class _RewardedItems(Dataset[RewardedExample]):
    """The items of training examples, each once, to be captioned."""

    def __init__(self, examples: ItemExamples, formatting: str) -> None:
        self.examples = examples
        self.items = list({item.key: item for item, _ in examples.texts}.values())
        self.references = [references(item, formatting) for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> RewardedExample:
        example = self.examples.inputs(self.items[index])
        return RewardedExample(example=example, references=self.references[index])


def _cross_entropy_trainer(
    prepared: Prepared, options: PublishedOptions, folder: Path
) -> _PublishedTrainer:
    trainer = _PublishedTrainer(
        model=CaptioningLoss(prepared.model),
        validation=prepared.validation,
        args=_arguments(options, folder, lr=options.lr, epochs=options.num_train_epochs),
        train_dataset=FixedExamples(prepared.train),
        data_collator=Collator(prepared.model.config),
        callbacks=_callbacks(options),
    )
    trainer.plain_adam = options.optimizer_type == "adam"
    return trainer


def _self_critical_epochs(options: PublishedOptions, first: Phase) -> float:
    """How long the second phase is; by default, as published, it takes the epochs that patience
    has left of the first."""
    if options.reinforcement_epochs is not None:
        return options.reinforcement_epochs
    if not first.stopped or options.beam_size < 2:
        return 0.0
    return max(0.0, options.num_train_epochs - first.epochs)


def _self_critical_trainer(
    prepared: Prepared, options: PublishedOptions, folder: Path, epochs: float
) -> _PublishedSelfCriticalTrainer:
    """As published, a step has as many captions as one of the first phase, written for fewer
    items."""
    items = _RewardedItems(prepared.train, options.formatting)
    corpus = [text for texts in items.references for text in texts]
    trainer = _PublishedSelfCriticalTrainer(
        model=SelfCriticalLoss(prepared.model),
        validation=prepared.validation,
        tokenizer=prepared.tokenizer,
        reward=Reward(corpus, RewardWeights(unfinished=0.0, repetition=0.0)),
        captions=options.beam_size,
        longest=options.longest,
        whole=True,
        args=_arguments(
            options,
            folder,
            lr=options.reinforcement_lr,
            epochs=epochs,
            per_device_train_batch_size=max(1, options.batch_size // options.beam_size),
        ),
        train_dataset=items,
        data_collator=RewardedCollator(Collator(prepared.model.config)),
        callbacks=_callbacks(options),
    )
    trainer.plain_adam = options.optimizer_type == "adam"
    return trainer


def _callbacks(options: PublishedOptions) -> list[Any]:
    return [Patience(options.patience), SaveEvery(options.save_every), LogEvaluations(logger)]


def _arguments(
    options: PublishedOptions, folder: Path, *, lr: float, epochs: float, **settings: Any
) -> TrainingArguments:
    return trainer_arguments(
        folder,
        num_train_epochs=epochs,
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
        **{"per_device_train_batch_size": options.batch_size, **settings},
    )


def _write(prepared: Prepared, options: PublishedOptions, folder: Path) -> None:
    save_pretrained(prepared.model, folder)
    prepared.tokenizer.save(folder)
    for name in (VECTORS_FILE, WORDS_FILE):  # of an earlier run
        (folder / name).unlink(missing_ok=True)
    if prepared.tag_table is not None:
        prepared.tag_table.save(folder)
    text = json.dumps(_plain(options), indent=2) + "\n"
    (folder / "training.json").write_text(text, encoding="utf-8")


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Copy what training logs, this run and its data, into a file, from the first process alone."""
    if not is_first_process():
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    package = logging.getLogger(__package__)
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        handler.close()


def _plain(options: PublishedOptions) -> dict[str, Any]:
    return {k: v.name if isinstance(v, Path) else v for k, v in asdict(options).items()}
