"""From the published best.pth to a checkpoint folder that everything else uses like any other."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from audiogpt.checkpoints import check_state, save_pretrained
from audiogpt.config import AudioGPTConfig
from audiogpt.model import AudioGPT
from audiogpt.playntell.parameters import PublishedParams, read_params
from audiogpt.playntell.weights import ConvertedWeights, convert_state, read_state_dict
from audiogpt.tags import TagTable
from audiogpt.tokenizer import CaptionTokenizer

logger = logging.getLogger(__name__)

# Beam search as the published inference runs it. Its length limit is the number of words of the
# longest caption in the published data set; 60 covers that.
PUBLISHED_DECODING = {
    "method": "beam",
    "beams": 3,
    "max_tokens": 60,
    "length_penalty": 0.0,
    "no_repeat_ngram": 0,
    "n_best": 3,
}
RECORD_FILE = "conversion.json"
CARD = """# {name}

A PlayNTell model (Gabbolini, Hennequin and Epure, "Data-Efficient Playlist Captioning With Musical
and Linguistic Knowledge", EMNLP 2022), converted from `{source}` (sha256 {sha256}). Weights and
data: Zenodo record 7427231; see there for their licence.

- Branches: {branches}; {n_layer} layers; SRAU {srau}, tau {tau}; formatting {formatting}.
- It writes lower-case captions `<title> … <description> …` for playlists, in English.
- The numbers are the published ones, renamed. Left behind: {dropped}.
- It reproduces the published code, its attention to padding included. `docs/playntell.md` in the
  AudioGPT repository lists what that means and where other models differ.
"""


@dataclass(frozen=True)
class Conversion:
    """What was written where, and what was left behind on purpose."""

    folder: Path
    weights: ConvertedWeights
    config: AudioGPTConfig


def published_config(params: PublishedParams, weights: ConvertedWeights) -> AudioGPTConfig:
    """Our configuration of a published model: every flag that reproduces its outputs is set."""
    return AudioGPTConfig(
        branches=params.branches,
        n_layer=params.n_layer,
        n_embd=weights.n_embd,
        n_head=weights.n_head,
        n_positions=weights.n_positions,
        vocab_size=weights.vocab_size,
        fusion="sum",
        srau=params.srau,
        tau=params.tau,
        published_padding=True,
        text_format="published",
        formatting=params.formatting,
        audio_embedding="musicnn-vgg",
        audio_rows="tracks",
        decoding=PUBLISHED_DECODING,
    )


def build_model(config: AudioGPTConfig, weights: ConvertedWeights) -> AudioGPT:
    """The model of converted weights, in evaluation mode, every key and shape checked again."""
    with torch.device("meta"):
        model = AudioGPT(config)
    check_state(model.state_dict(), weights.state, "The converted checkpoint")
    model.load_state_dict(weights.state, assign=True)
    return model.requires_grad_(False).eval()


def convert_playntell(
    checkpoint: str | Path,
    out: str | Path,
    *,
    params: str | Path | None = None,
    tag_embeddings: str | Path | None = None,
    tokenizer: str | Path | None = None,
) -> Conversion:
    """Convert a published best.pth to a checkpoint folder.

    `params` is its params.json, by default the one beside it; `tag_embeddings` is
    discogs_tags_embeddings.npy, needed for models with tags, by default beside it, too; `tokenizer`
    is a folder with GPT-2's vocab.json and merges.txt, by default the folder of the checkpoint, or
    else Hugging Face's cache or hub. Raises ValueError, before anything is written, in a sentence
    that names what is missing or does not fit.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    beside = checkpoint.parent
    published = read_params(params if params is not None else beside / "params.json")
    table = None
    if "tags" in published.features:
        path = Path(tag_embeddings or beside / "discogs_tags_embeddings.npy")
        if not path.is_file():
            raise ValueError(
                f"This model reads tags, but there is no {path}: take discogs_tags_embeddings.npy "
                "from the data folder of github.com/deezer/playntell and give its path."
            )
        table = TagTable.from_published(path)
        if table.width != 300:
            raise ValueError(
                f"{path} has vectors of {table.width} numbers, but the model reads 300."
            )
    text = find_gpt2_tokenizer(tokenizer, beside)
    weights = convert_state(read_state_dict(checkpoint), published)
    if text.vocab_size != weights.vocab_size:
        raise ValueError(
            f"The tokenizer has {text.vocab_size} tokens, but the model {weights.vocab_size}."
        )
    config = published_config(published, weights)
    model = build_model(config, weights)

    save_pretrained(model, out)
    text.save(out)
    if table is not None:
        table.save(out)
    _write_record(out, checkpoint, published, weights)
    logger.info("Converted %s to %s.", checkpoint, out)
    return Conversion(out, weights, config)


def find_gpt2_tokenizer(folder: str | Path | None, beside: Path) -> CaptionTokenizer:
    """GPT-2's tokenizer from a folder, from beside the checkpoint, or from Hugging Face.

    Raises ValueError that says which two files are needed, if they cannot be had.
    """
    if folder is not None:
        return CaptionTokenizer.from_folder(folder)
    if (beside / "vocab.json").is_file() and (beside / "merges.txt").is_file():
        return CaptionTokenizer.from_folder(beside)
    from huggingface_hub import hf_hub_download

    names = ("vocab.json", "merges.txt")
    try:
        paths = [Path(hf_hub_download("openai-community/gpt2", name)) for name in names]
    except Exception as error:  # the hub's client passes on its HTTP and transfer libraries' own
        raise ValueError(
            "GPT-2's vocab.json and merges.txt could not be fetched: download them from "
            f"huggingface.co/openai-community/gpt2 into {beside}, or give their folder."
        ) from error
    with tempfile.TemporaryDirectory() as scratch:
        for path, name in zip(paths, names, strict=True):
            (Path(scratch) / name).write_bytes(path.read_bytes())
        return CaptionTokenizer.from_folder(scratch)


def _write_record(
    out: Path, checkpoint: Path, params: PublishedParams, weights: ConvertedWeights
) -> None:
    """conversion.json (the original switches, every dropped key) and model_card.md."""
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    record = {
        "source": checkpoint.name,
        "sha256": digest,
        "params": params.source,
        "dropped": [
            {"reason": entry.reason, "numbers": entry.numbers, "keys": list(entry.keys)}
            for entry in weights.dropped
        ],
    }
    (out / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    dropped = "; ".join(
        f"{entry.numbers:,} numbers in {len(entry.keys)} tensors ({entry.reason})"
        for entry in weights.dropped
    )
    card = CARD.format(
        name=out.name,
        source=checkpoint.name,
        sha256=digest,
        branches=", ".join(f"{b.name} ({b.width})" for b in params.branches),
        n_layer=params.n_layer,
        srau="on" if params.srau else "off",
        tau=params.tau,
        formatting=params.formatting,
        dropped=dropped,
    )
    (out / "model_card.md").write_text(card, encoding="utf-8")
