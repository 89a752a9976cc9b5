"""What a search is told and steered by, for a batch of requests under the same settings.

The pipeline and the training side both build it, of their own kind of request, so that captions are
searched in one way wherever they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from audiogpt.controls import control_features
from audiogpt.decoding import Steering, steer
from audiogpt.length import Audible, LengthModel, expected_words, length_gains
from audiogpt.request import Decoding
from audiogpt.token_words import TokenWords


@dataclass(frozen=True, kw_only=True)
class Asking:
    """B requests: what the model hears of each, and the ids that its caption must not contain.

    `controls` are the names of what the model can be asked for (`audiogpt.controls`), `lengths`
    what its checkpoint expects of lengths, if anything.
    """

    words: TokenWords
    decoding: Decoding
    lengths: LengthModel | None
    controls: Sequence[str]
    audible: Sequence[Audible]
    forbidden: Sequence[Sequence[int]]
    device: torch.device | str = "cpu"

    def told(self, more_words: float = 0.0) -> Tensor:
        """What captions are asked to be, by the settings or else as such requests usually get, and
        `more_words`: float32 (B, F)."""
        asked = []
        for heard in self.audible:
            words = expected_words(self.lengths, heard)
            words = None if words is None else words + more_words
            asked.append(self.decoding.controls(heard["tags"], words))
        return control_features(self.controls, asked)

    def steering(self, more_words: float = 0.0) -> Steering:
        """What steers a search for captions of as many words as usual, and `more_words`."""
        return steer(
            self.words,
            [heard["tags"] for heard in self.audible],
            self.decoding,
            device=self.device,
            forbidden=self.forbidden,
            gains=self._gains(more_words) if more_words else self.gains,
        )

    @cached_property
    def gains(self) -> list[np.ndarray | None]:
        """What lengths gain each request (`audiogpt.length`)."""
        return self._gains(0.0)

    def _gains(self, more_words: float) -> list[np.ndarray | None]:
        return [
            length_gains(self.decoding, self.lengths, **heard, more_words=more_words)
            for heard in self.audible
        ]
