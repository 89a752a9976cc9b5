"""Made-up weights of the published network, and the recorded outputs of the original code on them.

The recipe makes every number from a seed and its key's name, so that the original code and this one
can be run on the same 288 million numbers without shipping any (data/playntell/README.md).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import SHARED

from audiogpt.config import AudioGPTConfig
from audiogpt.context import Context, FeatureRows
from audiogpt.model import AudioGPT
from audiogpt.playntell.convert import build_model, published_config
from audiogpt.playntell.parameters import PublishedParams, parse_params
from audiogpt.playntell.weights import convert_state, published_shapes

COPIES = Path(__file__).parent / "data" / "playntell"  # the recorded numbers with SEED 1
DEFAULT = SHARED / "oracle" / "playntell"
ORACLE = Path(os.environ.get("AUDIOGPT_ORACLE_DIR", DEFAULT if DEFAULT.is_dir() else COPIES))
GPT2_BPE = SHARED / "oracle" / "playntell" / "gpt2-bpe"
N_EMBD, N_POSITIONS, VOCABULARY = 768, 1024, 50257


def made_up(seed: int, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The recipe's float32 values of one key."""
    state = int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "little")
    z = np.random.default_rng(state).standard_normal(shape, dtype=np.float32)
    if key.endswith(("ln_1.weight", "ln_2.weight", "ln_f.weight", "layer_norm.weight")):
        return np.float32(0.1) * z + np.float32(1)
    return np.float32(scale_of(key)) * z


def scale_of(key: str) -> float:
    if key.endswith(".bias"):
        return 0.05
    for ending, scale in (("wte.weight", 0.14), ("wpe.weight", 0.25), ("fc_alpha.weight", 0.012)):
        if key.endswith(ending):
            return scale
    if key.startswith("encoder."):
        return 0.08
    if "enc_dec_attn" in key and key.endswith("c_proj.weight"):
        return 0.03
    return 0.08 if key.endswith(".attn.c_attn.weight") else 0.05


def published_state(seed: int, params: PublishedParams) -> dict[str, torch.Tensor]:
    """A state dict with every key the published code saves, buffers and tied head included."""
    shapes = published_shapes(params, n_embd=N_EMBD, n_positions=N_POSITIONS, vocab_size=VOCABULARY)
    state = {key: torch.from_numpy(made_up(seed, key, shape)) for key, shape in shapes.items()}
    state["decoder.lm_head.decoder.weight"] = state["decoder.transformer.wte.weight"]
    state["decoder.running_mask_self_attention"] = torch.zeros(1, 1, 0, dtype=torch.bool)
    state["decoder.transformer.running_seq"] = torch.zeros(1, dtype=torch.long)
    triangle = torch.ones(60, 60).tril().view(1, 1, 60, 60)
    for x in range(params.n_layer):
        block = f"decoder.transformer.h.{x}"
        state[f"{block}.attn.bias"] = triangle.clone()
        for name in ("running_keys", "running_values"):
            state[f"{block}.attn.{name}"] = torch.zeros(12, 0, 64)
        for j in range(len(params.features)):
            state[f"{block}.enc_dec_attn.{j}.bias"] = triangle.clone()
    return state


def params_of(case: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """params.json as the published trainer writes it for a recorded configuration."""
    return {
        "exp_name": "playntell",
        "workers": 32,
        "head": 12,
        "encoder_layer": 3,
        "no_srau": not case["srau"],
        "gpt_model_type": "gpt",
        "decoder_layer": case["n_layer"],
        "tau": case["tau"],
        "playlist_feature": "_".join(case["modes"]),
        "formatting": "standard",
        "dataset_name": "curated-deezer",
        **changes,
    }


@dataclass(frozen=True)
class Case:
    """One recorded configuration: the json's settings, the npz's numbers, and our model for it."""

    path: Path

    @cached_property
    def about(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @cached_property
    def numbers(self) -> dict[str, np.ndarray]:
        with np.load(self.path.with_suffix(".npz")) as archive:
            return {name: archive[name] for name in archive.files}

    @cached_property
    def model(self) -> AudioGPT:
        return made_up_model(self.about["SEED"], parse_params(params_of(self.about)))

    @property
    def config(self) -> AudioGPTConfig:
        return self.model.config

    def context(self, model: AudioGPT) -> Context:
        """The recorded rows, without their padding, as a caller would give them."""
        x, n_rows = torch.from_numpy(self.numbers["x"]), self.numbers["n_rows"]
        rows, first = {}, 0
        for m, (branch, width) in enumerate(
            zip(self.config.branch_names, self.about["d_in"], strict=True)
        ):
            longest = int(n_rows[:, m].max())
            values = x[:, :longest, first : first + width].to(model.transformer.wte.weight.dtype)
            weights = torch.arange(longest) < torch.from_numpy(n_rows[:, m])[:, None]
            rows[branch] = FeatureRows(values, weights.to(values))
            first += width
        return model.encode(rows, padded_rows=self.about["rows_padded"])

    def spread(self, attention: torch.Tensor, branch: int, item: int) -> np.ndarray:
        """Our attention (..., R) of one item over the original's rows, padding shared out evenly.

        One column of ours stands for all padded rows of a branch, which are the same vector.
        """
        total, real = self.about["rows_padded"], int(self.numbers["n_rows"][item, branch])
        out = np.zeros((*attention.shape[:-1], total))
        out[..., :real] = attention[..., :real]
        if real < total:
            out[..., real:] = attention[..., -1:] / (total - real)
        return out


def made_up_model(seed: int, params: PublishedParams) -> AudioGPT:
    weights = convert_state(published_state(seed, params), params)
    return build_model(published_config(params, weights), weights)


def cases() -> list[Path]:
    """The json of every recorded case in the oracle folder."""
    return [path for path in sorted(ORACLE.glob("*.json")) if path.with_suffix(".npz").is_file()]


def text_cases() -> list[Path]:
    return sorted(ORACLE.glob("text_*.json"))
