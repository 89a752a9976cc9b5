"""Why each word came out so: the exact parts of every layer, and what changes without a branch.

After decoding, one teacher-forced pass over the finished tokens records every layer's additive
parts (they sum to the layer's a' to rounding, DESIGN section 4). Their L2 norms give the shares, in
the spirit of Kobayashi et al. (2020): the gate alone would mislead, because it multiplies the whole
residual stream. Shares are unsigned and say what the layers mixed in, not why; beside them stands
the causal check, the drop of a token's log-probability when a branch is taken away. What a caption
was asked to be (`audiogpt.controls`) counts as context and stays as it was asked.

The output at position t predicts token t + 1, so index t here is always *token* t of the caption
and belongs to the position before it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiogpt.context import Context
from audiogpt.layers import BlockRecord
from audiogpt.model import AudioGPT, log_softmax

CONTEXT = "context"  # the first part: language and self-attention
N_CANDIDATES = 8
# A word is marked where share and drop name different branches and the difference is not noise.
MIN_DROP = 0.1  # nats
MIN_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word of the caption: its text and its tokens [start, end). `part`: title or description."""

    text: str
    start: int
    end: int
    part: str = "description"


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Float32 arrays for L layers, T tokens, P = 1 + M parts, M branches, R rows of a branch.

    `attention` is the mean over heads on the given rows; what is missing to 1 went to the null row
    or to padding. `drop` is log p - log p without the branch, in nats. `candidates` are the most
    probable token ids at each position, with their log-probabilities.
    """

    parts: tuple[str, ...]
    shares: np.ndarray  # (L, T, P), sums to 1 over P
    alpha: np.ndarray  # (L, T), mean over features
    gates: np.ndarray  # (L, T, M), mean over features
    attention: Mapping[str, np.ndarray]  # branch -> (L, T, R)
    log_probability: np.ndarray  # (T,)
    drop: np.ndarray  # (T, M)
    candidates: np.ndarray  # (T, N_CANDIDATES), int64
    candidate_log_probability: np.ndarray  # (T, N_CANDIDATES)

    @property
    def branches(self) -> tuple[str, ...]:
        return self.parts[1:]

    def word_shares(self, words: Sequence[Word]) -> np.ndarray:
        """(W, P): the headline figure, mean over layers and over the word's tokens."""
        mean = self.shares.mean(0)  # (T, P)
        rows = [mean[w.start : w.end].mean(0) for w in words]
        return np.stack(rows) if rows else np.zeros((0, len(self.parts)), np.float32)

    def word_drops(self, words: Sequence[Word]) -> np.ndarray:
        """(W, M): drop of the whole word's log-probability, the sum over its tokens."""
        rows = [self.drop[w.start : w.end].sum(0) for w in words]
        return np.stack(rows) if rows else np.zeros((0, len(self.branches)), np.float32)

    def disagreements(self, words: Sequence[Word]) -> list[bool]:
        """Where the branch with the largest share is not the one whose removal costs most.

        Only where that matters: the largest drop is at least `MIN_DROP` nats, or a branch holds at
        least a quarter of the word and yet no branch's removal costs `MIN_DROP`.
        """
        marks = []
        for share, drop in zip(self.word_shares(words), self.word_drops(words), strict=True):
            if not len(drop):
                marks.append(False)
            elif drop.max() < MIN_DROP:
                marks.append(bool(share[1:].max() >= 0.25))
            else:
                best = share[1:].argmax()
                close = share[1:][drop.argmax()] >= share[1:][best] - MIN_SHARE
                marks.append(bool(best != drop.argmax() and not close))
        return marks

    def to_dict(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        data["parts"] = list(self.parts)
        data["attention"] = {name: _to_list(rows) for name, rows in self.attention.items()}
        return {k: _to_list(v) if isinstance(v, np.ndarray) else v for k, v in data.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trace:
        """Rebuild from `to_dict`; raises ValueError where shapes do not fit together."""
        values: dict[str, Any] = {}
        try:
            for f in dataclasses.fields(cls):
                integer = f.name == "candidates"
                if f.name not in ("parts", "attention"):
                    values[f.name] = np.asarray(data[f.name], np.int64 if integer else np.float32)
            values["parts"] = tuple(str(part) for part in data["parts"])
            values["attention"] = {
                str(name): np.asarray(rows, np.float32) for name, rows in data["attention"].items()
            }
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(f"The trace is not of the expected form: {error}.") from None
        trace = cls(**values)
        L, T, P = trace.shares.shape if trace.shares.ndim == 3 else (-1, -1, -1)
        fits = (
            trace.alpha.shape == (L, T)
            and trace.drop.shape == (T, P - 1)
            and trace.gates.shape == (L, T, P - 1)
            and trace.log_probability.shape == (T,)
            and trace.candidates.ndim == 2
            and len(trace.candidates) == T
            and trace.candidates.shape == trace.candidate_log_probability.shape
            and len(trace.parts) == P
            and all(r.ndim == 3 and r.shape[:2] == (L, T) for r in trace.attention.values())
        )
        if not fits:
            raise ValueError("The trace's arrays do not fit together.")
        return trace


def _to_list(array: np.ndarray) -> list[Any]:
    """Nested lists; floats keep 7 significant digits, which is float32's precision."""
    if np.issubdtype(array.dtype, np.integer):
        return array.tolist()
    rounded = np.array([float(f"{value:.7g}") for value in array.ravel().tolist()])
    return list(rounded.reshape(array.shape).tolist())


def shares_of(record: BlockRecord) -> Tensor:
    """(N, T, P): the L2 norm of each exact part over the sum of the norms."""
    norms = record.parts.norm(dim=-1).movedim(0, -1)
    return norms / norms.sum(-1, keepdim=True).clamp(min=torch.finfo(norms.dtype).tiny)


def _inputs(model: AudioGPT, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
    target = torch.tensor([list(tokens)], device=model.device)
    bos = target.new_tensor([[model.config.bos_token_id]])
    return torch.cat([bos, target[:, :-1]], dim=1), target  # both (1, T)


def coalition_log_probabilities(
    model: AudioGPT, context: Context, tokens: Sequence[int], coalitions: Tensor
) -> Tensor:
    """log p of each token when only some branches speak: (C, T) for coalitions (C, M) of 0 and 1.

    `context` holds one item; a branch outside the coalition contributes exactly nothing.
    """
    inputs, target = _inputs(model, tokens)
    C = len(coalitions)
    logits = model(inputs.expand(C, -1), context.restricted(coalitions.to(model.device)))
    return log_softmax(logits).gather(-1, target.expand(C, -1)[..., None])[..., 0]


@torch.inference_mode()
def compute_trace(model: AudioGPT, context: Context, tokens: Sequence[int]) -> Trace:
    """Trace the finished `tokens` of the one item in `context`; raises ValueError if there are
    none, or no branches.

    Two forward passes: one that records, one batch with each branch removed in turn.
    """
    if not tokens or context.batch != 1:
        raise ValueError("A trace needs the tokens of exactly one caption.")
    if not model.config.branches:
        raise ValueError(
            "A trace needs a model with branches: without any there is nothing to part."
        )
    inputs, target = _inputs(model, tokens)
    records: list[BlockRecord] = []
    log_p = log_softmax(model(inputs, context, records=records))[0]  # (T, V)
    chosen = log_p.gather(-1, target[0, :, None])[:, 0]  # (T,)
    top = log_p.topk(min(N_CANDIDATES, log_p.shape[-1]), dim=-1)
    names = model.config.branch_names
    M = len(names)
    without = coalition_log_probabilities(model, context, tokens, 1 - torch.eye(M))  # (M, T)
    heard = context.present * context.strengths
    if model.config.fusion == "meshed":  # there a silent branch still has a say in the gates
        heard = context.present
    silent = (heard == 0).view(M, 1)  # nothing to remove: exactly 0
    drop = torch.where(silent, 0.0, chosen - without)  # (M, T)
    attention = {
        name: _numpy(torch.stack([r.attention[m, 0, :, : context.n_rows[m]] for r in records]))
        for m, name in enumerate(names)
    }
    return Trace(
        parts=(CONTEXT, *names),
        shares=_numpy(torch.stack([shares_of(r)[0] for r in records])),
        alpha=_numpy(
            torch.stack([r.alpha.mean(-1).reshape(-1, len(tokens)).mean(0) for r in records])
        ),
        gates=_numpy(torch.stack([r.gate.mean(-1)[:, 0].T for r in records])),
        attention=attention,
        log_probability=_numpy(chosen),
        drop=_numpy(drop.T),
        candidates=top.indices.cpu().numpy(),
        candidate_log_probability=_numpy(top.values),
    )


@torch.inference_mode()
def shapley_values(model: AudioGPT, context: Context, tokens: Sequence[int]) -> np.ndarray:
    """Exact Shapley values (T, M) of the branches for each token's log-probability, in nats.

    One batch of all 2**M coalitions (Shapley, 1953). They sum, over branches, to the token's
    log-probability with all branches minus that with none.
    """
    M = len(model.config.branches)
    members = torch.tensor(list(itertools.product((0.0, 1.0), repeat=M)))  # (2**M, M)
    value = coalition_log_probabilities(model, context, tokens, members)  # (2**M, T)
    result = value.new_zeros(M, value.shape[1])
    for index, coalition in enumerate(members.tolist()):
        for m in (m for m in range(M) if not coalition[m]):
            size = int(sum(coalition))
            weight = math.factorial(size) * math.factorial(M - size - 1) / math.factorial(M)
            result[m] += weight * (value[index + 2 ** (M - 1 - m)] - value[index])
    return _numpy(result.T)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()
