"""Fetching the published archive, from a server on this machine that behaves like Zenodo's."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import shared
from playntell_recipe import params_of
from test_playntell_convert import CASE, small_published

import audiogpt.playntell.fetch as fetch_module
from audiogpt.checkpoints import from_pretrained
from audiogpt.playntell.fetch import (
    ARCHIVE,
    TAGS_FILE,
    FetchError,
    RemoteFile,
    download,
    fetch_playntell,
    find_archive,
    unpack,
)

CONTENT = np.random.default_rng(0).bytes(300_000)


class Server:
    """Serves `files` by path; remembers ranges; can ignore ranges or break off after n bytes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.break_after: list[int] = []
        self.ignore_ranges = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                start = 0
                if asked and not outer.ignore_ranges:
                    start = int(asked.removeprefix("bytes=").rstrip("-"))
                    if start >= len(body):
                        self.send_error(416)
                        return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                end = len(body)
                if outer.break_after:
                    end = start + outer.break_after.pop(0)
                self.wfile.write(body[start:end])

            def log_message(self, *args) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def publish(self, archive: bytes, **changes) -> str:
        """Serve an archive the way a Zenodo record does; returns the record's address."""
        entry = {
            "key": ARCHIVE,
            "size": len(archive),
            "checksum": f"md5:{hashlib.md5(archive).hexdigest()}",
            "links": {"self": f"{self.url}/content"},
            **changes,
        }
        self.files["/record"] = json.dumps({"files": [entry]}).encode()
        self.files["/content"] = archive
        return f"{self.url}/record"

    def remote(self, content: bytes = CONTENT) -> RemoteFile:
        self.files["/content"] = content
        digest = hashlib.sha256(content).hexdigest()
        return RemoteFile("file", f"{self.url}/content", len(content), f"sha256:{digest}")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_a_file_is_downloaded_and_then_left_alone(server: Server, tmp_path: Path) -> None:
    remote = server.remote()
    download(remote, tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert not (tmp_path / "file.part").exists()
    download(remote, tmp_path / "file", progress=False)
    assert server.ranges == [None]


def test_a_download_that_breaks_off_is_resumed(server: Server, tmp_path: Path) -> None:
    remote = server.remote()
    server.break_after = [100_000, 50_000]
    download(remote, tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_what_an_earlier_run_left_is_resumed(server: Server, tmp_path: Path) -> None:
    remote = server.remote()
    (tmp_path / "file.part").write_bytes(CONTENT[:1234])
    download(remote, tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges == ["bytes=1234-"]


def test_a_server_that_ignores_ranges_begins_anew(server: Server, tmp_path: Path) -> None:
    remote = server.remote()
    server.ignore_ranges = True
    (tmp_path / "file.part").write_bytes(b"x" * 1234)
    download(remote, tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_damage_is_noticed_and_deleted(server: Server, tmp_path: Path) -> None:
    remote = server.remote()
    (tmp_path / "file.part").write_bytes(b"x" * 1234)
    with pytest.raises(FetchError, match="arrived damaged"):
        download(remote, tmp_path / "file", progress=False)
    assert not list(tmp_path.iterdir())
    download(remote, tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_damaged_file_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * len(CONTENT))
    download(server.remote(), tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_leftover_longer_than_a_file_of_unknown_size_is_dropped(
    server: Server, tmp_path: Path
) -> None:
    known = server.remote()
    remote = RemoteFile(known.name, known.url, 0, known.checksum)
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    download(remote, tmp_path / "file", progress=False)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_too_little_room_is_said_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="GB are free"):
        download(server.remote(), tmp_path / "file", extra_bytes=10**16, progress=False)
    assert not server.ranges


def test_an_absent_file_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    remote = RemoteFile("file", f"{server.url}/nowhere", 10, "")
    with pytest.raises(FetchError, match="404"):
        download(remote, tmp_path / "file", progress=False)


def test_the_record_is_read(server: Server) -> None:
    remote = find_archive(server.publish(b"abc"))
    assert (remote.size, remote.url) == (3, f"{server.url}/content")
    assert remote.checksum.startswith("md5:")


@pytest.mark.parametrize("body", [b"{}", b"not json", b'{"files": [{"key": "other"}]}'])
def test_another_record_is_refused(server: Server, body: bytes) -> None:
    server.files["/record"] = body
    with pytest.raises(FetchError, match="does not list"):
        find_archive(f"{server.url}/record")


def test_a_link_to_a_local_file_is_refused(server: Server) -> None:
    record = server.publish(b"abc", links={"self": "file:///etc/passwd"})
    with pytest.raises(FetchError, match="not safe"):
        find_archive(record)


def make_tar(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


TOP = "playntell_data_and_model/playntell/saved_models"


def test_only_the_parts_of_the_chosen_model_are_taken(tmp_path: Path) -> None:
    archive = make_tar(
        tmp_path / "a.tar",
        {
            f"{TOP}/other/best.pth": b"wrong",
            f"{TOP}/playntell/best.pth": b"right",
            f"{TOP}/playntell/params.json": b"{}",
            "playntell_data_and_model/playntell_datasets/huge.bin": b"data",
            f"../../{TOP}/notplayntell/best.pth": b"wrong",
        },
    )
    found = unpack(archive, tmp_path / "out")
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "best.pth": b"right",
        "params.json": b"{}",
    }
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["best.pth", "params.json"]


def test_another_archive_takes_the_place_of_what_an_earlier_one_left(tmp_path: Path) -> None:
    for content in (b"old", b"new"):  # as long, and the archive may keep the date of its making
        members = {f"{TOP}/playntell/best.pth": content, f"{TOP}/playntell/params.json": b"{}"}
        archive = make_tar(tmp_path / "a.tar", members)
        os.utime(archive, (0, 0))
        found = unpack(archive, tmp_path / "out")
    assert found["best.pth"].read_bytes() == b"new"


def test_nothing_is_written_outside_and_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = tarfile.TarInfo(f"{TOP}/playntell/best.pth")
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    archive = make_tar(
        tmp_path / "a.tar",
        {"link": link, f"/../../{TOP}/playntell/params.json": b"{}"},
    )
    with pytest.raises(FetchError, match=r"does not hold best\.pth"):
        unpack(archive, tmp_path / "deep" / "out")
    written = [p for p in tmp_path.rglob("*") if p.is_file() and p not in (secret, archive)]
    assert written == [tmp_path / "deep" / "out" / "params.json"]


@pytest.mark.parametrize("content", [b"", b"not a tar" * 1000])
def test_a_broken_archive_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(FetchError):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_offline_says_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(FetchError) as error:
        fetch_playntell(
            tmp_path / "out",
            download_folder=tmp_path / "downloads",
            record="http://127.0.0.1:9/record",
            progress=False,
        )
    message = str(error.value)
    assert ARCHIVE in message and "zenodo.org/records/7427231" in message
    assert str(tmp_path / "downloads") in message
    assert "\n" not in message


@pytest.fixture
def published_tar(tmp_path: Path) -> bytes:
    torch.manual_seed(0)
    source = small_published(tmp_path / "source")
    members = {
        f"{TOP}/playntell/{name}": (source / name).read_bytes()
        for name in ("best.pth", "params.json")
    }
    return make_tar(tmp_path / "made.tar", members).read_bytes()


def test_from_the_record_to_a_checkpoint(
    server: Server, tmp_path: Path, published_tar: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broken connection, then the archive, the tag table beside it, and a usable model."""
    oracle = shared("oracle", "playntell")
    table = (oracle / TAGS_FILE).read_bytes()
    server.files["/tags"] = table
    record = server.publish(published_tar)
    # The record is whole; the archive breaks off once in the middle.
    server.break_after = [len(server.files["/record"]), len(published_tar) // 2]
    conversion = fetch_playntell(
        tmp_path / "out",
        download_folder=tmp_path / "downloads",
        record=record,
        tags_url=f"{server.url}/tags",
        tags_sha256=hashlib.sha256(table).hexdigest(),
        tokenizer=oracle / "gpt2-bpe",
    )
    assert f"bytes={len(published_tar) // 2}-" in server.ranges
    assert ARCHIVE in capsys.readouterr().err  # the progress bar
    model = from_pretrained(conversion.folder)
    assert model.config.n_layer == params_of(CASE)["decoder_layer"]


def test_an_archive_put_there_by_hand_works_offline(tmp_path: Path, published_tar: bytes) -> None:
    oracle = shared("oracle", "playntell")
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / ARCHIVE).write_bytes(published_tar)
    (downloads / TAGS_FILE).write_bytes((oracle / TAGS_FILE).read_bytes())
    fetch_playntell(
        tmp_path / "out",
        download_folder=downloads,
        record="http://127.0.0.1:9/record",
        tokenizer=oracle / "gpt2-bpe",
        progress=False,
    )
    assert from_pretrained(tmp_path / "out").config.published_padding


def test_the_expected_tag_table_is_the_published_one() -> None:
    table = shared("oracle", "playntell", TAGS_FILE)
    assert hashlib.sha256(table.read_bytes()).hexdigest() == fetch_module.TAGS_SHA256
