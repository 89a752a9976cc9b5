"""Made training data for the training tests: a small MusicCaps-like file and tiny models."""

from __future__ import annotations

import csv
import random
from pathlib import Path

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
