"""PlayNTell's own playlist files: `id`, and `tracks` with `id` (a file name), `artist`, `tags`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiogpt.request import Tag, Track, name_of_file


@dataclass(frozen=True)
class Playlist:
    """A playlist's tracks, and the tags of all of them, each once and with weight 1."""

    id: str
    tracks: tuple[Track, ...]
    tags: tuple[Tag, ...]


def read_playlist(
    path: str | Path, *, audio_folder: str | Path | None = None
) -> tuple[Playlist, ...]:
    """The playlist, or list of playlists, of a JSON file.

    Audio files are looked for beside the file, or in `audio_folder`, and nowhere outside it. As in
    the published code, every tag counts once, and the artists' shares follow from how many tracks
    each has (`audiogpt.artists.rank_track_artists`). Raises ValueError naming what is missing.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))  # editors may write a mark first
    except OSError:
        raise ValueError(f"The playlist {path} cannot be opened.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The playlist {path} is not valid JSON: {error}.") from None
    folder = Path(audio_folder) if audio_folder is not None else path.parent
    playlists = data if isinstance(data, list) else [data]
    if not playlists:
        raise ValueError(f"The file {path} holds no playlist.")
    return tuple(_playlist(entry, str(path), folder) for entry in playlists)


def _playlist(data: Any, where: str, folder: Path) -> Playlist:
    entries = data.get("tracks") if isinstance(data, Mapping) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"A playlist of {where} has no list of tracks.")
    tracks = tuple(_track(entry, number, folder) for number, entry in enumerate(entries, start=1))
    # Unlike Path.is_file, this is also False for what no file can be named.
    if missing := [track.name for track in tracks if not os.path.isfile(str(track.path))]:  # noqa: PTH113
        raise ValueError(f"These tracks of the playlist are not in {folder}: {', '.join(missing)}.")
    tags = dict.fromkeys(tag for track in tracks for tag in track.tags)
    return Playlist(str(data.get("id", "")), tracks, tuple(Tag(text=tag) for tag in tags))


def _track(entry: Any, number: int, folder: Path) -> Track:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), str) or not entry["id"]:
        raise ValueError(f"Track {number} of the playlist has no id, the name of its audio file.")
    name = name_of_file(entry["id"])
    artist, tags = entry.get("artist") or "", entry.get("tags") or []
    if not isinstance(artist, str):
        raise ValueError(f"The artist of {name} must be a text.")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(f"The tags of {name} must be a list of texts.")
    file = folder / entry["id"]
    try:
        inside = file.resolve().is_relative_to(folder.resolve())
    except ValueError:  # characters that no file's name has
        raise ValueError(f"The track {name!r} cannot be the name of a file.") from None
    if not inside:
        raise ValueError(f"The track {name} is outside {folder}.")
    tags = tuple(tag.strip() for tag in tags if tag.strip())
    try:
        for tag in tags:
            Tag(text=tag)  # here, where the track is known
        return Track(path=str(file), name=name, artist=artist, tags=tags)
    except ValueError as error:
        raise ValueError(f"The track {name} of the playlist cannot be used: {error}") from None
