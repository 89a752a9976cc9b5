"""Which device computes: the one that was asked for, if it is here, else a GPU, else the CPU."""

from __future__ import annotations

import torch


def usable_device(name: str | None = None) -> str:
    """`name`, or without one a GPU if there is any; ValueError for a device that is not here."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # a device without memory ("meta") gives no number
    except (RuntimeError, AssertionError):  # what torch raises for names and for missing GPUs
        raise ValueError(f"There is no device {name!r} here that torch can use: try cpu.") from None
    return name
