"""The loop: transformers' Trainer with our schedule, validation and weight average."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from audiogpt.training.averaging import WeightAverage
from audiogpt.training.dataset import FixedExamples
from audiogpt.training.losses import CaptioningLoss
from audiogpt.training.validation import Validation

logger = logging.getLogger(__name__)

STATE_FILE = "trainer_state.json"  # written last, so that a checkpoint with it is whole


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
    logger.info("Computing in %s.", "bfloat16" if settings.get("bf16") else "float32")
    return TrainingArguments(output_dir=str(folder), **{**common, **settings})


class OrderedTrainer(Trainer):
    """Trainer that walks its training set in order: the sets are drawn and shuffled already."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        chosen: Any = self.train_dataset if train_dataset is None else train_dataset
        return SequentialSampler(chosen)


class CaptionTrainer(OrderedTrainer):
    """Trainer that validates by captions.

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
        self.add_callback(SavesAsAsked())
        if average is not None:
            self.add_callback(AverageCallback(average))

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Nothing where a resumed run is over: Trainer's own looks up only after a step."""
        if not self.control.should_training_stop:
            super()._run_epoch(*args, **kwargs)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """As Trainer's, but of equals the later one is the better, as in the published trainers:
        at first CIDEr is 0 for many epochs while the loss falls.

        What is best so far is saved, at whatever steps saves are due: a run ends with the best, and
        cannot go back to weights that are nowhere.
        """
        name, best = f"eval_{self.args.metric_for_best_model}", self.state.best_metric
        if best is not None and metrics.get(name) == best:
            self.state.best_metric = None
        better = super()._determine_best_metric(metrics, trial)
        self.control.should_save |= better
        return better

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Weights and their average, both before the state that makes a checkpoint whole."""
        super()._save(output_dir, state_dict)
        if self.average is not None and self.args.should_save:
            self.average.save(Path(output_dir or self.args.output_dir or "."))

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
        if self.args.world_size > 1:  # all must draw the same conclusions, to the last bit
            measured = broadcast_object_list([measured])[0]
        metrics = {f"eval_{name}": value for name, value in measured.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


class AverageCallback(TrainerCallback):
    """Update the average after each step, and load it from the checkpoint that goes on."""

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


class SavesAsAsked(TrainerCallback):
    """Save as often as this run is told to: a checkpoint brings the steps of the one it is of."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        state.save_steps = int(args.save_steps)


class Patience(TrainerCallback):
    """Stop after so many evaluations without a better or equal value of the chosen measure.

    It counts in the log, which checkpoints keep, so that a resumed run stops where an unbroken one
    would, and one that had stopped does not begin again.
    """

    def __init__(self, evaluations: int) -> None:
        """0: never."""
        self.evaluations = evaluations

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.on_evaluate(args, state, control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        name = f"eval_{args.metric_for_best_model}"
        sign = 1 if args.greater_is_better else -1
        values = [sign * entry[name] for entry in state.log_history if name in entry]
        best = max(range(len(values)), key=lambda i: (values[i], i), default=0)
        if self.evaluations and len(values) - 1 - best >= self.evaluations:
            control.should_training_stop = True


class SaveEvery(TrainerCallback):
    """Save every so many steps as well, beside the saves that go with the evaluations of epochs.

    Not where an epoch or the training ends: its evaluation comes after the step, and a run resumed
    from a save between the two begins the next epoch without it.
    """

    def __init__(self, steps: int) -> None:
        """0: never."""
        self.steps = steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        ends = state.global_step >= state.max_steps or float(state.epoch or 0.0).is_integer()
        if self.steps and state.global_step % self.steps == 0 and not ends:
            control.should_save = True


class LogEvaluations(TrainerCallback):
    """Tell a logger what each evaluation measured."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        said = ", ".join(f"{k.removeprefix('eval_')} {v:.3f}" for k, v in (metrics or {}).items())
        name = Path(args.output_dir or ".").name
        self.logger.info("%s, epoch %.2f: %s", name, state.epoch or 0.0, said)


def _checkpoint_folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run: one that was cut off while written is passed over."""
    found = (path for path in folder.glob("checkpoint-*") if (path / STATE_FILE).is_file())
    return max(found, key=lambda path: int(path.name.split("-")[1]), default=None)


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that the newest one calls the best of its run, if it is still there."""
    newest = last_checkpoint(folder)
    if newest is None:
        return None
    state = json.loads((newest / STATE_FILE).read_text(encoding="utf-8"))
    named = state.get("best_model_checkpoint")
    best = folder / Path(named).name if named else newest
    return best if (best / STATE_FILE).is_file() else newest
