"""Begin the audio branch where linear probes end: each sound as the tags that it calls for.

A few hundred clips are too few for 1,564 features to find their way through the decoder: trained
from nothing, the branch knows its clips by heart and hardly tells others apart. A ridge regression
does (benchmarks/README.md). So the branch's projection begins as one, of what the tags branch makes
of the clip's facts, before its activation; and its attention as a copy of the tags'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from sklearn.linear_model import Ridge

from audiogpt.context import TextRows
from audiogpt.layers import Branch
from audiogpt.model import AudioGPT
from audiogpt.rows import tag_token_ids
from audiogpt.tokenizer import CaptionTokenizer
from audiogpt.training.embeddings import Embeddings
from audiogpt.training.pairs import Pair
from audiogpt.training.teachers import PER_BRANCH

PENALTY = 0.3  # over the mean energy of a standardised row, as in benchmarks/audio_probe.py
EMPHASIS = 2.0  # spread of the predictions against that of what they predict
LARGEST = 4.0  # standard deviations of a feature
LEAST = 1e-3  # standard deviation of a feature that says anything
AUDIO, TAGS = "audio", "tags"


@torch.no_grad()
def begin_audio(
    model: AudioGPT, tokenizer: CaptionTokenizer, pairs: Sequence[Pair], embeddings: Embeddings
) -> None:
    """Set the audio branch from the tags branch and the facts of clips, all else staying as it is.

    Raises ValueError where no pair has a clip and facts."""
    known = [(pair, facts) for pair in pairs if pair.audio and (facts := _facts(pair))]
    if not known:
        raise ValueError("The audio branch needs clips with facts to begin from.")
    sounds = np.stack(
        [np.mean([embeddings[c].mean(0) for c in pair.audio], 0) for pair, _ in known]
    ).astype(np.float64)  # (N, width)
    wanted = np.stack([_read(model, tokenizer, facts) for _, facts in known])  # (N, D)
    deviation = sounds.std(0)
    deviation = np.where(deviation < LEAST, np.inf, deviation)
    mean, usual = sounds.mean(0), wanted.mean(0)
    x = ((sounds - mean) / deviation).clip(-LARGEST, LARGEST)
    probe = Ridge(alpha=PENALTY * (x**2).sum(1).mean()).fit(x, wanted)
    # The penalty draws all predictions to their mean.
    spread = (wanted - usual).std() / max((probe.predict(x) - usual).std(), 1e-9)
    weight = EMPHASIS * spread * probe.coef_ / deviation  # (D, width)
    audio, tags = (cast(Branch, model.branches[name]) for name in (AUDIO, TAGS))
    audio.fc.weight.copy_(torch.from_numpy(weight))
    audio.fc.bias.copy_(torch.from_numpy(usual - weight @ mean))
    audio.layer_norm.load_state_dict(tags.layer_norm.state_dict())
    here, there = (model.config.branch_names.index(name) for name in (AUDIO, TAGS))
    for name, parameter in model.named_parameters():
        if any(part in name for part in PER_BRANCH):
            parameter[here] = parameter[there]


def _facts(pair: Pair) -> list[str]:
    return [fact for fact in dict.fromkeys((pair.style, *pair.moods, *pair.instruments)) if fact]


def _read(model: AudioGPT, tokenizer: CaptionTokenizer, tags: Sequence[str]) -> np.ndarray:
    """The mean of what the tags branch makes of these tags, before its activation: (D,)."""
    rows = TextRows.from_phrases([[(tag_token_ids(tokenizer, tag), 1.0) for tag in tags]])
    ordered = model.config.branch(TAGS).ordered
    branch = cast(Branch, model.branches[TAGS])
    projected = branch.fc(model.text_rows(rows, ordered=ordered).values)  # (1, R, D)
    return projected[0].mean(0).numpy().astype(np.float64)
