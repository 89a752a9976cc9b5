"""The settings of training runs: plain data, so that the command line loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class OpenDataOptions:
    """Everything that decides the run."""

    musiccaps: Path
    output: Path
    incompetech: Path | None = None
    grooves: Path | None = None
    embeddings: Path | None = None  # folder with incompetech.npz and grooves.npz
    n_layer: int = 4
    n_embd: int = 256
    n_head: int = 4
    encoder_layer: int = 0
    vocabulary: int = 6000
    dropout: float = 0.1
    label_smoothing: float = 0.05
    steps: int = 4000
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 150
    average_decay: float = 0.998
    max_grad_norm: float = 1.0
    evaluate_every: int = 250
    save_every: int = 250
    patience: int = 0  # evaluations without a better CIDEr; 0: never stop early
    bf16: bool = True
    seed: int = 42
    threads: int = 0
    resume: bool = False
