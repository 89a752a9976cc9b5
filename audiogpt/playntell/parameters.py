"""params.json: the switches of the published trainer that decide what a checkpoint is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiogpt.captions import FORMATTINGS
from audiogpt.config import MAX_LAYERS, BranchConfig

# Published feature -> our branch name and the width of its rows.
FEATURES = {"audio": ("audio", 256), "tags": ("tags", 300), "artist": ("artists", 10)}


@dataclass(frozen=True, kw_only=True)
class PublishedParams:
    """What params.json says about the model; `source` is the whole file, for the record."""

    features: tuple[str, ...]
    n_layer: int
    tau: float
    srau: bool
    formatting: str
    gpt_model_type: str
    source: dict[str, Any]

    @property
    def branches(self) -> tuple[BranchConfig, ...]:
        """Our branches, in the order of the published ones."""
        named = (FEATURES[feature] for feature in self.features)
        return tuple(BranchConfig(name=name, width=width) for name, width in named)


def read_params(path: str | Path) -> PublishedParams:
    """Read params.json; raises ValueError naming the switch that is missing or wrong."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"There is no {path}: give params.json from beside best.pth.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold a JSON object.")
    return parse_params(data, where=str(path))


def parse_params(data: dict[str, Any], *, where: str = "params.json") -> PublishedParams:
    """The same from a dictionary."""

    def switch(name: str, *kinds: type) -> Any:
        if name not in data:
            raise ValueError(f"{where} does not say {name}.")
        if type(data[name]) not in kinds:
            raise ValueError(f"{where} has {name} = {data[name]!r}, which is not understood.")
        return data[name]

    features = tuple(switch("playlist_feature", str).split("_"))
    unknown = [feature for feature in features if feature not in FEATURES]
    if unknown or len(set(features)) != len(features):
        raise ValueError(
            f"{where} has playlist_feature = {data['playlist_feature']!r}; known are different "
            f"ones of {', '.join(FEATURES)}, joined by '_'."
        )
    formatting = data.get("formatting", "standard")  # older files do not have it
    if formatting not in FORMATTINGS:
        raise ValueError(
            f"{where} has formatting = {formatting!r}, not one of {', '.join(FORMATTINGS)}."
        )
    n_layer, tau = switch("decoder_layer", int), switch("tau", int, float)
    if not 1 <= n_layer <= MAX_LAYERS or not 0 <= tau < 0.5:
        raise ValueError(f"{where} has decoder_layer = {n_layer} and tau = {tau}: out of range.")
    return PublishedParams(
        features=features,
        n_layer=n_layer,
        tau=float(tau),
        srau=not switch("no_srau", bool),
        formatting=formatting,
        gpt_model_type=str(data.get("gpt_model_type", "gpt")),
        source=data,
    )
