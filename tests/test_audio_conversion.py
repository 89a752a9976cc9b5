"""The reader of TensorFlow checkpoints, on bundles made here by hand."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from tensorflow_checkpoint import TABLE_MAGIC, read_variables

FLOAT32, INT64 = 1, 9


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def entry(shape: tuple[int, ...], offset: int, dtype: int = FLOAT32, shard: int = 0) -> bytes:
    """A BundleEntryProto."""
    dims = b""
    for size in shape:
        dim = b"\x08" + varint(size)
        dims += b"\x12" + varint(len(dim)) + dim
    size = 4 * int(np.prod(shape))
    made = b"\x08" + varint(dtype) + b"\x12" + varint(len(dims)) + dims
    if shard:
        made += b"\x18" + varint(shard)
    return made + b"\x20" + varint(offset) + b"\x28" + varint(size) + b"\x35" + bytes(4)


def block(entries: list[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    """A table block with shared key prefixes, and its trailer."""
    made, before = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        made += varint(shared) + varint(len(key) - shared) + varint(len(value))
        made += key[shared:] + value
        before = key
    return made + struct.pack("<II", 0, 1) + bytes([kind]) + bytes(4)


def write_bundle(
    folder: Path, entries: list[tuple[bytes, bytes]], data: bytes, kind: int = 0
) -> str:
    content = block(entries, kind)
    index = block([(b"zzz", varint(0) + varint(len(content) - 5))])
    meta = block([])
    footer = varint(len(content) + len(index)) + varint(len(meta) - 5)
    footer += varint(len(content)) + varint(len(index) - 5)
    footer = footer.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)
    (folder / "model.index").write_bytes(content + index + meta + footer)
    (folder / "model.data-00000-of-00001").write_bytes(data)
    return str(folder / "model")


def test_variables_are_read(tmp_path: Path) -> None:
    kernel = np.arange(200, dtype="<f4").reshape(2, 100)
    bias = np.array([1.5, -2.5, 3.5], dtype="<f4")
    entries = [
        (b"", b"\x08\x01"),
        (b"dense/bias", entry((3,), 800)),
        (b"dense/kernel", entry((2, 100), 0)),
        (b"step", entry((2,), 0, dtype=INT64)),
    ]
    prefix = write_bundle(tmp_path, entries, kernel.tobytes() + bias.tobytes())
    found = read_variables(prefix)
    assert sorted(found) == ["dense/bias", "dense/kernel"]
    np.testing.assert_array_equal(found["dense/kernel"], kernel)
    np.testing.assert_array_equal(found["dense/bias"], bias)


def test_what_is_not_supported_is_refused(tmp_path: Path) -> None:
    data = bytes(12)
    with pytest.raises(ValueError, match="does not fit"):
        read_variables(write_bundle(tmp_path, [(b"a", entry((4,), 0))], data))
    with pytest.raises(ValueError, match="second shard"):
        read_variables(write_bundle(tmp_path, [(b"a", entry((3,), 0, shard=1))], data))
    with pytest.raises(ValueError, match="compressed"):
        read_variables(write_bundle(tmp_path, [(b"a", entry((3,), 0))], data, kind=1))
    prefix = write_bundle(tmp_path, [(b"a", entry((3,), 0))], data)
    index = Path(f"{prefix}.index")
    index.write_bytes(index.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="closing number"):
        read_variables(prefix)
