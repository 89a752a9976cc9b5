"""The loop: transformers' Trainer with our schedule, validation and weight average."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from audiogpt.training.averaging import WeightAverage
from audiogpt.training.dataset import FixedExamples
from audiogpt.training.losses import CaptioningLoss
from audiogpt.training.validation import Validation

logger = logging.getLogger(__name__)


def trainer_arguments(folder: Path, **settings: Any) -> TrainingArguments:
    """What all runs have in common, and `settings`; the best checkpoint is the one by CIDEr."""
    common: dict[str, Any] = {
        "metric_for_best_model": "cider",
        "greater_is_better": True,
        "save_total_limit": 2,
        "use_cpu": not torch.cuda.is_available(),
        "report_to": ["tensorboard"],
        "remove_unused_columns": False,
        "label_names": ["labels"],
    }
    return TrainingArguments(output_dir=str(folder), **{**common, **settings})


class CaptionTrainer(Trainer):
    """Trainer that walks the schedule in order and validates by captions.

    Everything else (resuming, mixed precision, several devices, TensorBoard, progress bars,
    checkpoints) is transformers' own.
    """

    def __init__(
        self,
        *,
        model: CaptioningLoss,
        validation: Validation | None = None,
        average: WeightAverage | None = None,
        **options: Any,
    ) -> None:
        if validation is not None:  # Trainer insists on one; `evaluate` below does not use it
            options["eval_dataset"] = FixedExamples(validation.examples)
        super().__init__(model=model, **options)
        self.validation, self.average = validation, average
        if average is not None:
            self.add_callback(AverageCallback(average))

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        chosen: Any = self.train_dataset if train_dataset is None else train_dataset
        return SequentialSampler(chosen)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the averaged weights (or the plain ones) on the validation cut."""
        if self.validation is None:
            return {}
        module = self.accelerator.unwrap_model(self.model)
        if self.average is not None:
            self.average.swap(module.model)
        try:
            measured = self.validation.measure(module.model)
        finally:
            if self.average is not None:
                self.average.swap(module.model)
        metrics = {f"eval_{name}": value for name, value in measured.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


class AverageCallback(TrainerCallback):
    """Update the average after each step, and save and load it with the checkpoints."""

    def __init__(self, average: WeightAverage) -> None:
        self.average = average

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step:
            self.average.load(_checkpoint_folder(args, state))

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        **_: Any,
    ) -> None:
        if model is not None:
            inner: Any = getattr(model, "module", model)  # what a distributed wrapper holds
            self.average.update(inner.model, state.global_step)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.is_world_process_zero:
            self.average.save(_checkpoint_folder(args, state))


def _checkpoint_folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run: one that was cut off while written is passed over."""
    found = sorted(
        (path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").is_file()),
        key=lambda path: int(path.name.split("-")[1]),
    )
    return found[-1] if found else None


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that the newest one calls the best of its run, if it is still there."""
    newest = last_checkpoint(folder)
    if newest is None:
        return None
    state = json.loads((newest / "trainer_state.json").read_text(encoding="utf-8"))
    named = state.get("best_model_checkpoint")
    best = folder / Path(named).name if named else newest
    return best if (best / "trainer_state.json").is_file() else newest
