"""Find, fetch and read the official OpenL3 weight files; TensorFlow is not needed.

The files are Keras HDF5 ("legacy weights"): attribute ``layer_names`` on the root (or on
``model_weights``), attribute ``weight_names`` on each layer's group. Layers are taken in their
order, whatever numbers their names carry; groups without a network's weights are skipped.
"""

from __future__ import annotations

import gzip
import http.client
import importlib.util
import logging
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import IO

import h5py
import numpy as np

from audiogpt.audio.openl3_network import OpenL3Weights

logger = logging.getLogger(__name__)

WEIGHTS_VARIABLE = "OPENL3_WEIGHTS"  # environment: a weight file, or a folder of them
SOURCE_URL = "https://github.com/marl/openl3/raw/models/"
TIMEOUT_SECONDS = 30.0
COPY_BYTES = 1 << 20
MAX_BYTES = 256 << 20  # an unpacked file has about 18 MiB; more is not ours
GZIP_MAGIC = b"\x1f\x8b"
BATCH_NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")
CONVOLUTION_PARTS = ("kernel", "bias")


def cache_folder() -> Path:
    """Where fetched weights are kept: $XDG_CACHE_HOME/audiogpt/openl3, or under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "audiogpt" / "openl3"


def file_names(content: str, representation: str) -> tuple[str, ...]:
    """The names under which the official file is found: packed and not, with version and not."""
    stem = f"openl3_audio_{representation}_{content}"
    return (f"{stem}.h5", f"{stem}-v0_4_0.h5", f"{stem}-v0_4_0.h5.gz", f"{stem}.h5.gz")


def find_weights(
    content: str,
    representation: str,
    *,
    path: Path | None = None,
    fetch: bool = True,
    source_url: str = SOURCE_URL,
) -> Path:
    """Return the weight file for one network.

    Looked for in turn: ``path`` (a file or a folder), the OPENL3_WEIGHTS environment variable, the
    cache folder, an installed openl3 package's own files; then it is fetched into the cache.

    Raises:
        ValueError: there is none; the sentence says what to download and where to put it.
    """
    given = path or (Path(p) if (p := os.environ.get(WEIGHTS_VARIABLE)) else None)
    names = file_names(content, representation)
    if given is not None:
        if given.is_file():
            _check_name(given, content, representation)
            return given
        if (found := _first_in(given, names)) is not None:
            return found
        raise ValueError(
            f"There is no OpenL3 weight file {names[0]} at {given}: give the file itself or the "
            "folder that holds it."
        )
    for folder in (cache_folder(), _package_folder()):
        if folder is not None and (found := _first_in(folder, names)) is not None:
            return found
    if fetch:
        return fetch_weights(content, representation, source_url=source_url)
    raise ValueError(_how_to_get(names[2], source_url))


def fetch_weights(content: str, representation: str, *, source_url: str = SOURCE_URL) -> Path:
    """Download the official file into the cache, read it once to be sure, and return its path.

    A broken download is taken up where it stopped.

    Raises:
        ValueError: no network, or what came is not the file.
    """
    name = file_names(content, representation)[2]
    target = cache_folder() / name
    partial = target.with_name(name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _download(source_url + name, partial)
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(
            f"{_how_to_get(name, source_url)} (The download failed: {error})"
        ) from error
    try:
        read_weights(partial)
    except ValueError as error:
        partial.unlink()
        raise ValueError(f"{name} arrived damaged and was deleted: try again. ({error})") from error
    partial.replace(target)
    return target


def read_weights(path: Path) -> OpenL3Weights:
    """Read a weight file, ``.h5`` or gzipped.

    Raises:
        ValueError: it is not an OpenL3 audio network; the sentence names what does not fit.
    """
    try:
        with tempfile.TemporaryFile() as unpacked:
            with path.open("rb") as packed:
                is_gzip = packed.read(2) == GZIP_MAGIC
                packed.seek(0)
                _copy_bounded(gzip.GzipFile(fileobj=packed) if is_gzip else packed, unpacked, path)
            with h5py.File(unpacked, "r") as file:
                return _read_layers(file, path)
    except (OSError, EOFError, KeyError, zlib.error) as error:
        raise ValueError(f"{path.name} is not a readable Keras weight file: {error}.") from error


def _read_layers(file: h5py.File, path: Path) -> OpenL3Weights:
    """`path` is the name for messages: the open file is a temporary one."""
    root = file.get("model_weights", file)
    if "layer_names" not in root.attrs:
        raise ValueError(f"{path.name} lists no layers, so it is not a Keras weight file.")
    batch_norms, convolutions = [], []
    for layer in _texts(root.attrs["layer_names"]):
        group = root[layer]
        arrays: dict[str, np.ndarray] = {}
        for name in _texts(group.attrs.get("weight_names", [])):
            part = name.rsplit("/", 1)[-1].split(":")[0]
            arrays[part] = np.asarray(group[name], dtype=np.float32)
        if set(arrays) == set(BATCH_NORM_PARTS):
            gamma, beta, mean, variance = (arrays[p] for p in BATCH_NORM_PARTS)
            batch_norms.append((gamma, beta, mean, variance))
        elif set(arrays) == set(CONVOLUTION_PARTS):
            convolutions.append((arrays["kernel"], arrays["bias"]))
        elif arrays:  # the spectrogram layers of old files hold their filters as weights
            logger.debug("Layer %s holds %s: not used.", layer, sorted(arrays))
    return OpenL3Weights(tuple(batch_norms), tuple(convolutions))


def _texts(values: object) -> list[str]:
    return [v.decode() if isinstance(v, bytes) else str(v) for v in np.asarray(values).tolist()]


def _copy_bounded(source: IO[bytes] | gzip.GzipFile, target: IO[bytes], path: Path) -> None:
    total = 0
    while chunk := source.read(COPY_BYTES):
        total += len(chunk)
        if total > MAX_BYTES:
            raise ValueError(f"{path.name} unpacks to more than {MAX_BYTES >> 20} MiB: not OpenL3.")
        target.write(chunk)
    target.seek(0)


def _download(url: str, partial: Path) -> None:
    """Download to ``partial``, continuing what is there where the server can."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if have and error.code == 416:  # nothing is left to send
            return
        raise
    with response:
        continues = response.status == 206
        expected = int(response.headers.get("Content-Length") or 0)
        with partial.open("ab" if continues else "wb") as out:
            shutil.copyfileobj(response, out, COPY_BYTES)
        size = partial.stat().st_size - (have if continues else 0)
    if expected and size != expected:
        raise OSError(f"only {size} of {expected} bytes came; try again to continue")


def _first_in(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _package_folder() -> Path | None:
    """Folder of an installed openl3 package, found without importing it (and TensorFlow)."""
    spec = importlib.util.find_spec("openl3")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _check_name(path: Path, content: str, representation: str) -> None:
    """All networks have the same shapes, so only its name tells an official file's kind."""
    match = re.match(r"openl3_audio_(linear|mel128|mel256)_(music|env)\b", path.name)
    if match and match.groups() != (representation, content):
        raise ValueError(
            f"{path.name} holds the {match[1]} {match[2]} network, but {representation} {content} "
            "was asked for."
        )


def _how_to_get(name: str, source_url: str) -> str:
    return (
        f"OpenL3's weights are not here: download {source_url}{name} and put it into "
        f"{cache_folder()}, or set {WEIGHTS_VARIABLE} to the file."
    )
