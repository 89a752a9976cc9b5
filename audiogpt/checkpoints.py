"""Checkpoint folders: config.json, model.safetensors, tokenizer files, model_card.md."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from audiogpt.config import AudioGPTConfig
from audiogpt.layers import store_for_few_rows
from audiogpt.length import LENGTHS_FILE, LengthModel
from audiogpt.model import AudioGPT
from audiogpt.request import Decoding
from audiogpt.tags import VECTORS_FILE, WORDS_FILE
from audiogpt.tokenizer import tokenizer_files

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
DEFAULT_CHECKPOINT = CHECKPOINTS / "audiogpt-small"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
# Everything a checkpoint may consist of; nothing else is fetched from a hub.
HUB_PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.md")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which file and what to do."""


def resolve(name: str | os.PathLike[str]) -> Path:
    """The local folder of a checkpoint: a path, a bundled name, or a Hugging Face Hub id.

    Raises CheckpointError where nothing is found, or the hub cannot be reached.
    """
    text = os.fspath(name)
    bundled = [CHECKPOINTS / text] if Path(text).name == text else []
    for folder in (Path(text), *bundled):
        if (folder / CONFIG_FILE).is_file():
            return folder
    if Path(text).is_file():
        raise CheckpointError(f"{text} is a file: give the folder of the checkpoint.")
    if Path(text).exists():
        raise CheckpointError(f"{text} is not a checkpoint: it has no {CONFIG_FILE}.")
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise CheckpointError(f"There is no checkpoint at {text}.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(text, allow_patterns=list(HUB_PATTERNS)))
    except Exception as error:  # the hub's client passes on its HTTP and transfer libraries' own
        raise CheckpointError(
            f"The checkpoint {text} is not here and could not be fetched from the Hugging Face Hub "
            f"({type(error).__name__}); download it elsewhere and give the path of its folder."
        ) from error


def read_config(folder: Path) -> AudioGPTConfig:
    """config.json of a checkpoint folder; raises CheckpointError where it cannot be understood."""
    path = folder / CONFIG_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {CONFIG_FILE}.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object.")
    try:
        return AudioGPTConfig.from_dict(data)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None


def check_state(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """Raise CheckpointError naming every missing key, unknown key, wrong shape, and tensor in
    `found` that is not of floating-point numbers."""
    problems = [f"missing {key}" for key in expected if key not in found]
    problems += [f"unknown {key}" for key in found if key not in expected]
    problems += [
        f"{key} has shape {tuple(found[key].shape)}, expected {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in found and found[key].shape != tensor.shape
    ]
    problems += [
        f"{key} holds {found[key].dtype}, expected floating-point numbers"
        for key in expected
        if key in found and not found[key].is_floating_point()
    ]
    if problems:
        more = f" and {len(problems) - 12} more" if len(problems) > 12 else ""
        raise CheckpointError(
            f"{where} does not fit its configuration: {'; '.join(problems[:12])}{more}."
        )


def from_pretrained(
    name: str | os.PathLike[str] = DEFAULT_CHECKPOINT, *, device: str | torch.device = "cpu"
) -> AudioGPT:
    """Load a model in evaluation mode, in float32, every key, shape and number checked.

    `name` is a folder or a Hugging Face Hub id. Raises CheckpointError.
    """
    folder = resolve(name)
    with torch.device("meta"):
        model = AudioGPT(read_config(folder))
    path = folder / WEIGHTS_FILE
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} has no {WEIGHTS_FILE}: download or copy it again."
        ) from None
    except (SafetensorError, OSError) as error:
        if _is_pointer(path):
            raise CheckpointError(
                f"{path} is only Git LFS's pointer to the weights: run `git lfs pull`."
            ) from None
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}): download or copy it again."
        ) from None
    check_state(model.state_dict(), state, str(path))
    state = {key: value.float() for key, value in state.items()}
    for key, value in state.items():
        if not bool(value.isfinite().all()):
            raise CheckpointError(f"{path}: {key} holds numbers that are infinite or undefined.")
    model.load_state_dict(state, assign=True)
    store_for_few_rows(model)
    return model.requires_grad_(False).eval().to(device)


def _is_pointer(path: Path) -> bool:
    """Whether a file is what a clone without Git LFS has in place of a large one."""
    try:
        with path.open("rb") as file:
            return file.read(24) == b"version https://git-lfs."
    except OSError:
        return False


def save_pretrained(
    model: AudioGPT, folder: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32
) -> Path:
    """Write config.json and model.safetensors; tokenizer and model card are the caller's.

    `dtype` is the type on disk (loading is always to float32). Both files are written before either
    takes its place.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        key: value.detach().to("cpu", dtype).clone() for key, value in model.state_dict().items()
    }
    weights, config = (folder / f"{name}.part" for name in (WEIGHTS_FILE, CONFIG_FILE))
    save_file({key: value.contiguous() for key, value in state.items()}, weights)
    text = json.dumps(model.config.to_dict(), indent=2) + "\n"
    config.write_text(text, encoding="utf-8")
    weights.replace(folder / WEIGHTS_FILE)
    config.replace(folder / CONFIG_FILE)
    return folder


def default_decoding(config: AudioGPTConfig) -> Decoding:
    """The checkpoint's own decoding settings; raises CheckpointError where they make no sense."""
    try:
        return Decoding(**config.decoding)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"decoding in {CONFIG_FILE}: {error}".rstrip(".") + ".") from None


def read_lengths(folder: Path) -> LengthModel | None:
    """What the checkpoint expects of lengths, if anything; raises CheckpointError."""
    try:
        return LengthModel.load(folder)
    except (ValueError, OSError) as error:
        raise CheckpointError(str(error)) from None


def checkpoint_hash(folder: str | os.PathLike[str]) -> str:
    """sha256 over config.json, model.safetensors and, where they are used, the tokenizer's files,
    lengths.json and the tag table: names the model that wrote a caption."""
    folder, digest = Path(folder), hashlib.sha256()
    table = read_config(folder).tag_rows == "features"
    optional = [*tokenizer_files(folder), LENGTHS_FILE]
    optional += (VECTORS_FILE, WORDS_FILE) if table else ()
    used = [name for name in optional if (folder / name).is_file()]
    for name in (CONFIG_FILE, WEIGHTS_FILE, *used):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
