"""Uploads stay a day at most, also those of a process that was killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from audiogpt.ui.upload_folder import AGE, PREFIX, SWEEP, UploadFolder

DAY = 24 * 3600


def put(path: Path, *, age: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a song")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_is_old_goes_whoever_left_it_and_what_is_young_stays(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path)
    for folder in (uploads.path, tmp_path / f"{PREFIX}of-a-killed-process"):
        old = [put(folder / "hash" / "old.wav", age=DAY), put(folder / "half-upload", age=DAY)]
        young = put(folder / "hash" / "young.wav", age=DAY / 2)
        uploads.sweep()
        assert not any(path.exists() for path in old) and young.exists()


def test_what_others_keep_in_the_same_place_is_left_alone(tmp_path: Path) -> None:
    others = [put(tmp_path / "gradio" / "a.wav", age=9 * DAY), put(tmp_path / "b", age=9 * DAY)]
    uploads = UploadFolder(tmp_path)
    (uploads.path / "link").symlink_to(others[0].parent)
    os.utime(uploads.path / "link", (0, 0), follow_symlinks=False)
    (tmp_path / f"{PREFIX}link").symlink_to(others[0].parent)  # called so, and leads elsewhere
    uploads.sweep()
    assert all(path.exists() for path in others) and not os.path.lexists(uploads.path / "link")


def test_an_empty_folder_goes_once_its_process_is_dead(tmp_path: Path) -> None:
    dead, uploads = tmp_path / f"{PREFIX}dead", UploadFolder(tmp_path)
    dead.mkdir()
    for path in (dead, uploads.path):
        os.utime(path, (0, 0))
    uploads.sweep()
    assert not dead.exists() and uploads.path.exists()


def test_a_folder_that_the_system_tidied_away_is_there_again(tmp_path: Path) -> None:
    uploads = UploadFolder(tmp_path)
    uploads.path.rmdir()
    uploads.sweep()
    assert uploads.path.stat().st_mode & 0o077 == 0


def test_the_oldest_file_that_a_sweep_leaves_is_gone_before_a_day_is_over() -> None:
    assert AGE + SWEEP < DAY


def test_only_its_owner_can_read_the_folder_and_it_ends_with_all_that_is_in_it(
    tmp_path: Path,
) -> None:
    uploads = UploadFolder(tmp_path / "new")
    assert uploads.path.stat().st_mode & 0o077 == 0
    put(uploads.path / "hash" / "a.wav", age=0)
    uploads.remove()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_place_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    place = put(tmp_path / "file", age=0)
    with pytest.raises(ValueError, match="set GRADIO_TEMP_DIR to a folder"):
        UploadFolder(place)
