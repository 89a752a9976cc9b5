"""Write small data sets in the two forms that `python -m audiogpt train` reads.

``python scripts/make_training_example.py --folder FOLDER`` makes

- ``FOLDER/coco/annotations/captions_train.json`` and ``captions_val.json`` with
  ``FOLDER/coco/detections.hdf5``: images with a few detections of width 2048 each;
- ``FOLDER/playlists/annotations/splits/{train,val,test}.json``, ``playlist2artists.json``,
  ``playlist2tracks.json`` and ``playlist2tags.json`` with ``FOLDER/playlists/features.hdf5``
  (per playlist, as published: its tracks with 256 numbers each, its tags with 300) and
  ``FOLDER/playlists/tracks.hdf5`` (per track, as ``extract-features`` writes it). `train` takes
  either file; with the second it reads tags as text.

The features are noise around one centre per thing named in the caption, so that a model can learn
to name it. The numbers mean nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import h5py
import numpy as np

THINGS = ("dog", "cat", "train", "pizza", "surfer", "clock", "horse", "bench")
GENRES = ("rock", "jazz", "techno", "folk", "disco", "metal", "soul", "ambient")
ARTISTS = ("Nora Lind", "The Paper Kites", "Ola Berg", "Red Canal", "Ada & Sons", "Guns of June")


def centres(names: tuple[str, ...], width: int, seed: int) -> dict[str, np.ndarray]:
    """One random direction (width,) per name."""
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=width).astype(np.float32) for name in names}


def write_coco(folder: Path, *, images: int, width: int = 2048, seed: int = 0) -> None:
    """Images with two captions and three to six detections each; a fifth are for validation."""
    dice, noise = random.Random(seed), np.random.default_rng(seed)
    centre = centres(THINGS, width, seed)
    data: dict[str, dict[str, list]] = {
        split: {"images": [], "annotations": []} for split in ("train", "val")
    }
    annotations = folder / "annotations"
    annotations.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "detections.hdf5", "w") as file:
        for image in range(1, images + 1):
            first, second = dice.sample(THINGS, 2)
            split = data["val" if image % 5 == 0 else "train"]
            split["images"].append({"id": image, "file_name": f"{image:012d}.jpg"})
            for caption in (f"A {first} next to a {second}.", f"A {second} and a {first} outside."):
                split["annotations"].append(
                    {"id": 10 * image + len(caption), "image_id": image, "caption": caption}
                )
            rows = [centre[dice.choice((first, second))] for _ in range(dice.randint(1, 4))]
            rows = np.stack([centre[first], centre[second], *rows])  # (detections, width)
            rows = rows + 0.3 * noise.normal(size=rows.shape)
            file[f"{image}_features"] = rows.astype(np.float32)
    for name, content in data.items():
        (annotations / f"captions_{name}.json").write_text(json.dumps(content))


def write_playlists(folder: Path, *, playlists: int, seed: int = 0) -> None:
    """Playlists of four to eight tracks; a fifth are for validation and a fifth for testing."""
    dice, noise = random.Random(seed), np.random.default_rng(seed)
    audio, tags = centres(GENRES, 256, seed), centres(GENRES, 300, seed + 1)
    splits: dict[str, list] = {"train": [], "val": [], "test": []}
    tables: dict[str, dict[str, list[str]]] = {"artists": {}, "tracks": {}, "tags": {}}
    (folder / "annotations" / "splits").mkdir(parents=True, exist_ok=True)
    with (
        h5py.File(folder / "features.hdf5", "w") as file,
        h5py.File(folder / "tracks.hdf5", "w") as by_track,
    ):
        for number in range(playlists):
            key, genre = f"playlist{number}", dice.choice(GENRES)
            tracks = dice.randint(4, 8)
            leader, other = dice.sample(ARTISTS, 2)
            names = [leader if dice.random() < 0.7 else other for _ in range(tracks)]
            tables["artists"][key], tables["tags"][key] = names, [genre]
            tables["tracks"][key] = [f"{key}-track{track}" for track in range(tracks)]
            split = {3: "val", 4: "test"}.get(number % 5, "train")
            caption = f"<title> {genre} for you <description> the best {genre} by {leader} and more"
            splits[split].append({"playlist_id": key, "caption": caption})
            rows = audio[genre] + 0.3 * noise.normal(size=(tracks, 256))
            file[f"{key}_audio"] = rows
            for track, row in zip(tables["tracks"][key], rows, strict=True):
                by_track[track] = row[None].astype(np.float32)  # (segments, width): one segment
            file[f"{key}_tags"] = tags[genre][None] + 0.1 * noise.normal(size=(1, 300))
    for name, entries in splits.items():
        path = folder / "annotations" / "splits" / f"{name}.json"
        path.write_text(json.dumps(entries, indent=1))
    for name, table in tables.items():
        path = folder / "annotations" / f"playlist2{name}.json"
        path.write_text(json.dumps(table, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--items", type=int, default=400, help="images, and playlists")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_coco(options.folder / "coco", images=options.items, seed=options.seed)
    write_playlists(options.folder / "playlists", playlists=options.items, seed=options.seed)


if __name__ == "__main__":
    main()
