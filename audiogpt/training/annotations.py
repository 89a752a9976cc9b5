"""Annotated items: COCO-style captions, or playlists in PlayNTell's form.

COCO: the folder has `captions_train*.json` and `captions_val*.json` (and may have
`captions_test*.json`), each with `images` and `annotations` (`image_id`, `caption`).

Playlists: the folder has `splits/train.json`, `splits/val.json` and perhaps `splits/test.json`,
lists of `{"playlist_id", "caption"}`, and `playlist2artists.json`, which maps a playlist to the
artists of its tracks: `[{"artist", "count"}, …]` as published, or one name per track, or a mapping
of name to number of tracks. Captions read `<title> … <description> …`; artist names in them, as
written or as the published code preprocesses them, become artist0, artist1, … by share.
Two more tables may stand beside it: `playlist2tracks.json` (playlist to track ids, in the order of
the playlist) and `playlist2tags.json` (playlist to tags, any text).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiogpt.artists import RankedArtists, mask_artists, rank_artists, rank_track_artists
from audiogpt.captions import DELIMITER, FORMATTINGS, split_caption
from audiogpt.playntell.english import preprocess

SPLITS = ("train", "val", "test")
READ = ("captions_*.json", "splits/*.json", "playlist2*.json")  # files of either form


@dataclass(frozen=True, kw_only=True)
class Item:
    """One image or playlist: the key of its features, its captions, artists, tracks and tags."""

    key: str
    captions: tuple[str, ...]
    artists: RankedArtists | None = None
    tracks: tuple[str, ...] = ()  # ids of its tracks
    tags: tuple[str, ...] = ()


def read_annotations(folder: Path) -> dict[str, list[Item]]:
    """Items by split (`train`, `val`, `test`; the last may be empty).

    Raises ValueError, naming the file, where something is missing or has another form.
    """
    if (folder / "splits").is_dir():
        return _read_playlists(folder)
    if list(folder.glob("captions_train*.json")):
        return _read_coco(folder)
    raise ValueError(
        f"{folder} has neither captions_train*.json (COCO) nor splits/train.json (playlists)."
    )


def is_playlists(folder: Path) -> bool:
    """Whether a folder is in the playlist form."""
    return (folder / "splits").is_dir()


def formatted(caption: str, formatting: str) -> str:
    """The text to train on: the whole caption, its title, its description, or both joined by
    `<delimiter>`; ValueError for an unknown formatting."""
    if formatting not in FORMATTINGS:
        raise ValueError(f"formatting must be one of {', '.join(FORMATTINGS)}, not {formatting!r}.")
    text = " ".join(caption.split())
    if formatting == "standard":
        return text
    title, description = split_caption(text)
    if formatting == "title_only":
        return title
    return description if formatting == "description_only" else f"{title} {DELIMITER} {description}"


def _read_coco(folder: Path) -> dict[str, list[Item]]:
    splits: dict[str, list[Item]] = {}
    for split in SPLITS:
        captions: dict[str, list[str]] = {}
        for path in sorted(folder.glob(f"captions_{split}*.json")):
            data = _read(path)
            try:
                for image in data.get("images", ()):
                    captions.setdefault(str(image["id"]), [])
                for annotation in data["annotations"]:
                    text = " ".join((annotation["caption"] or "").split())
                    captions.setdefault(str(annotation["image_id"]), []).append(text)
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path} is not COCO captions JSON: {error!r}.") from error
        splits[split] = [Item(key=k, captions=tuple(c)) for k, c in captions.items() if c]
    return _checked(splits, folder)


def _read_playlists(folder: Path) -> dict[str, list[Item]]:
    artist_table = _read_artists(folder / "playlist2artists.json")
    tracks, tags = (_read_lists(folder / f"playlist2{name}.json") for name in ("tracks", "tags"))
    splits: dict[str, list[Item]] = {}
    for split in SPLITS:
        path = folder / "splits" / f"{split}.json"
        captions: dict[str, list[str]] = {}
        entries = _read(path) if path.is_file() else []
        if not isinstance(entries, list):
            raise ValueError(f"{path} must hold a list of entries with playlist_id and caption.")
        for entry in entries:
            try:
                key, text = str(entry["playlist_id"]), entry["caption"] or ""
            except (KeyError, TypeError) as error:
                raise ValueError(f"{path} needs playlist_id and caption: {error!r}.") from error
            if not isinstance(text, str):
                raise ValueError(f"{path}: the caption of playlist {key} is {text!r}, not a text.")
            captions.setdefault(key, []).append(text)
        items = []
        for key, texts in captions.items():
            artists = artist_table.get(key, RankedArtists((), ()))
            texts = [mask_artists(text, artists.names) for text in texts]
            plain = [preprocess(name) for name in artists.names]
            items.append(
                Item(
                    key=key,
                    captions=tuple(mask_artists(text, plain) for text in texts),
                    artists=artists,
                    tracks=tracks.get(key, ()),
                    tags=tags.get(key, ()),
                )
            )
        splits[split] = items
    return _checked(splits, folder)


def _read_lists(path: Path) -> dict[str, tuple[str, ...]]:
    """Playlist to distinct strings, in the file's order; nothing where there is no such file."""
    table = _read(path) if path.is_file() else {}
    if not isinstance(table, dict) or not all(isinstance(value, list) for value in table.values()):
        raise ValueError(f"{path} must map each playlist id to a list.")
    return {str(k): tuple(dict.fromkeys(str(entry) for entry in v)) for k, v in table.items()}


def _read_artists(path: Path) -> dict[str, RankedArtists]:
    """Playlist to its artists; nothing where there is no such file."""
    table = _read(path) if path.is_file() else {}
    if not isinstance(table, dict):
        raise ValueError(f"{path} must map each playlist id to its artists.")
    ranked = {}
    for key, artists in table.items():
        try:
            ranked[key] = _ranked(artists)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: the artists of playlist {key} must be one name per track, entries with "
                f"artist and count, or names mapped to numbers of tracks ({error})."
            ) from error
    return ranked


def _ranked(artists: Any) -> RankedArtists:
    """From either form; KeyError, TypeError or ValueError where it is none."""
    if isinstance(artists, Mapping):
        return rank_artists((str(name), float(count)) for name, count in artists.items())
    if not isinstance(artists, list):
        raise TypeError(f"{artists!r} is no list")
    if artists and all(isinstance(entry, Mapping) for entry in artists):
        return rank_artists((str(e["artist"]), float(e["count"])) for e in artists)
    if other := [entry for entry in artists if not isinstance(entry, str)]:
        raise TypeError(f"{other[0]!r} is no name")
    return rank_track_artists(artists)


def _checked(splits: dict[str, list[Item]], folder: Path) -> dict[str, list[Item]]:
    for split in ("train", "val"):
        if not splits[split]:
            raise ValueError(f"{folder} has no {split} captions.")
    return splits


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error
