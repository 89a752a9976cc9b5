"""An exponential moving average of the weights, kept beside the trained ones."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

AVERAGE_FILE = "averaged.safetensors"


class WeightAverage:
    """`average = decay * average + (1 - decay) * weights` after every step.

    The decay grows with the steps, min(decay, (1 + step) / (10 + step)), so that the random start
    is forgotten early.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"The decay of the weight average must lie in [0, 1), not {decay}.")
        self.decay = decay
        self.average = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Blend in the weights after optimiser step number `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine = list(self.average.values())
        theirs = [v.detach().to(a) for v, a in zip(model.state_dict().values(), mine, strict=True)]
        torch._foreach_lerp_(mine, theirs, 1 - decay)

    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights with the average, in place; call again to undo."""
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                held: Tensor = tensor.clone()
                tensor.copy_(self.average[name])
                self.average[name].copy_(held)

    def save(self, folder: Path) -> None:
        save_file({k: v.contiguous() for k, v in self.average.items()}, folder / AVERAGE_FILE)

    def load(self, folder: Path) -> None:
        """Continue the average saved in a checkpoint folder."""
        for name, tensor in load_file(folder / AVERAGE_FILE).items():
            self.average[name].copy_(tensor)
