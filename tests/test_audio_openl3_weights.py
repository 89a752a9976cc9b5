"""Finding, fetching and reading OpenL3's weight files."""

from __future__ import annotations

import http.client
import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from openl3_recipe import recipe_weights, write_official_layout

from audiogpt.audio import openl3_weights
from audiogpt.audio.embedding import load_embedding
from audiogpt.audio.openl3_network import OpenL3Weights
from audiogpt.audio.openl3_weights import cache_folder, fetch_weights, find_weights, read_weights

PACKED = "openl3_audio_mel256_music-v0_4_0.h5.gz"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gzipped weight file in the official layout."""
    path = tmp_path_factory.mktemp("official") / PACKED
    write_official_layout(path, recipe_weights())
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENL3_WEIGHTS", raising=False)


class Server(http.server.ThreadingHTTPServer):
    """Serves one file with ranges; ``stop_after`` bytes the first answer breaks off."""

    data: bytes = b""
    stop_after: int | None = None
    ranges: list[str | None]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(self.server.data):
            self.send_error(416)
            return
        body = self.server.data[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.stop_after is not None:
            body, self.server.stop_after = body[: self.server.stop_after], None
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(packed: Path) -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.data, made.ranges = packed.read_bytes(), []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/"


def damaged(packed: bytes) -> bytes:
    """With one byte so that the packed stream itself makes no sense: a block of a kind unknown."""
    start = 10 + (packed.index(b"\0", 10) + 1 - 10 if packed[3] & 8 else 0)  # after the name
    return packed[:start] + bytes([packed[start] | 0b110]) + packed[start + 1 :]


def same(a: OpenL3Weights, b: OpenL3Weights) -> bool:
    flat = zip((*a.batch_norms, *a.convolutions), (*b.batch_norms, *b.convolutions), strict=True)
    return all(np.array_equal(x, y) for left, right in flat for x, y in zip(left, right))  # noqa: B905


@pytest.mark.parametrize("name", ["openl3_audio_mel256_music.h5", PACKED])
def test_official_layout_is_read_by_order(tmp_path: Path, name: str) -> None:
    write_official_layout(tmp_path / name, recipe_weights(), offset=23)
    assert same(read_weights(tmp_path / name), recipe_weights())


def test_embedding_loads_by_name_from_file_folder_and_variable(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    by_file = load_embedding("openl3-music-mel256-512", weights=packed)
    assert (by_file.width, by_file.sample_rate) == (512, 48_000)
    rows = by_file.embed(sound).rows
    monkeypatch.setenv("OPENL3_WEIGHTS", str(packed.parent))
    by_variable = load_embedding("openl3-music-mel256-512")
    np.testing.assert_array_equal(by_variable.embed(sound).rows, rows)


def test_lookup_order(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "openl3"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    own = package / "openl3_audio_mel256_music.h5"
    own.write_bytes(b"package")
    monkeypatch.syspath_prepend(str(package.parent))
    assert find_weights("music", "mel256", fetch=False) == own
    assert "openl3" not in sys.modules
    cached = cache_folder() / PACKED
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"cache")
    assert find_weights("music", "mel256", fetch=False) == cached
    monkeypatch.setenv("OPENL3_WEIGHTS", str(packed))
    assert find_weights("music", "mel256") == packed
    other = tmp_path / "mine.h5"
    other.write_bytes(b"mine")
    assert find_weights("music", "mel256", path=other) == other


def test_a_file_for_another_network_is_refused(packed: Path) -> None:
    with pytest.raises(ValueError, match="mel256 music network, but linear env"):
        find_weights("env", "linear", path=packed)


def test_fetched_into_the_cache_once(server: Server) -> None:
    path = find_weights("music", "mel256", source_url=url(server))
    assert path == cache_folder() / PACKED
    assert same(read_weights(path), recipe_weights())
    assert find_weights("music", "mel256", source_url=url(server)) == path
    assert len(server.ranges) == 1


def test_a_broken_download_continues(server: Server) -> None:
    server.stop_after = 100_000
    with pytest.raises(ValueError, match="download failed"):
        fetch_weights("music", "mel256", source_url=url(server))
    assert not (cache_folder() / PACKED).exists()
    path = fetch_weights("music", "mel256", source_url=url(server))
    assert server.ranges == [None, "bytes=100000-"]
    assert path.read_bytes() == server.data


def test_what_is_no_weight_file_does_not_stay_in_the_cache(server: Server) -> None:
    server.data = b"<html>not found</html>"
    with pytest.raises(ValueError, match="not a readable Keras weight file"):
        fetch_weights("music", "mel256", source_url=url(server))
    assert list(cache_folder().iterdir()) == []


def test_a_damaged_download_is_told_of_and_fetched_anew(server: Server) -> None:
    whole = server.data
    server.data = damaged(whole)
    with pytest.raises(ValueError, match="arrived damaged and was deleted: try again"):
        fetch_weights("music", "mel256", source_url=url(server))
    server.data = whole
    path = fetch_weights("music", "mel256", source_url=url(server))
    assert server.ranges == [None, None]
    assert path.read_bytes() == whole


def test_a_server_that_speaks_no_http_is_a_failed_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise http.client.IncompleteRead(b"")

    monkeypatch.setattr(openl3_weights, "_download", broken)
    with pytest.raises(ValueError, match="download failed"):
        fetch_weights("music", "mel256")


def test_offline_says_what_to_download_and_where_to_put_it() -> None:
    with pytest.raises(ValueError) as caught:
        find_weights("music", "mel256", source_url="http://127.0.0.1:9/")
    assert PACKED in str(caught.value)
    assert str(cache_folder()) in str(caught.value)
    assert "OPENL3_WEIGHTS" in str(caught.value)


def test_damaged_and_foreign_files_are_refused(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path / "short.h5.gz"
    short.write_bytes(packed.read_bytes()[:50_000])
    with pytest.raises(ValueError, match="not a readable"):
        read_weights(short)
    flipped = tmp_path / "flipped.h5.gz"
    flipped.write_bytes(damaged(packed.read_bytes()))
    with pytest.raises(ValueError, match=r"flipped\.h5\.gz is not a readable .* invalid block"):
        read_weights(flipped)
    foreign = tmp_path / "foreign.h5"
    with h5py.File(foreign, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"^foreign\.h5 lists no layers"):
        read_weights(foreign)
    monkeypatch.setattr(openl3_weights, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="unpacks to more"):
        read_weights(packed)


def test_every_shape_is_checked(tmp_path: Path) -> None:
    good = recipe_weights()
    kernel, bias = good.convolutions[3]
    with pytest.raises(ValueError, match="kernel of convolution 3"):
        OpenL3Weights(
            good.batch_norms,
            (*good.convolutions[:3], (kernel[..., :-1], bias), *good.convolutions[4:]),
        )
    with pytest.raises(ValueError, match="8 batch norms"):
        OpenL3Weights(good.batch_norms[:7], good.convolutions)
