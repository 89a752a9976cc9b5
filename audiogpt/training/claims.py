"""Whose run a folder holds: a run goes on only with the settings that it was begun with."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from audiogpt.checkpoints import CONFIG_FILE, CheckpointError, checkpoint_hash
from audiogpt.training.files import replacing

logger = logging.getLogger(__name__)

OPTIONS_FILE = "options.json"


def claim(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    begun: bool,
    resuming: bool,
    changeable: Collection[str],
    go_on: str,
    elsewhere: str,
) -> None:
    """Refuse a folder with another run's checkpoints; note whose it is from now on.

    `settings` are the run's, as JSON holds them, and those in `changeable` may differ from the ones
    it was `begun` with. `go_on` and `elsewhere` are the switches that mend a refusal: to resume,
    and to name another folder. Raises ValueError for a run that is not to be resumed, or was begun
    with other settings.
    """
    if begun and not resuming:
        raise ValueError(
            f"{folder} holds a run already: add {go_on} to go on with it, or choose another "
            f"{elsewhere}."
        )
    path = folder / OPTIONS_FILE
    if begun and path.is_file():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        kept = settings.keys() - set(changeable)
        if other := sorted(name for name in kept if theirs.get(name) != settings[name]):
            raise ValueError(
                f"The run in {folder} was begun with other {', '.join(other)}: resume it with the "
                f"same, or choose another {elsewhere}."
            )
    elif begun:  # by a version that did not note it
        logger.warning("%s does not say what its run was begun with: it goes on.", folder)
    elif resuming:
        logger.warning("There is nothing to resume in %s: training starts anew.", folder)
    folder.mkdir(parents=True, exist_ok=True)
    if is_first_process():
        with replacing(path) as part:  # whole, for the other processes may be reading it
            part.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def identity(value: Any) -> Any:
    """A setting as JSON; a path as what it leads to, so that a run may move to another machine.

    A checkpoint and a file are told by their sha256, other folders by their name.
    """
    if isinstance(value, tuple):
        return [identity(part) for part in value]
    if not isinstance(value, Path):
        return value
    if (value / CONFIG_FILE).is_file():
        try:
            return checkpoint_hash(value)
        except CheckpointError:  # another kind of model, as a language teacher is
            return folder_identity(value, ("*.json", "*.safetensors"))
    if value.is_file():
        with value.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return value.name


def table_identity(path: Path) -> str:
    """A features file as its name and size: to hash gigabytes at every start would take minutes."""
    return f"{path.name}, {path.stat().st_size} bytes" if path.is_file() else path.name


def folder_identity(folder: Path, patterns: Collection[str]) -> str:
    """A folder as the sha256 of its files that match: their paths in it, and what they hold."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        digest.update(f"{path.relative_to(folder).as_posix()} {identity(path)}\n".encode())
    return digest.hexdigest()


def is_first_process() -> bool:
    """As torch.distributed's launcher numbers them, before anything has been set up."""
    return os.environ.get("RANK", "0") == "0"
