"""PlayNTell's playlist files become tracks, tags and artists of a request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from audiogpt.artists import rank_track_artists
from audiogpt.playntell.playlists import read_playlist
from audiogpt.request import MAX_NAME

PLAYLIST = {
    "id": "mine",
    "tracks": [
        {"id": "a.mp3", "artist": "Air", "tags": ["Electronic", "Downtempo"]},
        {"id": "b.mp3", "artist": "Moby", "tags": ["Electronic", " R&B "]},
        {"id": "c.mp3", "artist": "Air", "tags": []},
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp3", "b.mp3", "c.mp3"):
        (tmp_path / name).write_bytes(b"audio")
    return tmp_path


def write(folder: Path, data) -> Path:
    path = folder / "playlist.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_tracks_tags_and_artists(folder: Path) -> None:
    (playlist,) = read_playlist(write(folder, PLAYLIST))
    assert playlist.id == "mine"
    assert [Path(str(t.path)).name for t in playlist.tracks] == ["a.mp3", "b.mp3", "c.mp3"]
    assert [tag.text for tag in playlist.tags] == ["Electronic", "Downtempo", "R&B"]
    assert all(tag.weight == 1 for tag in playlist.tags)
    ranked = rank_track_artists(track.artist for track in playlist.tracks)
    assert ranked.names == ("Air", "Moby")
    assert ranked.vector()[:2] == pytest.approx([2 / 3, 1 / 3])


def test_a_mark_that_an_editor_writes_first_is_no_part_of_it(folder: Path) -> None:
    (playlist,) = read_playlist(write(folder, "\ufeff" + json.dumps(PLAYLIST)))
    assert playlist.id == "mine"


def test_several_playlists_and_audio_elsewhere(folder: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("lists")
    path = write(elsewhere, [PLAYLIST, {"tracks": [{"id": "a.mp3"}]}])
    first, second = read_playlist(path, audio_folder=folder)
    assert len(first.tracks) == 3 and second.id == "" and second.tracks[0].artist == ""


def test_a_long_id_is_cut_for_display_only(folder: Path) -> None:
    name = "s" * 240 + ".mp3"
    (folder / name).write_bytes(b"audio")
    (playlist,) = read_playlist(write(folder, {"tracks": [{"id": name}]}))
    assert playlist.tracks[0].name == "s" * MAX_NAME
    assert Path(str(playlist.tracks[0].path)).name == name


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ({"id": "x"}, "no list of tracks"),
        ({"tracks": []}, "no list of tracks"),
        ([], "holds no playlist"),
        ({"tracks": [{"artist": "Air"}]}, "Track 1 .* has no id"),
        ({"tracks": [{"id": "a.mp3", "tags": "rock"}]}, "must be a list of texts"),
        ({"tracks": [{"id": "a.mp3", "artist": 3}]}, "must be a text"),
        ({"tracks": [{"id": "a.mp3"}, {"id": "x.mp3"}, {"id": "y.mp3"}]}, r"x\.mp3, y\.mp3"),
        (
            {"tracks": [{"id": "a.mp3", "artist": "x" * 201}]},
            r"The track a\.mp3 of .*: A track's artist must be a text of at most 200 characters",
        ),
        (
            {"tracks": [{"id": "a.mp3", "tags": ["rock", "x" * 201]}]},
            r"The track a\.mp3 of .*: A tag must be a text of at most 200 characters",
        ),
        ({"tracks": [{"id": "x" * 300}]}, "are not in .*: x{200}"),
        ({"tracks": [{"id": "\ud83d.mp3"}]}, "cannot be the name of a file"),
        ({"tracks": [{"id": "a\0.mp3"}]}, "cannot be the name of a file"),
        ({"tracks": [{"id": "../secret.mp3"}]}, "is outside"),
        ({"tracks": [{"id": "/etc/hostname"}]}, "is outside"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, data, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_playlist(write(folder, data))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be opened"):
        read_playlist(tmp_path / "none.json")
