"""Learning from other models: their weights as a start, their predictions as targets.

Several small models that read tags alone are trained first. Their mean prediction is a better
target than the one text that a data set of two and a half thousand captions has for a row
(knowledge distillation: Hinton, Vinyals and Dean, 2015).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from audiogpt.checkpoints import from_pretrained, resolve
from audiogpt.model import AudioGPT
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.collate import RowTensors, as_rows

PER_BRANCH = (".cross_attn.", ".branch_gate.")


class Teachers:
    """Finished models with the student's vocabulary, which may lack some of its branches."""

    def __init__(self, models: Sequence[AudioGPT]) -> None:
        if not models:
            raise ValueError("Distillation needs at least one teacher.")
        self.models = tuple(models)
        kinds = {(m.config.vocab_size, m.config.branch_names, m.config.controls) for m in models}
        if len(kinds) > 1:
            raise ValueError("All teachers need the same vocabulary, branches and controls.")

    @classmethod
    def load(cls, folders: Sequence[str | Path]) -> Teachers:
        """Teachers from checkpoint folders; raises CheckpointError for those that are none."""
        return cls([from_pretrained(folder) for folder in folders])

    @torch.no_grad()
    def probabilities(
        self, tokens: Tensor, rows: RowTensors, controls: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Their mean prediction (B, T, V) with these control features (B, F), and which items (B,)
        have nothing but what they see."""
        seen = self.models[0].config.branch_names
        known = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        for name, parts in rows.items():
            if name not in seen:
                known &= (parts["weights"] == 0).all(1)
        given = as_rows({name: parts for name, parts in rows.items() if name in seen})
        total = None
        for model in self.models:
            model.to(tokens.device)
            context = model.encode(given, controls=controls)
            p = model(tokens, context).float().softmax(-1)  # (B, T, V)
            total = p if total is None else total + p
        assert total is not None
        return total / len(self.models), known


def check_vocabulary(folders: Iterable[str | Path], tokenizer: CaptionTokenizer) -> None:
    """Raise ValueError for checkpoint folders whose tokens have other ids than the tokenizer's:
    their weights would be read as those of other words, and nothing else would tell."""
    ours = tokenizer.tokenizer.get_vocab(with_added_tokens=True)
    for folder in folders:
        theirs = CaptionTokenizer.from_folder(resolve(folder)).tokenizer
        if theirs.get_vocab(with_added_tokens=True) != ours:
            raise ValueError(
                f"{folder} has another vocabulary than this run: give --vocabulary_of the "
                "checkpoint whose vocabulary --start and all --teachers have."
            )


def freeze_all_but(model: AudioGPT, branch: str) -> None:
    """Let only one branch learn: what is computed without it stays exactly as it is.

    The branches' attention and gates are stacked in one tensor each, so that the others' gradients
    are set to 0; an optimiser must not decay weights then. Raises ValueError for unknown branches.
    """
    model.config.branch(branch)
    place = model.config.branch_names.index(branch)
    for name, parameter in model.named_parameters():
        stacked = any(part in name for part in PER_BRANCH)
        parameter.requires_grad_(stacked or name.startswith(f"branches.{branch}."))
        if stacked:
            mask = torch.zeros_like(parameter)
            mask[place] = 1
            parameter.register_hook(lambda gradient, mask=mask: gradient * mask.to(gradient))


@torch.no_grad()
def go_back(model: AudioGPT, source: AudioGPT, share: float) -> None:
    """Move a model's weights this share of the way back to those that it began from, where `source`
    has them.

    The mean of both is often better than either, because fine-tuning leaves noise in the weights
    (WiSE-FT: Wortsman et al., 2022).
    """
    begun = AudioGPT(model.config)
    begun.load_state_dict(model.state_dict())
    adopt(begun, source)
    before = begun.state_dict()
    for name, parameter in model.state_dict().items():
        parameter.lerp_(before[name].to(parameter), share)


@torch.no_grad()
def adopt(model: AudioGPT, source: AudioGPT) -> None:
    """Copy the weights of a model of the same size, branches by name. What `source` lacks stays
    fresh (branches, controls), and so do branches of features that read another embedding there.
    Raises ValueError where the parts or a shape do not fit."""
    mine, theirs = model.config, source.config
    for name in ("n_layer", "encoder_layer", "fusion", "srau", "null_rows"):
        here, there = getattr(mine, name), getattr(theirs, name)
        if here != there:
            raise ValueError(
                f"The start has {name} {there}, but the model {here}: make them alike."
            )
    shared = [
        branch.name
        for branch in mine.branches
        if branch.name in theirs.branch_names
        and (branch.rows == "text" or branch == theirs.branch(branch.name))
    ]
    state = source.state_dict()
    for name, parameter in model.state_dict().items():
        if name == "controls" and name not in state:
            continue
        if name.startswith("branches.") and name.split(".")[1] not in shared:
            continue
        target, value = [parameter], [state[name]]
        meshed = ".srau." in name and mine.fusion == "meshed"
        if meshed or any(part in name for part in PER_BRANCH):
            target = [parameter[mine.branch_names.index(branch)] for branch in shared]
            value = [state[name][theirs.branch_names.index(branch)] for branch in shared]
        for to, of in zip(target, value, strict=True):
            if to.shape != of.shape:
                raise ValueError(
                    f"{name} has shape {tuple(of.shape)}, but the model needs {tuple(to.shape)}."
                )
            to.copy_(of)
