"""The model's configuration: everything that is needed to rebuild it from its weights."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from audiogpt.controls import CENTRES

FUSIONS = ("sum", "gated", "meshed")
ROW_KINDS = ("features", "text")
TEXT_FORMATS = ("own", "published")
AUDIO_ROWS = ("segments", "tracks")
# How captions were written in training (audiogpt.captions).
FORMATTINGS = ("standard", "title_only", "description_only", "delimiter")

# Far beyond any model: what is larger is a slip of the pen, and would only fill the memory.
MAX_LAYERS, MAX_HEADS, MAX_WIDTH = 200, 1024, 100_000
MAX_POSITIONS, MAX_VOCABULARY = 1_000_000, 10_000_000

# A text row is [token embedding ; mean of its phrase ; one-hot position in the phrase], and in an
# ordered branch the place of its phrase among those given, as sines and cosines.
TEXT_ROW_POSITIONS = 4
PLACE_FEATURES = 16


def text_row_width(n_embd: int, *, ordered: bool) -> int:
    """Numbers of a text row for a model of width `n_embd`."""
    return 2 * n_embd + TEXT_ROW_POSITIONS + (PLACE_FEATURES if ordered else 0)


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")


def _check_number(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not -sys.float_info.max <= value <= sys.float_info.max:
        raise ValueError(f"{name} must be a number, not {value!r}.")


def _check_switch(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}.")


@dataclass(frozen=True, kw_only=True)
class BranchConfig:
    """One cross-attention branch.

    `width` is the length of an input row. Rows are either `features` computed outside the model
    (audio embeddings, artist shares, the published tag vectors) or `text`: the model makes them
    from the token ids of short phrases with its own token embeddings (see `AudioGPT.text_rows`).
    An `ordered` text branch also tells the model in which order the phrases were given.
    """

    name: str
    width: int
    rows: str = "features"
    ordered: bool = False

    @classmethod
    def text(cls, name: str, n_embd: int, *, ordered: bool = True) -> BranchConfig:
        """A branch with text rows for a model of width `n_embd`."""
        width = text_row_width(n_embd, ordered=ordered)
        return cls(name=name, width=width, rows="text", ordered=ordered)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"Branch name {self.name!r} must be a lower-case identifier.")
        if hasattr(nn.ModuleDict(), self.name):  # such as "keys": torch could not hold it
            raise ValueError(f"A branch cannot be called {self.name!r}: give it another name.")
        if self.rows not in ROW_KINDS:
            raise ValueError(f"Branch {self.name}: rows must be one of {', '.join(ROW_KINDS)}.")
        _check_switch(f"Branch {self.name}: ordered", self.ordered)
        if self.ordered and self.rows != "text":
            raise ValueError(f"Branch {self.name}: only a branch with text rows can be ordered.")
        _check_whole(f"Branch {self.name}: width", self.width, 1, 3 * MAX_WIDTH)


PLAYNTELL_BRANCHES = (
    BranchConfig(name="audio", width=256),
    BranchConfig(name="tags", width=300),
    BranchConfig(name="artists", width=10),
)


@dataclass(frozen=True, kw_only=True)
class AudioGPTConfig:
    """Shape and behaviour of an `AudioGPT`; the defaults are the released PlayNTell model.

    `published_padding` reproduces how the released model was trained: rows are zero-padded to the
    longest branch and the padding is attended to, and pad tokens are masked in self-attention and
    zeroed after each block (docs/playntell.md lists every such difference). `audio_rows` says what
    a row of the audio branch is: one segment, or a whole track (the mean over its first 30 s).
    `controls` are what a caption can be asked to be (audiogpt.controls).
    """

    branches: tuple[BranchConfig, ...] = PLAYNTELL_BRANCHES
    n_layer: int = 12
    n_embd: int = 768
    n_head: int = 12
    n_positions: int = 1024
    vocab_size: int = 50257
    bos_token_id: int = 47934
    eos_token_id: int = 50256
    pad_token_id: int = 47932
    fusion: str = "sum"
    srau: bool = True
    tau: float = 0.0
    encoder_layer: int = 0
    null_rows: bool = False
    dropout: float = 0.1
    layer_norm_eps: float = 1e-5
    published_padding: bool = False
    text_format: str = "own"
    formatting: str = "standard"  # of the captions it was trained on, see audiogpt.captions
    audio_embedding: str = "musicnn-vgg"
    audio_rows: str = "segments"
    controls: tuple[str, ...] = ()
    decoding: Mapping[str, Any] = field(default_factory=dict)  # this checkpoint's defaults

    def __post_init__(self) -> None:
        self._check_types()
        names = [branch.name for branch in self.branches]
        if len(set(names)) != len(names):
            raise ValueError(f"Branch names must differ, but they are {names}.")
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, not {self.fusion!r}.")
        if self.text_format not in TEXT_FORMATS:
            raise ValueError(f"text_format must be one of {', '.join(TEXT_FORMATS)}.")
        if self.formatting not in FORMATTINGS:
            raise ValueError(f"formatting must be one of {', '.join(FORMATTINGS)}.")
        if self.audio_rows not in AUDIO_ROWS:
            raise ValueError(f"audio_rows must be one of {', '.join(AUDIO_ROWS)}.")
        if self.controls != tuple(name for name in CENTRES if name in self.controls):
            raise ValueError(f"controls must be among {', '.join(CENTRES)}, in this order.")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd ({self.n_embd}) must be a multiple of n_head ({self.n_head})."
            )
        if not 0.0 <= self.tau < 0.5:
            raise ValueError(f"tau must lie in [0, 0.5), not {self.tau}.")
        if self.fusion == "meshed" and not self.branches:
            raise ValueError("fusion 'meshed' needs at least one branch.")
        if self.published_padding and (self.null_rows or self.encoder_layer):
            raise ValueError("published_padding excludes null_rows and encoder_layer.")
        for branch in self.branches:
            expected = text_row_width(self.n_embd, ordered=branch.ordered)
            if branch.rows == "text" and branch.width != expected:
                raise ValueError(
                    f"Branch {branch.name} has text rows, so its width must be {expected}, "
                    f"not {branch.width}."
                )
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise ValueError(f"{name} ({getattr(self, name)}) is outside the vocabulary.")

    def _check_types(self) -> None:
        """A config.json is written by people, too: what it holds must be of the right kind."""
        for name, low, high in (
            ("n_layer", 1, MAX_LAYERS),
            ("n_embd", 1, MAX_WIDTH),
            ("n_head", 1, MAX_HEADS),
            ("n_positions", 1, MAX_POSITIONS),
            ("vocab_size", 1, MAX_VOCABULARY),
            ("encoder_layer", 0, MAX_LAYERS),
            ("bos_token_id", 0, MAX_VOCABULARY),
            ("eos_token_id", 0, MAX_VOCABULARY),
            ("pad_token_id", 0, MAX_VOCABULARY),
        ):
            _check_whole(name, getattr(self, name), low, high)
        for name in ("layer_norm_eps", "dropout", "tau"):
            _check_number(name, getattr(self, name))
        if self.layer_norm_eps <= 0:
            raise ValueError(f"layer_norm_eps must be greater than 0, not {self.layer_norm_eps}.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), not {self.dropout}.")
        for name in ("srau", "null_rows", "published_padding"):
            _check_switch(name, getattr(self, name))
        if not isinstance(self.audio_embedding, str):
            raise ValueError(f"audio_embedding must be a name, not {self.audio_embedding!r}.")
        if not isinstance(self.decoding, Mapping):
            raise ValueError(f"decoding must map settings to values, not be {self.decoding!r}.")

    @property
    def branch_names(self) -> tuple[str, ...]:
        return tuple(branch.name for branch in self.branches)

    @property
    def tag_rows(self) -> str | None:
        """The kind of the tags branch's rows ("text" or "features"); None without that branch."""
        return next((branch.rows for branch in self.branches if branch.name == "tags"), None)

    @property
    def weights_are_relative(self) -> bool:
        """Whether a branch's weights act only in relation to each other: attention sums to 1, and
        nothing but the rows that were given takes a part of it."""
        return not self.null_rows and not self.published_padding

    def branch(self, name: str) -> BranchConfig:
        """The branch called `name`; raises ValueError if there is none."""
        for branch in self.branches:
            if branch.name == name:
                return branch
        raise ValueError(f"This model has no {name!r} branch, only {', '.join(self.branch_names)}.")

    def to_dict(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        data["model_type"] = "audiogpt"
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AudioGPTConfig:
        """Rebuild from `to_dict`; raises ValueError naming any key that is not understood."""
        data = dict(data)
        if data.pop("model_type", "audiogpt") != "audiogpt":
            raise ValueError("This config.json belongs to another kind of model.")
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"config.json has unknown keys: {', '.join(unknown)}.")
        try:
            branches = tuple(BranchConfig(**branch) for branch in data.pop("branches", ()))
        except TypeError as error:
            raise ValueError(f"config.json describes a branch wrongly: {error}.") from None
        controls = data.pop("controls", ())
        if not isinstance(controls, list | tuple):
            raise ValueError(f"controls must be a list of names, not {controls!r}.")
        return cls(branches=branches, controls=tuple(controls), **data)
