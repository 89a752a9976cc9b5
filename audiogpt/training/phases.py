"""The phases of the published run: each is trained, noted when it ends, and taken up again."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import PartialState
from safetensors.torch import load_file

from audiogpt.training.claims import is_first_process
from audiogpt.training.files import replacing
from audiogpt.training.options import PublishedOptions
from audiogpt.training.trainer import CaptionTrainer, best_checkpoint, last_checkpoint

logger = logging.getLogger(__name__)

FINISHED_FILE = "finished.json"
BEGUN_FILE = "begun_from.json"
WEIGHTS_FILE = "model.safetensors"
UNMEASURED = "checkpoint-None"  # the best of a phase without any epoch


@dataclass(frozen=True, kw_only=True)
class Phase:
    """How a phase ended: its best checkpoint, by CIDEr, and whether patience ended it."""

    best: str
    cider: float
    epochs: float
    stopped: bool


def was_begun(folder: Path) -> bool:
    """Whether a phase's folder holds something: one whose checkpoints were deleted has its note of
    the end, and a finished model beside it that a new run would replace."""
    return last_checkpoint(folder) is not None or (folder / FINISHED_FILE).is_file()


def begin_from(folder: Path, first: Phase) -> None:
    """Note which weights a phase grows from; one that grew from others, as when the phase before it
    went on, is put aside, for it cannot go on from these."""
    note, grown = folder / BEGUN_FILE, {"best": first.best, "cider": first.cider}
    with PartialState().main_process_first():
        if note.is_file():
            theirs = json.loads(note.read_text(encoding="utf-8"))
            if theirs == grown:
                return
            aside = folder.with_name(f"{folder.name}-from-{theirs['best']}")
            folder.rename(aside)
            logger.warning(
                "%s grew from other weights than %s, so it begins anew and the old one is now %s.",
                *(folder.name, first.best, aside),
            )
        if is_first_process():
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(note) as part:
                part.write_text(json.dumps(grown) + "\n", encoding="utf-8")


def run_phase(trainer: CaptionTrainer, options: PublishedOptions, epochs: float) -> Phase:
    """Train one phase, then put its best weights into the model; a phase that ended before the run
    was cut off is not trained again.

    Raises ValueError where the best checkpoint is not there.
    """
    folder = Path(trainer.args.output_dir or ".")
    record, start = folder / FINISHED_FILE, None
    if options.resume_last or options.resume_best:
        if record.is_file():
            ended = Phase(**json.loads(record.read_text(encoding="utf-8")))
            over = ended.stopped or ended.epochs >= epochs
            # One that was prolonged and cut off may have kept better checkpoints than it noted.
            if over or last_checkpoint(folder) is None:
                load_best(trainer, folder / ended.best)
            if over:
                return ended
        start = last_checkpoint(folder) if options.resume_last else best_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(start) if start else None)
    state = trainer.state
    ended = Phase(
        best=f"checkpoint-{state.best_global_step}",
        cider=float(state.best_metric or 0.0),
        epochs=float(state.epoch or 0.0),
        stopped=state.global_step < state.max_steps,
    )
    load_best(trainer, folder / ended.best)
    logger.info("%s: best CIDEr %.1f at %s", folder.name, ended.cider, ended.best)
    if not ended.cider:
        logger.warning(
            "CIDEr never rose above 0 in %s, so its last weights are kept: train longer, or with a "
            "higher learning rate.",
            folder.name,
        )
    if trainer.is_world_process_zero():
        record.write_text(json.dumps(asdict(ended)) + "\n", encoding="utf-8")
    return ended


def load_best(trainer: CaptionTrainer, checkpoint: Path) -> None:
    """Put a phase's best weights into the model, where this machine has them; without an epoch they
    are those it began with. Raises ValueError where they are gone."""
    if (checkpoint / WEIGHTS_FILE).is_file():
        state = load_file(checkpoint / WEIGHTS_FILE)
        trainer.accelerator.unwrap_model(trainer.model).load_state_dict(state)
    elif checkpoint.name != UNMEASURED and trainer.is_world_process_zero():
        # The other processes may be on machines without the folder.
        raise ValueError(
            f"{checkpoint}, the best checkpoint of its phase, is gone: put it back, or train again "
            "with another --exp_name."
        )
