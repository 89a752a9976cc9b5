"""Read variables of a TensorFlow checkpoint (V2 "tensor bundle") without TensorFlow.

A bundle is two files. ``NAME.index`` is a LevelDB-style sorted table from variable name to a
``BundleEntryProto`` (dtype, shape, offset, size); ``NAME.data-00000-of-00001`` holds the raw
little-endian values. Only what small float checkpoints need is supported: one shard, float32,
uncompressed table blocks. Anything else raises ValueError.

Format: tensorflow/core/util/tensor_bundle and tensorflow/core/lib/io/format.h.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
DTYPE_FLOAT32 = 1
WIRE_VARINT, WIRE_64BIT, WIRE_BYTES, WIRE_32BIT = 0, 1, 2, 5


def read_variables(prefix: str) -> dict[str, np.ndarray]:
    """Return every float32 variable of the bundle at ``prefix`` (path without ``.index``).

    Raises:
        ValueError: the files are not a bundle of the supported kind, or are cut short.
    """
    index = Path(f"{prefix}.index").read_bytes()
    data = Path(f"{prefix}.data-00000-of-00001").read_bytes()
    variables = {}
    for key, value in _table_entries(index):
        if not key:
            continue  # the header entry: number of shards, versions
        entry = _parse_message(value)
        if entry.get(1, [0])[0] != DTYPE_FLOAT32:
            continue
        if entry.get(3, [0])[0] != 0:
            raise ValueError(f"{prefix}: {key.decode()} lies in a second shard; one is supported.")
        dims = _parse_message(entry[2][0]).get(2, []) if 2 in entry else []
        shape = tuple(_parse_message(dim).get(1, [0])[0] for dim in dims)
        offset, size = entry.get(4, [0])[0], entry[5][0]
        if size != 4 * math.prod(shape) or offset + size > len(data):
            raise ValueError(f"{prefix}: {key.decode()} does not fit its data file.")
        values = np.frombuffer(data, dtype="<f4", count=size // 4, offset=offset)
        variables[key.decode()] = values.reshape(shape).copy()
    return variables


def _table_entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of every data block, in the table's order."""
    footer = table[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != TABLE_MAGIC:
        raise ValueError("This is not a TensorFlow checkpoint index: its closing number is wrong.")
    position = 0
    for _ in range(2):  # offset and size of the meta index, which is not needed
        _, position = _varint(footer, position)
    offset, position = _varint(footer, position)
    size, position = _varint(footer, position)
    for _, handle in _block_entries(table, offset, size):
        block_offset, cursor = _varint(handle, 0)
        block_size, _ = _varint(handle, cursor)
        yield from _block_entries(table, block_offset, block_size)


def _block_entries(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one block; keys share prefixes with the key before."""
    if table[offset + size] != 0:
        raise ValueError("This checkpoint index is compressed; only plain ones are supported.")
    block = table[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _parse_message(message: bytes) -> dict[int, list]:
    """Parse one level of a protocol-buffer message into {field number: values}."""
    fields: dict[int, list] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        value: int | bytes
        if wire == WIRE_VARINT:
            value, position = _varint(message, position)
        elif wire == WIRE_BYTES:
            length, position = _varint(message, position)
            value, position = message[position : position + length], position + length
        elif wire in (WIRE_32BIT, WIRE_64BIT):
            width = 4 if wire == WIRE_32BIT else 8
            value = int.from_bytes(message[position : position + width], "little")
            position += width
        else:
            raise ValueError(f"Unknown protocol-buffer wire type {wire} in a checkpoint index.")
        fields.setdefault(number, []).append(value)
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return (value, position after it) of the base-128 number at ``position``."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
