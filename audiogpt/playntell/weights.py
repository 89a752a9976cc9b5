"""The weights of the published checkpoint: read without running anything, renamed, all checked.

`best.pth` is a pickle written by torch.save, with random states and the optimizer beside the
state_dict. It is read with `weights_only=True`; of what that refuses, exactly the numpy names that
an old random state needs are allowed, and stand-ins take the place of every one of them
(`audiogpt.pickled_arrays`). The file is mapped from disk, so that the optimizer, two thirds of it,
is never read.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiogpt.pickled_arrays import STAND_INS
from audiogpt.playntell.parameters import PublishedParams

HEAD_WIDTH = 64  # features per attention head in the published code
N_SHOWN = 12  # problems named in one message


@dataclass(frozen=True)
class Dropped:
    """Weights left behind on purpose: how many keys and numbers, and why."""

    keys: tuple[str, ...]
    numbers: int
    reason: str


@dataclass(frozen=True)
class ConvertedWeights:
    """Our state dict, and what of the published one is not in it."""

    state: dict[str, Tensor]
    n_embd: int
    n_head: int
    n_positions: int
    vocab_size: int
    dropped: tuple[Dropped, ...]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The `state_dict` of a published best.pth, mapped from disk.

    Raises ValueError if the file is absent, unreadable, asks for anything but tensors and a numpy
    random state, or has no state_dict.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no checkpoint file {path}.")
    try:
        stand_ins: list[Any] = [(known, name) for name, known in STAND_INS.items()]
        with torch.serialization.safe_globals(stand_ins):
            data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("Please file an issue")[0]
        raise ValueError(f"{path} holds more than weights and was not loaded: {reason}") from error
    except Exception as error:  # a damaged pickle may fail in any way
        raise ValueError(f"{path} is not a checkpoint written by torch.save: {error}") from error
    state = data.get("state_dict") if isinstance(data, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ValueError(f"{path} has no state_dict of tensors: it is not a PlayNTell checkpoint.")
    return state


def published_shapes(
    params: PublishedParams, *, n_embd: int, n_positions: int, vocab_size: int
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of the published network, buffers and the tied head aside."""
    D = n_embd
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, n_in: int, n_out: int) -> None:  # torch.nn.Linear
        shapes.update({f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)})

    def conv1d(name: str, n_in: int, n_out: int) -> None:  # GPT-2's transposed layout
        shapes.update({f"{name}.weight": (n_in, n_out), f"{name}.bias": (n_out,)})

    def norm(name: str) -> None:
        shapes.update({f"{name}.weight": (D,), f"{name}.bias": (D,)})

    for j, branch in enumerate(params.branches):
        linear(f"encoder.transformations.{j}.fc", branch.width, D)
        norm(f"encoder.transformations.{j}.layer_norm")
    shapes["decoder.transformer.wte.weight"] = (vocab_size, D)
    shapes["decoder.transformer.wpe.weight"] = (n_positions, D)
    norm("decoder.transformer.ln_f")
    for x in range(params.n_layer):
        block = f"decoder.transformer.h.{x}"
        norm(f"{block}.ln_1")
        norm(f"{block}.ln_2")
        conv1d(f"{block}.attn.c_attn", D, 3 * D)
        conv1d(f"{block}.attn.c_proj", D, D)
        conv1d(f"{block}.mlp.c_fc", D, 4 * D)
        conv1d(f"{block}.mlp.c_proj", 4 * D, D)
        linear(f"{block}.fc_alpha", 2 * D, D)
        for j in range(len(params.features)):
            cross = f"{block}.enc_dec_attn.{j}"
            for name in ("fc_q", "fc_k", "fc_v"):
                linear(f"{cross}.{name}", D, D)
            conv1d(f"{cross}.c_proj", D, D)
            conv1d(f"{cross}.c_attn", D, 3 * D)
    return shapes


def _is_buffer(key: str) -> bool:
    """Masks and running states: rebuilt or empty, never weights."""
    last = key.rsplit(".", 1)[-1]
    if last.startswith("running_"):
        return True
    owner = key.split(".")
    return last == "bias" and (owner[-2:-1] == ["attn"] or owner[-3:-2] == ["enc_dec_attn"])


def _check(shapes: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor]) -> None:
    problems = [f"missing {key}" for key in shapes if key not in state]
    problems += [f"unknown {key}" for key in state if key not in shapes]
    problems += [
        f"{key} has shape {tuple(state[key].shape)}, expected {shape}"
        for key, shape in shapes.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    problems += [
        f"{key} holds {state[key].dtype}, expected floating-point numbers"
        for key in shapes
        if key in state and not state[key].is_floating_point()
    ]
    if problems:
        more = f" and {len(problems) - N_SHOWN} more" if len(problems) > N_SHOWN else ""
        raise ValueError(
            f"The checkpoint does not fit params.json: {'; '.join(problems[:N_SHOWN])}{more}."
        )


def convert_state(state: Mapping[str, Tensor], params: PublishedParams) -> ConvertedWeights:
    """Rename the published weights to ours; raises ValueError naming every key that does not fit.

    Linear layers of the cross-attention and the SRAU gate are transposed to (in, out) and stacked
    by branch; everything else keeps its layout. Values do not change.
    """
    wte_key, wpe_key = "decoder.transformer.wte.weight", "decoder.transformer.wpe.weight"
    head_key = "decoder.lm_head.decoder.weight"
    if any(key not in state or state[key].dim() != 2 for key in (wte_key, wpe_key)):
        raise ValueError(f"The checkpoint has no {wte_key} or {wpe_key} of two dimensions.")
    (vocab_size, D), n_positions = state[wte_key].shape, state[wpe_key].shape[0]
    if D % HEAD_WIDTH:
        raise ValueError(f"{wte_key} is {D} wide, which is no multiple of {HEAD_WIDTH}.")
    buffers = tuple(key for key in state if _is_buffer(key))
    rest = {key: value for key, value in state.items() if key not in buffers and key != head_key}
    _check(published_shapes(params, n_embd=D, n_positions=n_positions, vocab_size=vocab_size), rest)
    if head_key in state and not torch.equal(state[head_key], state[wte_key]):
        raise ValueError(f"{head_key} differs from {wte_key}, but the published code ties them.")

    M = len(params.features)
    ours: dict[str, Tensor] = {}
    for j, branch in enumerate(params.branches):
        for name in ("fc.weight", "fc.bias", "layer_norm.weight", "layer_norm.bias"):
            ours[f"branches.{branch.name}.{name}"] = rest.pop(f"encoder.transformations.{j}.{name}")
    dead: dict[str, Tensor] = {}
    unused_gate: dict[str, Tensor] = {}
    for x in range(params.n_layer):
        block, cross = f"decoder.transformer.h.{x}", f"transformer.h.{x}.cross_attn"

        def stacked(names: Iterable[str], transpose: bool) -> tuple[Tensor, Tensor]:
            pairs = [(rest.pop(f"{name}.weight"), rest.pop(f"{name}.bias")) for name in names]
            weights = torch.stack([w.T if transpose else w for w, _ in pairs])  # (M, in, out)
            return weights, torch.stack([b for _, b in pairs])[:, None]  # (M, 1, out)

        for theirs, mine in (("fc_q", "q"), ("fc_k", "k"), ("fc_v", "v"), ("c_proj", "c")):
            names = [f"{block}.enc_dec_attn.{j}.{theirs}" for j in range(M)]
            weight, bias = stacked(names, theirs != "c_proj")
            ours |= {f"{cross}.{mine}_proj.weight": weight, f"{cross}.{mine}_proj.bias": bias}
        for j in range(M):
            for name in ("weight", "bias"):
                key = f"{block}.enc_dec_attn.{j}.c_attn.{name}"
                dead[key] = rest.pop(key)
        if params.srau:
            weight, bias = stacked([f"{block}.fc_alpha"], True)
            ours |= {f"transformer.h.{x}.srau.weight": weight, f"transformer.h.{x}.srau.bias": bias}
        else:
            for name in ("weight", "bias"):
                unused_gate[f"{block}.fc_alpha.{name}"] = rest.pop(f"{block}.fc_alpha.{name}")
    ours |= {key.removeprefix("decoder."): value for key, value in rest.items()}  # GPT-2's names
    dropped = [_dropped(dead, "projections of the cross-attention that no line of code uses")]
    if unused_gate:
        dropped.append(_dropped(unused_gate, "the gate of a model trained with no_srau"))
    tied = {head_key: state[head_key]} if head_key in state else {}
    dropped.append(_dropped(tied, "the same tensor as the token embedding"))
    dropped.append(
        _dropped({k: state[k] for k in buffers}, "masks and running states, not weights")
    )
    ours = {key: value.float() for key, value in ours.items()}
    for key, value in ours.items():
        if not bool(value.isfinite().all()):
            raise ValueError(f"The checkpoint holds numbers that are infinite or undefined: {key}.")
    return ConvertedWeights(
        state=ours,
        n_embd=D,
        n_head=D // HEAD_WIDTH,
        n_positions=n_positions,
        vocab_size=vocab_size,
        dropped=tuple(entry for entry in dropped if entry.keys),
    )


def _dropped(tensors: Mapping[str, Tensor], reason: str) -> Dropped:
    return Dropped(tuple(tensors), sum(t.numel() for t in tensors.values()), reason)
