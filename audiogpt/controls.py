"""What a caption is asked to be, told to the model beside its rows: how long, and how faithful.

A model may be trained with controls: of each training text it is told how many words the
description has and how many of the tags' words it uses, so that both can be asked for (conditional
training, as Fan, Grangier and Auli, 2018, have it for summaries). A control that is not asked for
adds exactly nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

CENTRES: Mapping[str, tuple[float, ...]] = {
    "words": tuple(range(8, 81, 8)),
    "coverage": (0.0, 0.25, 0.5, 0.75, 1.0),
}
"""Of the bumps by which a value is told: a value between two of them moves both smoothly."""

TOLD = 0.35
"""Weight above which a tag counts for coverage: what less asks for is told by the weight."""

Controls = Mapping[str, float]
"""Values by name: `words` of the description, `coverage` of the tags' words in [0, 1]."""


def control_width(names: Sequence[str]) -> int:
    """Numbers by which the named controls are told."""
    return sum(len(CENTRES[name]) for name in names)


def control_features(names: Sequence[str], items: Sequence[Controls]) -> Tensor:
    """exp(-((value - centre) / spacing)² / 2) for each centre, and zeros for what is not asked:
    float32 (B, width). Values beyond the outermost centres count as these."""
    features = torch.zeros(len(items), control_width(names))
    first = 0
    for name in names:
        centres = torch.tensor(CENTRES[name], dtype=torch.float32)
        spacing = float(centres[1] - centres[0])
        for row, item in enumerate(items):
            if name in item:
                value = min(max(item[name], float(centres[0])), float(centres[-1]))
                bumps = (-0.5 * ((value - centres) / spacing) ** 2).exp()
                features[row, first : first + len(centres)] = bumps
        first += len(centres)
    return features
