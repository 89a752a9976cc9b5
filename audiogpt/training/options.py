"""The settings of training runs: plain data, so that the command line loads nothing heavy.

What each of them does stands in `HELP` of `training_commands`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BATCHES_PER_BLOCK = 16  # of the schedule, which are sorted by length together
AUDIO_EMBEDDINGS = ("musicnn-pooled", "musicnn-vgg")  # those that ship with the program


@dataclass(frozen=True, kw_only=True)
class OpenDataOptions:
    """Everything that decides the run."""

    musiccaps: Path
    output: Path
    incompetech: Path | None = None
    grooves: Path | None = None
    embeddings: Path | None = None
    audio_embedding: str = "musicnn-pooled"
    tags_only: bool = False
    start: Path | None = None
    start_share: float = 0.0
    only: str | None = None
    audio_probe: bool = False
    vocabulary_of: Path | None = None
    teachers: tuple[Path, ...] = ()
    language_teacher: Path | None = None
    distinct_batches: int = 0
    distillation: float = 0.5
    contrast: float = 0.0
    n_layer: int = 4
    n_embd: int = 256
    n_head: int = 4
    encoder_layer: int = 0
    controls: tuple[str, ...] = ("words", "coverage")
    vocabulary: int = 6000
    dropout: float = 0.1
    label_smoothing: float = 0.05
    token_dropout: float = 0.08
    steps: int = 4000
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 150
    average_decay: float = 0.998
    max_grad_norm: float = 1.0
    evaluate_every: int = 250
    save_every: int = 250
    select: str = "cider"
    patience: int = 0
    bf16: bool | None = None
    seed: int = 42
    threads: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.start_share < 1.0 or (self.start_share and self.start is None):
            raise ValueError("start_share is a share in [0, 1) of the weights of --start.")
        if self.only and (self.start is None or self.weight_decay):
            raise ValueError("--only needs --start, and --weight_decay 0 so that the rest stays.")
        if self.audio_probe and self.only != "audio":
            raise ValueError("--audio_probe needs --only audio: all else has to know tags before.")
        if self.tags_only and self.contrast:
            raise ValueError(
                "--contrast tells sounds apart, which --tags_only leaves out: drop one."
            )
        if self.language_teacher and (self.teachers or not self.distinct_batches):
            raise ValueError(
                "--language_teacher needs --distinct_batches, about which it is asked once, and no "
                "other --teachers."
            )
        if self.distinct_batches < 0 or self.distinct_batches % BATCHES_PER_BLOCK:
            raise ValueError(
                f"--distinct_batches must be a multiple of {BATCHES_PER_BLOCK}, or 0 where the "
                f"schedule never begins anew, not {self.distinct_batches}."
            )
        _check_patience(self.patience)
        if self.audio_embedding not in AUDIO_EMBEDDINGS:
            known = " or ".join(AUDIO_EMBEDDINGS)
            raise ValueError(f"audio_embedding must be {known}, not {self.audio_embedding!r}.")


@dataclass(frozen=True, kw_only=True)
class LanguageTeacherOptions:
    """Fine-tuning of a pretrained language model on MusicCaps' training rows."""

    language_model: str
    musiccaps: Path
    output: Path
    vocabulary_of: Path
    epochs: int = 2
    batch_size: int = 16
    lr: float = 3e-4
    warmup: int = 30
    weight_decay: float = 0.05
    tags_weight: float = 0.3
    max_grad_norm: float = 1.0
    bf16: bool | None = None
    seed: int = 0
    threads: int = 0
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class PublishedOptions:
    """The switches of the original trainer, under their names, and a few of ours after them."""

    features_path: Path
    annotation_folder: Path
    exp_name: str = "audiogpt"
    batch_size: int = 50
    head: int = 12
    lr: float = 1e-4
    gpt_model_type: str = "gpt"
    random_seed: int = 42
    log_file: Path = Path("log/audiogpt.txt")
    decoder_layer: int = 12
    encoder_layer: int | None = None
    optimizer_type: str = "adamw"
    gradient_accumulation_steps: int = 1
    train_percentage: float = 1.0
    split_train_data: bool = False
    tau: float = 0.0
    max_grad_norm: float = 1.0
    num_train_epochs: float = 20.0
    workers: int = 0
    eval_batch_size: int = 50
    reinforcement_lr: float = 1e-5
    resume_last: bool = False
    resume_best: bool = False
    playlist_feature: str = "audio_tags_artist"
    formatting: str = "standard"
    no_srau: bool = False
    # Beyond the original.
    output: Path = Path("runs")
    gpt_path: str = "gpt2"
    n_embd: int = 768
    vocabulary: int = 8000
    tag_table: Path | None = None
    fusion: str | None = None
    reinforcement_epochs: float | None = None
    patience: int = 5
    save_every: int = 500
    longest: int = 80
    beam_size: int = 5
    bf16: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        if self.gpt_model_type not in ("gpt", "random"):
            raise ValueError(f"gpt_model_type must be gpt or random, not {self.gpt_model_type!r}.")
        if self.optimizer_type not in ("adamw", "adam"):
            raise ValueError(f"optimizer_type must be adamw or adam, not {self.optimizer_type!r}.")
        if not 0 < self.train_percentage <= 1:
            raise ValueError("train_percentage is a share in (0, 1].")
        if self.reinforcement_epochs and self.beam_size < 2:
            raise ValueError("Self-critical training needs a beam_size of at least 2.")
        _check_patience(self.patience)
        if self.resume_last and self.resume_best:
            raise ValueError("Resume from the last or the best checkpoint, not both.")


@dataclass(frozen=True, kw_only=True)
class PolishOptions:
    """Self-critical training of a finished small captioner on its MusicCaps training rows."""

    checkpoint: Path
    musiccaps: Path
    output: Path
    incompetech: Path | None = None
    grooves: Path | None = None
    embeddings: Path | None = None
    steps: int = 150
    batch_size: int = 16
    captions: int = 5
    sample: bool = False
    lr: float = 3e-5
    warmup: int = 10
    coverage: float = 1.0
    invention: float = 0.15
    cross_entropy: float = 0.5
    average_decay: float = 0.97
    max_grad_norm: float = 1.0
    evaluate_every: int = 50
    bf16: bool | None = None
    seed: int = 7
    threads: int = 0
    resume: bool = False


def _check_patience(evaluations: int) -> None:
    if evaluations < 0:
        raise ValueError(f"patience must be 0 (never stop early) or more, not {evaluations}.")
