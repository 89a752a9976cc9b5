"""Start a model from Hugging Face's GPT-2 weights, copied by name with every shape checked.

Embeddings, self-attention, MLP and LayerNorms are GPT-2's; what GPT-2 does not have (branches,
cross-attention, gates) keeps its fresh initialisation. With no rows in any branch and SRAU off the
model gives GPT-2's logits.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from audiogpt.checkpoints import CheckpointError, check_state
from audiogpt.config import AudioGPTConfig, BranchConfig
from audiogpt.model import AudioGPT

CONFIG_FILE = "config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_FILES = (CONFIG_FILE, "model.safetensors", "vocab.json", "merges.txt")
HUB_OWNER = "openai-community"
# Parts of our decoder that GPT-2 does not have.
NEW_PARTS = (".cross_attn.", ".srau.", ".branch_gate.")
TANH_GELU = ("gelu_new", "gelu_pytorch_tanh")
# With GPT-2's own vocabulary a caption starts and is padded as in PlayNTell: "<?" and "+=".
GPT2_VOCABULARY, GPT2_START, GPT2_PAD = 50257, 47934, 47932
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def from_gpt2(
    source: str | os.PathLike[str] = "gpt2",
    *,
    branches: Sequence[BranchConfig] = (),
    seed: int = 0,
    **options: Any,
) -> AudioGPT:
    """An AudioGPT with GPT-2's language model and fresh branches, in evaluation mode, float32.

    `source` is a folder with config.json and model.safetensors (or pytorch_model.bin), or a Hugging
    Face name such as "gpt2" or "gpt2-medium". `options` are fields of `AudioGPTConfig` that GPT-2
    does not decide: fusion, srau, tau, null_rows, encoder_layer, token ids, ... `seed` decides the
    fresh weights. Raises CheckpointError (a ValueError) naming what is missing or does not fit.
    """
    folder = gpt2_folder(source)
    settings = _read_settings(folder)
    if clash := sorted(set(options) & set(settings) - set(TOKEN_IDS)):
        raise ValueError(f"GPT-2's weights decide {', '.join(clash)}: leave them out.")
    config = AudioGPTConfig(branches=tuple(branches), **{**settings, **options})
    found = _read_weights(folder)
    with torch.device("meta"):  # checked before there is memory for what a wrong file asks for
        expected = _gpt2_part(AudioGPT(config))
    check_state(expected, found, f"GPT-2 in {folder}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AudioGPT(config)
    with torch.no_grad():
        for key, parameter in _gpt2_part(model).items():
            parameter.copy_(found[key])
    return model.eval()


def gpt2_folder(source: str | os.PathLike[str]) -> Path:
    """The local folder of GPT-2's files, fetched from Hugging Face if `source` is a name."""
    if Path(source).is_dir():
        return Path(source)
    name = os.fspath(source)
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"There is no GPT-2 at {name}.")
    from huggingface_hub import snapshot_download

    full = name if "/" in name else f"{HUB_OWNER}/{name}"
    try:
        return Path(snapshot_download(full, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # the hub's client passes on its HTTP and transfer libraries' own
        raise CheckpointError(
            f"{full} is not here and could not be fetched from Hugging Face: download "
            f"{', '.join(HUB_FILES)} elsewhere and give the path of their folder."
        ) from error


def gpt2_width(folder: Path) -> int:
    """n_embd of a GPT-2 folder; raises CheckpointError."""
    return int(_read_settings(folder)["n_embd"])


def _read_settings(folder: Path) -> dict[str, Any]:
    """The fields of our configuration that GPT-2's config.json decides."""
    path = folder / CONFIG_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        settings = {name: int(data[name]) for name in ("n_layer", "n_embd", "n_head", "vocab_size")}
        eos, bos = data.get("eos_token_id"), data.get("bos_token_id")
        eos = settings["vocab_size"] - 1 if eos is None else int(eos)
        bos = eos if bos is None else int(bos)
        n_positions = int(data.get("n_positions", data.get("n_ctx", 1024)))
        layer_norm_eps = float(data.get("layer_norm_epsilon", 1e-5))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} has no {CONFIG_FILE}: it is not a GPT-2 folder.") from None
    except KeyError as error:
        raise CheckpointError(f"{path} is not GPT-2's configuration: it lacks {error}.") from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path} is not GPT-2's configuration: {error}.") from None
    wrong = [
        f"{name} = {data[name]!r}"
        for name, allowed in (
            ("model_type", ("gpt2",)),
            ("activation_function", TANH_GELU),
            ("n_inner", (None, 4 * settings["n_embd"])),
            ("scale_attn_weights", (True,)),
            ("scale_attn_by_inverse_layer_idx", (False,)),
            ("tie_word_embeddings", (True,)),
            ("add_cross_attention", (False,)),
        )
        if name in data and data[name] not in allowed
    ]
    if wrong:
        raise CheckpointError(f"{path} describes another network than GPT-2: {', '.join(wrong)}.")
    usual = settings["vocab_size"] == GPT2_VOCABULARY
    return {
        **settings,
        "n_positions": n_positions,
        "layer_norm_eps": layer_norm_eps,
        "bos_token_id": GPT2_START if usual else bos,
        "eos_token_id": eos,
        "pad_token_id": GPT2_PAD if usual else eos,
    }


def _read_weights(folder: Path) -> dict[str, Tensor]:
    """GPT-2's tensors under the names of the bare transformer ("wte.weight", "h.0.ln_1.weight")."""
    safe, pickled = (folder / name for name in WEIGHT_FILES)
    try:
        if safe.is_file():
            state = load_file(safe)
        elif pickled.is_file():
            state = torch.load(pickled, map_location="cpu", weights_only=True)
        else:
            raise CheckpointError(f"{folder} has no {' or '.join(WEIGHT_FILES)} in one piece.")
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        reason = str(error).split("\n")[0]
        raise CheckpointError(f"The weights in {folder} cannot be read: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"The weights in {folder} are not a state_dict of tensors.")
    state = {str(key).removeprefix("transformer."): value for key, value in state.items()}
    head = state.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, state.get("wte.weight", head[:0])):
        raise CheckpointError(f"The output head in {folder} is not tied to the token embedding.")
    # Causal masks that older versions saved with the weights.
    masks = (".attn.bias", ".attn.masked_bias")
    return {key: value for key, value in state.items() if not key.endswith(masks)}


def _gpt2_part(model: AudioGPT) -> dict[str, Tensor]:
    """The model's parameters that GPT-2 has, too, under its names."""
    return {
        name.removeprefix("transformer."): parameter
        for name, parameter in model.named_parameters()
        if name.startswith("transformer.") and not any(part in name for part in NEW_PARTS)
    }
