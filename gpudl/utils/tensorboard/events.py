"""The files that TensorBoard reads: events as protocol buffers, in records with checksums.

A record is length (8 bytes), checksum of the length (4), the event, checksum of the event (4); numbers are little-endian. Sources: TensorFlow's
core/lib/io/record_writer.cc (records, masked CRC-32C), core/util/event.proto and core/framework/summary.proto (field numbers).
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Iterable

import numpy as np


@functools.cache
def _table() -> list[int]:
    """Of the CRC of Castagnoli's polynomial, reflected: 0x82F63B78."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def crc32c(data: bytes) -> int:
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    def masked(part: bytes) -> bytes:
        crc = crc32c(part)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


# Fields of a protocol buffer: a key (number, wire type), then the value.
def _varint(n: int) -> bytes:
    n &= 0xFFFFFFFFFFFFFFFF  # negative numbers take ten bytes
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def single(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def text(field: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


message = text  # a message within a message is its bytes


def event(wall_time: float, step: int | None = None, *, version: str = "", values: Iterable[bytes] = ()) -> bytes:
    out = double(1, wall_time)
    if step is not None:
        out += integer(2, step)
    if version:
        return out + text(3, version)
    return out + message(5, b"".join(message(1, v) for v in values))


def scalar(tag: str, value: float) -> bytes:
    return text(1, tag) + single(2, value)


def scalar_double(tag: str, value: float) -> bytes:
    tensor = integer(1, 2) + double(6, value)  # DT_DOUBLE, double_val
    return text(1, tag) + message(8, tensor) + message(9, message(1, text(1, "scalars")))


def image(tag: str, pixels: np.ndarray) -> bytes:
    """pixels: uint8 (H, W, 1, 3 or 4)."""
    H, W, C = pixels.shape
    return text(1, tag) + message(4, integer(1, H) + integer(2, W) + integer(3, C) + text(4, png(pixels)))


def histogram(tag: str, values: np.ndarray, limits: np.ndarray) -> bytes:
    """How many values lie below each limit and not below the one before; the empty ends are left out, as TensorBoard's own writer does."""
    counts, limits = np.histogram(values, limits)
    filled = np.flatnonzero(counts)
    first, last = (filled[0], filled[-1]) if filled.size else (0, 0)
    counts, limits = counts[max(first - 1, 0) : last + 1], limits[max(first - 1, 0) + 1 : last + 2]
    if first == 0:
        counts, limits = np.concatenate([[0], counts]), np.concatenate([[values.min()], limits])
    wide = values.astype(np.float64)
    out = double(1, wide.min()) + double(2, wide.max()) + double(3, wide.size) + double(4, wide.sum()) + double(5, float(wide @ wide))
    for field, numbers in ((6, limits), (7, counts)):
        out += text(field, np.asarray(numbers, "<f8").tobytes())
    return text(1, tag) + message(5, out)


def words(tag: str, value: str) -> bytes:
    tensor = integer(1, 7) + message(2, message(2, integer(1, 1))) + text(8, value)  # DT_STRING, of shape (1,)
    return text(1, tag) + message(8, tensor) + message(9, message(1, text(1, "text")))


def png(pixels: np.ndarray) -> bytes:
    """uint8 (H, W, C) with C = 1, 3 or 4 as a PNG."""
    H, W, C = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.concatenate([np.zeros((H, 1), np.uint8), pixels.reshape(H, W * C)], 1)  # each row begins with its filter: none
    header = struct.pack(">IIBBBBB", W, H, 8, {1: 0, 3: 2, 4: 6}[C], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
