"""Fetch the published model from Zenodo: resumed where it broke off, checked, and only its parts.

The archive holds the data sets as well; three files are taken out of it, under names of our own, so
that nothing an archive says decides where a file is written.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from audiogpt.playntell.convert import Conversion, convert_playntell

logger = logging.getLogger(__name__)

RECORD = "https://zenodo.org/api/records/7427231"
RECORD_PAGE = "https://zenodo.org/records/7427231"
ARCHIVE = "playntell_data_and_model.tar"
# The tag vectors are in the published repository, not in the archive.
TAGS_FILE = "discogs_tags_embeddings.npy"
TAGS_URL = (
    "https://raw.githubusercontent.com/deezer/playntell/"
    "d4696e93a823afc549b3ba498b8bfe6fbf78ef28/data/discogs_tags_embeddings.npy"
)
TAGS_SHA256 = "1597b862aff074e8f2e69db17f012edf21f3d00890a1deb2c9b70f091cad8b83"
MODEL = "playntell"
CONVERTED_BYTES = 1_000_000_000  # the converted 12-layer model, rounded up
CHUNK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without any data
ATTEMPTS = 5


class FetchError(ValueError):
    """The model could not be fetched; one sentence says what to do instead."""


@dataclass(frozen=True)
class RemoteFile:
    """A file and how to check it; `checksum` is "algorithm:hex digits" or ""."""

    name: str
    url: str
    size: int
    checksum: str


def fetch_playntell(
    out: str | Path,
    *,
    download_folder: str | Path,
    record: str = RECORD,
    tags_url: str = TAGS_URL,
    tags_sha256: str = TAGS_SHA256,
    model: str = MODEL,
    tokenizer: str | Path | None = None,
    progress: bool = True,
) -> Conversion:
    """Download, check, unpack and convert the published model to the checkpoint folder `out`.

    The archive goes to `download_folder` and stays there; a download that broke off is resumed, and
    an archive that is already there is used. `model` names the experiment within it. Raises
    FetchError or ValueError, in one sentence.
    """
    folder = Path(download_folder)
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / ARCHIVE
    try:
        remote = find_archive(record)
    except FetchError:
        if not archive.is_file():
            raise FetchError(
                f"Zenodo cannot be reached: download {ARCHIVE} from {RECORD_PAGE} elsewhere, put "
                f"it into {folder}, and run this again."
            ) from None
        logger.warning("Zenodo cannot be reached, so %s is used without a check.", archive)
    else:
        download(remote, archive, extra_bytes=CONVERTED_BYTES, progress=progress)
    parts = unpack(archive, folder / model, model=model)
    table = folder / model / TAGS_FILE
    if not table.is_file() and (folder / TAGS_FILE).is_file():
        table = folder / TAGS_FILE
    if not table.is_file():
        tags = RemoteFile(TAGS_FILE, tags_url, 0, f"sha256:{tags_sha256}")
        try:
            download(tags, table, progress=progress)
        except FetchError as error:
            raise FetchError(
                f"{TAGS_FILE} could not be fetched ({error}): take it from the data folder of "
                f"github.com/deezer/playntell, put it into {folder}, and run this again."
            ) from error
    return convert_playntell(
        parts["best.pth"],
        out,
        params=parts["params.json"],
        tag_embeddings=table,
        tokenizer=tokenizer,
    )


def find_archive(record: str) -> RemoteFile:
    """The archive's address, size in bytes and checksum, from Zenodo's record in JSON."""
    try:
        with _open(record) as response:
            data = json.load(response)
        entry = next(file for file in data["files"] if file["key"] == ARCHIVE)
        url = urllib.parse.urljoin(record, str(entry["links"]["self"]))
        found = RemoteFile(ARCHIVE, url, int(entry["size"]), str(entry["checksum"]))
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{record} cannot be reached: {error}.") from error
    except (StopIteration, KeyError, TypeError, ValueError) as error:
        raise FetchError(f"{record} does not list {ARCHIVE} as expected.") from error
    if urllib.parse.urlsplit(url).scheme not in ("https", urllib.parse.urlsplit(record).scheme):
        raise FetchError(f"{record} gives an address for {ARCHIVE} that is not safe: {url}.")
    return found


def download(
    remote: RemoteFile, target: Path, *, extra_bytes: int = 0, progress: bool = True
) -> None:
    """Download to `target` by way of a `.part` file, which a later call continues.

    A target that is there and fits is left alone. Raises FetchError if there is no room for the
    rest and `extra_bytes` more, the network fails several times, or the checksum differs.
    """
    if target.is_file():
        if _fits(remote, target):
            return
        logger.warning("%s is not the published file and is downloaded again.", target)
    part = target.with_name(target.name + ".part")
    done = part.stat().st_size if part.is_file() else 0
    needed, free = max(remote.size - done, 0) + extra_bytes, shutil.disk_usage(target.parent).free
    if needed > free:
        raise FetchError(
            f"{remote.name} needs {needed / 1e9:.1f} GB in {target.parent}, but only "
            f"{free / 1e9:.1f} GB are free."
        )
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _continue(remote, part, progress)
            break
        except (OSError, http.client.HTTPException) as error:
            final = attempt == ATTEMPTS or getattr(error, "code", 500) in (401, 403, 404, 410)
            if final:
                raise FetchError(
                    f"{remote.name} could not be downloaded: {error}. What is there is kept in "
                    f"{part.name}, so run this again."
                ) from error
            if getattr(error, "code", None) == 416:  # what is there is longer than the file
                part.unlink(missing_ok=True)
            logger.info("The download broke off (%s); attempt %d.", error, attempt + 1)
    if not _fits(remote, part):
        part.unlink()
        raise FetchError(f"{remote.name} arrived damaged and was deleted: run this again.")
    part.replace(target)


def _continue(remote: RemoteFile, part: Path, progress: bool) -> None:
    """Append what is missing of the remote file to `part`."""
    done = part.stat().st_size if part.is_file() else 0
    if remote.size and done >= remote.size:
        return
    headers = {"Range": f"bytes={done}-"} if done else {}
    with _open(remote.url, headers) as response:
        if done and response.status != 206:  # the server begins anew
            done = 0
        length = response.headers.get("Content-Length")
        total = remote.size or (done + int(length) if length else None)
        with (
            part.open("ab" if done else "wb") as file,
            tqdm(
                desc=remote.name,
                initial=done,
                total=total,
                unit="B",
                unit_scale=True,
                disable=not progress,
            ) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    size = part.stat().st_size
    if total and size < total:
        raise ConnectionError(f"{size} of {total} bytes arrived")


def _fits(remote: RemoteFile, path: Path) -> bool:
    if remote.size and path.stat().st_size != remote.size:
        return False
    algorithm, _, digest = remote.checksum.partition(":")
    if not digest:
        return True
    if algorithm not in ("md5", "sha256", "sha512"):
        raise FetchError(f"{remote.name} has a checksum of an unknown kind: {algorithm}.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return found.hexdigest() == digest.lower()


def unpack(archive: Path, folder: Path, *, model: str = MODEL) -> dict[str, Path]:
    """Take best.pth, params.json and, if it is there, the tag table out of the archive.

    Only regular files are read, and each is written to `folder` under its own plain name, so that
    links and paths inside the archive have no effect. What an earlier archive left there is
    replaced, for neither its size nor its date would tell. Raises FetchError if one is missing.
    """
    suffixes = {
        "best.pth": f"saved_models/{model}/best.pth",
        "params.json": f"saved_models/{model}/params.json",
        TAGS_FILE: TAGS_FILE,
    }
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                for name, suffix in suffixes.items():
                    if not member.isfile() or not f"/{member.name}".endswith(f"/{suffix}"):
                        continue
                    found[name] = folder / name
                    found[name].unlink(missing_ok=True)  # first, so that it takes no room
                    if member.size > shutil.disk_usage(folder).free:
                        raise FetchError(
                            f"{name} needs {member.size / 1e9:.1f} GB in {folder}, which are not "
                            "free."
                        )
                    source = tar.extractfile(member)
                    assert source is not None  # a regular file
                    part = folder / f"{name}.part"
                    with part.open("wb") as file:
                        shutil.copyfileobj(source, file, CHUNK)
                    part.replace(found[name])
    except (tarfile.TarError, EOFError) as error:
        raise FetchError(f"{archive} is not a readable archive: {error}.") from error
    if missing := [name for name in ("best.pth", "params.json") if name not in found]:
        raise FetchError(f"{archive} does not hold {' and '.join(missing)} of {model}.")
    return found


def _open(url: str, headers: dict[str, str] | None = None) -> Any:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise FetchError(f"{url} is not a web address.")
    request = urllib.request.Request(url, headers={"User-Agent": "audiogpt", **(headers or {})})
    return urllib.request.urlopen(request, timeout=TIMEOUT)
