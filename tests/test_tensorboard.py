"""Logs for TensorBoard: the files are read back by a parser of its own, down to the checksums."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpudl
from gpudl.utils.tensorboard import SummaryWriter, events


def slow_crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 * (crc & 1))
    return crc ^ 0xFFFFFFFF


def fields(data: bytes) -> dict[int, list[Any]]:
    """A protocol buffer without knowing its types: numbers, 8 or 4 raw bytes, or the bytes of strings and messages, by field."""
    found: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value: Any = varint()
        else:
            n = {1: 8, 5: 4}[key & 7] if key & 7 in (1, 5) else varint()
            value, at = data[at : at + n], at + n
        found.setdefault(key >> 3, []).append(value)
    return found


def read(folder: Path) -> list[dict[int, list[Any]]]:
    """The events of the one file in a folder; each record's checksums are checked."""
    (path,) = folder.glob("events.out.tfevents.*")
    data, at, out = path.read_bytes(), 0, []

    def check(part: bytes, masked: bytes) -> None:
        crc = slow_crc32c(part)
        assert struct.unpack("<I", masked)[0] == (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) % 2**32

    while at < len(data):
        (n,) = struct.unpack("<Q", data[at : at + 8])
        check(data[at : at + 8], data[at + 8 : at + 12])
        check(data[at + 12 : at + 12 + n], data[at + 12 + n : at + 16 + n])
        out.append(fields(data[at + 12 : at + 12 + n]))
        at += n + 16
    return out


def value(event: dict[int, list[Any]]) -> dict[int, list[Any]]:
    (summary,) = event[5]
    (only,) = fields(summary)[1]
    return fields(only)


def test_the_checksum_is_the_published_one() -> None:
    assert events.crc32c(b"123456789") == 0xE3069283 == slow_crc32c(b"123456789")
    assert events.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_scalars(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path / "run") as writer:
        writer.add_scalar("loss/train", gpudl.tensor(0.25, requires_grad=True), 3)
        writer.add_scalar("loss/train", np.float32(0.125), gpudl.tensor(300), walltime=12.5)
        writer.add_scalar("exact", 0.1, -1, double_precision=True)
        writer.add_scalar("half", gpudl.tensor([2.5], dtype=gpudl.bfloat16))
    first, *rest = read(tmp_path / "run")
    assert first[3] == [b"brain.Event:2"]
    got = [(e.get(2), value(e)) for e in rest]
    assert [v[1] for _, v in got] == [[b"loss/train"], [b"loss/train"], [b"exact"], [b"half"]]
    assert [s for s, _ in got] == [[3], [300], [2**64 - 1], None]
    assert [struct.unpack("<f", v[2][0])[0] for _, v in (got[0], got[1], got[3])] == [0.25, 0.125, 2.5]
    assert struct.unpack("<d", rest[1][1][0])[0] == 12.5
    tensor = fields(got[2][1][8][0])
    assert tensor[1] == [2] and struct.unpack("<d", tensor[6][0])[0] == 0.1


def test_each_of_several_scalars_is_a_run_of_its_own(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        for step in range(2):
            writer.add_scalars("loss/all", {"train": step + 0.5, "val": step}, step)
    for name, numbers in (("train", [0.5, 1.5]), ("val", [0, 1])):
        _, *rest = read(tmp_path / f"loss_all_{name}")
        assert [struct.unpack("<f", value(e)[2][0])[0] for e in rest] == numbers and value(rest[0])[1] == [b"loss/all"]


def test_histograms_images_and_texts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values, picture = rng.normal(size=500), rng.integers(0, 256, size=(3, 4, 5)).astype(np.uint8)
    with SummaryWriter(tmp_path) as writer:
        writer.add_histogram("weights", gpudl.tensor(values), 1)
        writer.add_histogram("some", np.array([1.0, 2.0, 2.5, np.nan, np.inf]), 1, bins=[0, 2, 4])
        writer.add_image("picture", picture, 2)
        writer.add_image("grey", gpudl.tensor([[0.0, 0.5, 1.0]]), 2, dataformats="HW")
        writer.add_images("grid", np.stack([np.full((1, 2, 2), i, np.uint8) for i in range(5)]), 2)
        writer.add_text("note", "## é", 3)
    _, weights, some, image, grey, grid, note = map(lambda e: value(e) if 5 in e else e, read(tmp_path))
    h = fields(weights[5][0])
    limits, counts = (np.frombuffer(h[k][0], "<f8") for k in (6, 7))
    low, high, n, total, squares = (struct.unpack("<d", h[k][0])[0] for k in (1, 2, 3, 4, 5))
    assert (low, high, n) == (values.min(), values.max(), 500) and counts.sum() == 500 and len(limits) == len(counts)
    assert abs(total - values.sum()) <= 1e-9 and abs(squares - (values**2).sum()) <= 1e-9
    for edge in limits[:-1]:
        assert counts[limits <= edge].sum() == (values < edge).sum()
    h = fields(some[5][0])
    assert np.frombuffer(h[6][0], "<f8").tolist()[-2:] == [2, 4] and np.frombuffer(h[7][0], "<f8").tolist()[-2:] == [1, 2]
    facts = fields(image[4][0])
    assert (facts[1], facts[2], facts[3]) == ([4], [5], [3])
    assert (decode(facts[4][0]) == picture.transpose(1, 2, 0)).all()
    assert decode(fields(grey[4][0])[4][0])[..., 0].tolist() == [[0, 128, 255]]
    assert decode(fields(grid[4][0])[4][0])[::2, ::2, 0].tolist() == [[0, 1, 2], [3, 4, 0]]
    assert note[1] == [b"note/text_summary"] and fields(note[8][0])[8] == ["## é".encode()]
    assert fields(fields(note[9][0])[1][0])[1] == [b"text"]


def decode(png: bytes) -> np.ndarray:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        (n,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + n]
        assert struct.unpack(">I", png[at + 8 + n : at + 12 + n])[0] == zlib.crc32(kind + data)
        chunks[kind], at = data, at + 12 + n
    W, H, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    C = {0: 1, 2: 3, 6: 4}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(H, 1 + W * C)
    assert depth == 8 and not rows[:, 0].any()
    return rows[:, 1:].reshape(H, W, C)


def test_what_is_added_is_in_the_file_after_a_flush_and_after_a_full_queue(tmp_path: Path) -> None:
    writer = SummaryWriter(tmp_path, max_queue=3)
    writer.add_scalar("a", 1, 0)
    writer.flush()
    assert len(read(tmp_path)) == 2
    for step in range(1, 4):
        writer.add_scalar("a", 1, step)
    assert len(read(tmp_path)) == 5
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="is closed"):
        writer.add_scalar("a", 1, 0)


def test_messages(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        for call, kind, message in [
            (lambda: writer.add_scalar("a", gpudl.ones(2)), ValueError, r"add_scalar: 'a' is \(2,\); one number is needed"),
            (lambda: writer.add_scalar("a", "x"), TypeError, "add_scalar: the value is str"),
            (lambda: writer.add_histogram("a", [np.nan]), ValueError, "add_histogram: 'a' has no finite value"),
            (lambda: writer.add_image("a", np.ones((2, 3, 3))), ValueError, "1, 3 or 4 channels are needed"),
            (lambda: writer.add_image("a", np.ones((3, 3))), ValueError, r"'a' is \(3, 3\) and dataformats 'CHW'"),
            (lambda: writer.add_text("a", 3), TypeError, "add_text: 'a' is a int"),
            (lambda: writer.add_graph(None), NotImplementedError, "autograd.draw"),
        ]:
            with pytest.raises(kind, match=message):
                call()
    with pytest.raises(NotImplementedError, match="purge_step is not supported"):
        SummaryWriter(tmp_path, purge_step=3)
