"""Made data for the training tests: a small MusicCaps-like file, and the example data sets."""

from __future__ import annotations

import csv
import random
import runpy
from pathlib import Path

from conftest import ROOT

from audiogpt.training.options import OpenDataOptions, PublishedOptions

GENRES = ("rock", "jazz", "techno", "folk", "disco")
MOODS = ("happy", "mellow", "dark", "energetic")
INSTRUMENTS = ("guitar", "piano", "violin", "drums", "flute")


def write_musiccaps(path: Path, *, rows: int = 240, seed: int = 0) -> Path:
    """A CSV with MusicCaps' columns; every fourth row is a test row, marked in its caption."""
    dice = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        names = ["ytid", "aspect_list", "caption", "is_audioset_eval"]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for number in range(rows):
            genre, mood = dice.choice(GENRES), dice.choice(MOODS)
            first, second = dice.sample(INSTRUMENTS, 2)
            test = number % 4 == 0
            caption = f"This is a {mood} {genre} song.  The {first} plays , with the {second}"
            if test:
                caption += ". Zyzzyva"
            writer.writerow(
                {
                    "ytid": f"row{number}",
                    "aspect_list": repr(
                        [genre, mood, f"loud {first}", "zumba" if test else second]
                    ),
                    "caption": caption,
                    "is_audioset_eval": str(test),
                }
            )
    return path


def write_example(folder: Path) -> Path:
    """The example data sets of `scripts/make_training_example.py`, small."""
    script = runpy.run_path(str(ROOT / "scripts" / "make_training_example.py"))
    script["write_coco"](folder / "coco", images=30, width=2048)
    script["write_playlists"](folder / "playlists", playlists=40)
    return folder


def published_options(folder: Path, data: Path, **changes) -> PublishedOptions:
    """Options of a tiny run on the example's playlists."""
    values = {
        "features_path": data / "playlists" / "features.hdf5",
        "annotation_folder": data / "playlists" / "annotations",
        "output": folder, "log_file": folder / "log.txt", "exp_name": "run", "batch_size": 8,
        "head": 2, "n_embd": 16, "decoder_layer": 1, "gpt_model_type": "random", "vocabulary": 400,
        "num_train_epochs": 2, "longest": 24, "beam_size": 2, "lr": 5e-3,
    }  # fmt: skip
    return PublishedOptions(**{**values, **changes})


def open_options(folder: Path, caps: Path, **changes) -> OpenDataOptions:
    """Options of a tiny run on a file of `write_musiccaps`."""
    values = {
        "musiccaps": caps, "output": folder, "n_layer": 1, "n_embd": 16, "n_head": 2, "steps": 8,
        "batch_size": 4, "vocabulary": 400, "warmup": 2, "evaluate_every": 8, "save_every": 3,
        "bf16": False,
    }  # fmt: skip
    return OpenDataOptions(**{**values, **changes})
