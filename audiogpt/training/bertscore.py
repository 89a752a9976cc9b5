"""BERTScore (Zhang et al., 2020) with an encoder from a local folder.

Each token of a caption is matched with the most similar token of its reference by the cosine of
their contextual embeddings, and the other way round; precision, recall and F1 are the means. No
idf weights and no rescaling with a baseline, which is the paper's plain form.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def bert_scores(
    predictions: Sequence[str],
    references: Sequence[str],
    folder: str | Path,
    *,
    layer: int | None = None,
    batch_size: int = 32,
) -> dict[str, np.ndarray]:
    """`precision`, `recall` and `f1` of each caption, percent (n,).

    `folder` holds an encoder and its tokenizer in transformers' form, with weights as safetensors;
    nothing is fetched. `layer` counts hidden layers from 1 (None: the last; the paper's choice is
    17 for roberta-large, 9 for bert-base-uncased). Raises ValueError for a folder or layer that
    cannot be used, or lists of different lengths.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} captions for {len(references)} references.")
    model, tokenizer = _load(Path(folder))
    layers = int(model.config.num_hidden_layers)
    chosen = layers if layer is None else layer
    if not 1 <= chosen <= layers:
        raise ValueError(f"The layer must lie in 1 to {layers}, not {chosen}.")
    scores: dict[str, list[float]] = {"precision": [], "recall": [], "f1": []}
    for start in range(0, len(predictions), batch_size):
        stop = start + batch_size
        mine, kept = _embed(model, tokenizer, predictions[start:stop], chosen)
        theirs, wanted = _embed(model, tokenizer, references[start:stop], chosen)
        similarity = mine @ theirs.mT  # (B, T, T')
        pairs = kept[:, :, None] & wanted[:, None]
        similarity = similarity.masked_fill(~pairs, -1.0)
        precision = _mean(similarity.amax(2), kept)
        recall = _mean(similarity.amax(1), wanted)
        f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-9)
        for name, values in zip(scores, (precision, recall, f1), strict=True):
            scores[name] += (100 * values).tolist()
    return {name: np.asarray(values) for name, values in scores.items()}


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} is not a folder with an encoder: it has no config.json.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} cannot be used for BERTScore: {error}") from error
    return model.eval(), tokenizer


@torch.inference_mode()
def _embed(model: Any, tokenizer: Any, texts: Sequence[str], layer: int) -> tuple[Tensor, Tensor]:
    """Unit embeddings (B, T, D) of a layer, and which tokens are the text's own (B, T)."""
    batch = tokenizer(
        [text or "." for text in texts],
        return_tensors="pt",
        padding=True,
        truncation=True,
        max_length=min(512, int(model.config.max_position_embeddings) - 2),
        return_special_tokens_mask=True,
    )
    special = batch.pop("special_tokens_mask").bool()
    hidden = model(**batch, output_hidden_states=True).hidden_states[layer]
    return F.normalize(hidden.float(), dim=-1), batch["attention_mask"].bool() & ~special


def _mean(values: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept, values, 0.0).sum(1) / kept.sum(1).clamp(min=1)
