"""Datasets, samplers, the DataLoader, and dataset files that are missing, damaged or cut off."""

import collections
import gzip
import hashlib
import http.server
import itertools
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import gpudl
from gpudl import data
from gpudl.data import (
    MNIST,
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DatasetError,
    FashionMNIST,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
    random_split,
)


class Squares(Dataset):
    """Sample i is (i, i * i); counts how often it is asked, and may refuse."""

    def __init__(self, n, wrong=None):
        self.n, self.wrong = n, wrong

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        if i == self.wrong:
            raise KeyError(f"sample {i} is broken")
        return np.float32(i), i * i


class Count(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(start, self.n, step))


def rows(loader):
    return [x.tolist() for x, _ in loader]


# ------------------------------------------------------------------------------------------------------------------------ datasets
def test_tensor_dataset():
    x, y = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6)
    ds = TensorDataset(gpudl.tensor(x), y)
    assert len(ds) == 6
    assert ds[4][0].tolist() == [8.0, 9.0] and ds[-1][1].item() == 5
    with pytest.raises(ValueError, match=r"size mismatch .*\(6, 2\).*\(5,\)"):
        TensorDataset(x, y[:5])
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()
    with pytest.raises(ValueError, match="first dimension"):
        TensorDataset(np.float32(1))


def test_concat_and_subset():
    ds = Squares(3) + Squares(4)
    assert isinstance(ds, ConcatDataset) and len(ds) == 7
    assert [ds[i][1] for i in range(7)] == [0, 1, 4, 0, 1, 4, 9]
    assert ds[-1][1] == 9
    for i in (7, -8):
        with pytest.raises(IndexError, match="out of range for 7"):
            ds[i]
    assert [Subset(ds, [6, 0, 3])[i][1] for i in range(3)] == [9, 0, 0]
    with pytest.raises(ValueError, match="empty"):
        ConcatDataset([])
    with pytest.raises(TypeError, match="ChainDataset"):
        ConcatDataset([Count(3)])
    assert list(Count(2) + Count(3)) == [0, 1, 0, 1, 2]


def test_random_split():
    parts = random_split(Squares(10), [0.5, 0.25, 0.25], generator=np.random.default_rng(0))
    assert [len(p) for p in parts] == [6, 2, 2]  # what rounding leaves goes to the first parts
    assert sorted(int(x) for p in parts for x, _ in (p[i] for i in range(len(p)))) == list(range(10))
    again = random_split(Squares(10), [0.5, 0.25, 0.25], generator=np.random.default_rng(0))
    assert [list(p.indices) for p in parts] == [list(p.indices) for p in again]
    assert [len(p) for p in random_split(Squares(10), [10, 0])] == [10, 0]
    for lengths, message in ([3, 3], "sum to 6, the dataset has 10"), ([0.5, 0.6], "neither"), ([11, -1], "neither"):
        with pytest.raises(ValueError, match=message):
            random_split(Squares(10), lengths)


def test_manual_seed_repeats_split_and_order():
    def run():
        gpudl.manual_seed(7)
        a, b = random_split(Squares(20), [15, 5])
        return list(a.indices), list(b.indices), rows(DataLoader(a, batch_size=4, shuffle=True))

    first = run()
    assert run() == first
    gpudl.manual_seed(8)
    assert list(random_split(Squares(20), [15, 5])[0].indices) != first[0]


# ------------------------------------------------------------------------------------------------------------------------ samplers
def test_samplers():
    g = np.random.default_rng(0)
    assert list(SequentialSampler(Squares(3))) == [0, 1, 2]
    assert sorted(RandomSampler(Squares(50), generator=g)) == list(range(50))
    assert list(RandomSampler(Squares(50), generator=g)) != list(range(50))
    twice = list(RandomSampler(Squares(4), num_samples=10, generator=g))
    assert sorted(twice[:4]) == sorted(twice[4:8]) == [0, 1, 2, 3] and len(twice) == 10
    drawn = list(RandomSampler(Squares(3), replacement=True, num_samples=300, generator=g))
    assert set(drawn) == {0, 1, 2} and len(drawn) == 300
    assert sorted(SubsetRandomSampler([5, 9, 2], generator=g)) == [2, 5, 9]
    weighted = collections.Counter(WeightedRandomSampler([1, 0, 3], 4000, generator=g))
    assert weighted[1] == 0 and abs(weighted[2] / 4000 - 0.75) < 5 * (0.75 * 0.25 / 4000) ** 0.5
    assert sorted(WeightedRandomSampler([1, 2, 3], 3, replacement=False, generator=g)) == [0, 1, 2]
    assert list(BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert len(BatchSampler(range(5), 2, False)) == 3 and len(BatchSampler(range(5), 2, True)) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomSampler(Squares(3), num_samples=0), "num_samples"),
        (lambda: WeightedRandomSampler([1, -1], 2), ">= 0"),
        (lambda: WeightedRandomSampler([np.nan, 1], 2), ">= 0"),
        (lambda: WeightedRandomSampler([1, 0], 2, replacement=False), "without replacement from 1"),
        (lambda: BatchSampler(range(3), 0, False), "BatchSampler: batch_size must be a positive integer, not 0"),
        (lambda: BatchSampler(range(3), 2, 1), "drop_last"),
    ],
)
def test_sampler_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---------------------------------------------------------------------------------------------------------------------- DataLoader
@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("fast", [False, True], ids=["per sample", "whole batches"])
def test_order_lengths_and_types(workers, fast):
    n = 11
    ds = TensorDataset(np.arange(n, dtype=np.float32), np.arange(n) ** 2) if fast else Squares(n)
    loader = DataLoader(ds, batch_size=4, num_workers=workers)
    assert len(loader) == 3
    for _ in range(2):
        assert rows(loader) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    x, y = next(iter(loader))
    assert (x.dtype, y.dtype, y.tolist()) == (gpudl.float32, gpudl.int64, [0, 1, 4, 9])
    dropped = DataLoader(ds, batch_size=4, drop_last=True, num_workers=workers)
    assert len(dropped) == 2 and rows(dropped) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("workers", [0, 2])
def test_shuffle_is_seeded_and_new_in_each_epoch(workers):
    def epochs(seed):
        loader = DataLoader(Squares(40), batch_size=8, shuffle=True, num_workers=workers, generator=np.random.default_rng(seed))
        return [sum(rows(loader), []) for _ in range(2)]

    first, second = epochs(0)
    assert sorted(first) == sorted(second) == list(range(40)) and first != second
    assert epochs(0) == [first, second]
    assert epochs(1)[0] != first


def test_the_number_of_workers_does_not_change_the_order():
    def order(workers):
        gpudl.manual_seed(3)
        loader = DataLoader(Squares(30), batch_size=4, shuffle=True, num_workers=workers)
        return [rows(loader), rows(loader)]

    assert order(0) == order(1) == order(3)


def test_fast_path_equals_slow_path_through_subsets():
    x, y = np.random.default_rng(0).normal(size=(30, 2, 3)).astype(np.float32), np.arange(30)
    ds = Subset(Subset(TensorDataset(x, y), range(5, 25)), [3, 0, 19, 7, 7])
    fast = [(a.numpy(), b.numpy()) for a, b in DataLoader(ds, batch_size=2)]
    slow = [(a.numpy(), b.numpy()) for a, b in DataLoader(ds, batch_size=2, collate_fn=lambda batch: data.default_collate(batch))]
    assert len(fast) == len(slow) == 3
    for (a, b), (c, d) in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
    assert np.concatenate([b for _, b in fast]).tolist() == [8, 5, 24, 12, 12]
    assert not hasattr(Subset(Squares(3), [0]), "__getbatch__")


def test_fast_path_does_not_pass_by_a_changed_getitem():
    class Negative(TensorDataset):
        def __getitem__(self, i):
            return tuple(-t.numpy()[i] for t in self.tensors)

    ds = Negative(np.arange(4.0))
    for each in (ds, Subset(ds, [0, 1, 2, 3])):
        assert [x.tolist() for (x,) in DataLoader(each, batch_size=4)] == [[0, -1, -2, -3]]


def test_a_batch_does_not_share_memory_with_the_dataset():
    x = np.zeros((4, 2), np.float32)
    (batch,) = next(iter(DataLoader(TensorDataset(x), batch_size=2)))
    batch.numpy()[...] = 1
    assert not x.any()


def test_samplers_and_unbatched():
    assert rows(DataLoader(Squares(5), batch_size=2, sampler=[4, 2, 0])) == [[4, 2], [0]]
    loader = DataLoader(Squares(5), batch_sampler=[[4], [1, 2, 3]])
    assert rows(loader) == [[4], [1, 2, 3]] and len(loader) == 2
    single = DataLoader(Squares(3), batch_size=None)
    assert len(single) == 3 and [(x.item(), y) for x, y in single] == [(0, 0), (1, 1), (2, 4)]
    assert rows(DataLoader(Squares(0), batch_size=2)) == []


class Many(Dataset):
    """PyTorch's protocol for a dataset that fetches several samples at once."""

    def __len__(self):
        return 5

    def __getitems__(self, indices):
        return [np.float32(10 * i) for i in indices]


def test_getitems():
    assert [b.tolist() for b in DataLoader(Many(), batch_size=3)] == [[0, 10, 20], [30, 40]]


Point = collections.namedtuple("Point", "x y")


def test_collate():
    batch = [
        {"a": np.ones(2), "b": (1, 2.5), "c": "x", "d": Point(True, np.int8(3)), "e": gpudl.tensor([1.0])},
        {"a": np.zeros(2), "b": (3, 4.5), "c": "y", "d": Point(False, np.int8(4)), "e": gpudl.tensor([2.0])},
    ]
    out = data.default_collate(batch)
    assert out["a"].tolist() == [[1, 1], [0, 0]] and out["a"].dtype == gpudl.float64
    assert out["b"][0].tolist() == [1, 3] and out["b"][0].dtype == gpudl.int64
    assert out["b"][1].tolist() == [2.5, 4.5] and out["b"][1].dtype == gpudl.float64
    assert out["c"] == ["x", "y"]
    assert isinstance(out["d"], Point) and out["d"].x.dtype == np.bool_ and out["d"].y.dtype == gpudl.int8
    assert out["e"].tolist() == [[1.0], [2.0]] and out["e"].dtype == gpudl.float32
    with pytest.raises(RuntimeError, match="equal size"):
        data.default_collate([[1], [1, 2]])
    with pytest.raises(RuntimeError, match=r"shapes \[\(2,\), \(3,\)\]; they must agree"):
        data.default_collate([np.ones(2), np.ones(3)])
    with pytest.raises(TypeError, match="holds a object"):
        data.default_collate([object()])


@pytest.mark.parametrize("workers", [0, 3])
def test_iterable_dataset(workers):
    assert sorted(sum((b.tolist() for b in DataLoader(Count(10), batch_size=4, num_workers=workers)), [])) == list(range(10))
    dropped = [b.tolist() for b in DataLoader(Count(10), batch_size=3, drop_last=True, num_workers=workers)]
    assert all(len(b) == 3 for b in dropped)
    assert sorted(DataLoader(Count(3), batch_size=None, num_workers=workers)) == [0, 1, 2]
    if workers:
        assert rows([(b, 0) for b in DataLoader(Count(10), batch_size=4, num_workers=workers)]) == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


def test_workers_work_side_by_side():
    """Each of the two first batches waits for the other: one thread alone could not make them."""
    barrier = threading.Barrier(2, timeout=20)

    class Meet(Squares):
        def __getitem__(self, i):
            barrier.wait()
            return super().__getitem__(i)

    assert rows(DataLoader(Meet(4), batch_size=1, num_workers=2)) == [[0], [1], [2], [3]]


def test_worker_info_and_init():
    seen, seeds = [], set()

    class Who(Squares):
        def __getitem__(self, i):
            info = get_worker_info()
            assert info.dataset is self and info.num_workers == 2
            seeds.add(info.seed)
            return info.id

    out = [b.tolist() for b in DataLoader(Who(8), batch_size=2, num_workers=2, worker_init_fn=seen.append)]
    assert out == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert sorted(seen) == [0, 1] and len(seeds) == 2
    assert get_worker_info() is None


@pytest.mark.parametrize("workers", [0, 2])
def test_exceptions_come_through(workers):
    loader = DataLoader(Squares(9, wrong=5), batch_size=2, num_workers=workers)
    got = []
    with pytest.raises(KeyError, match="sample 5 is broken") as e:
        for x, _ in loader:
            got.append(x.tolist())
    assert got == [[0, 1], [2, 3]]
    if workers:
        assert e.value.__notes__ == ["raised in DataLoader worker 0, batch 2"]


def test_leaving_early_ends_the_workers():
    before = set(threading.enumerate())
    for x, _ in DataLoader(Squares(1000), batch_size=1, num_workers=2):
        if x.item() == 3:
            break
    deadline = time.monotonic() + 20
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


def test_leaving_early_drops_what_was_ordered():
    asked, go = [], threading.Semaphore(1)

    class Watch(Squares):
        def __getitem__(self, i):
            go.acquire(timeout=20)
            asked.append(i)
            return super().__getitem__(i)

    before = set(threading.enumerate())
    batches = iter(DataLoader(Watch(100), batch_size=1, num_workers=1, prefetch_factor=50))
    next(batches)
    batches.close()
    go.release(100)
    deadline = time.monotonic() + 20
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(asked) <= 2  # the first, and the one that had begun


def test_prefetch_is_bounded():
    asked = []

    class Watch(Squares):
        def __getitem__(self, i):
            asked.append(i)
            return super().__getitem__(i)

    batches = iter(DataLoader(Watch(100), batch_size=1, num_workers=2, prefetch_factor=3))
    for number in range(1, 10):
        next(batches)
        time.sleep(0.01)
        assert len(asked) <= number + 6
    batches.close()


def test_timeout():
    release = threading.Event()

    class Slow(Squares):
        def __getitem__(self, i):
            release.wait(20)
            return super().__getitem__(i)

    with pytest.raises(RuntimeError, match=r"timed out after 0\.05 seconds"):
        next(iter(DataLoader(Slow(3), num_workers=1, timeout=0.05)))
    release.set()


def test_ctrl_c():
    """A process that waits for its workers ends at once on SIGINT, with KeyboardInterrupt."""
    code = textwrap.dedent("""
        import signal, sys, threading, time
        from gpudl.data import DataLoader, Dataset
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
        class Slow(Dataset):
            def __len__(self): return 10**6
            def __getitem__(self, i):
                time.sleep(0.02)
                return i
        try:
            for number, _ in enumerate(DataLoader(Slow(), batch_size=4, num_workers=2)):
                if number == 1: print("ready", flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (out, err, child.returncode) == ("interrupted\n", "", 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(batch_size=0), ValueError, "batch_size"),
        (dict(batch_size=2.5), ValueError, "batch_size"),
        (dict(num_workers=-1), ValueError, "num_workers"),
        (dict(timeout=-1), ValueError, "timeout"),
        (dict(prefetch_factor=2), ValueError, "prefetch_factor"),
        (dict(num_workers=1, prefetch_factor=0), ValueError, "prefetch_factor"),
        (dict(shuffle=True, sampler=[0]), ValueError, "mutually exclusive with shuffle"),
        (dict(batch_sampler=[[0]], batch_size=2), ValueError, "batch_sampler"),
        (dict(batch_sampler=[[0]], drop_last=True), ValueError, "batch_sampler"),
        (dict(batch_size=None, drop_last=True), ValueError, "disables batching"),
        (dict(persistent_workers=True), NotImplementedError, "persistent_workers"),
        (dict(multiprocessing_context="spawn"), NotImplementedError, "multiprocessing_context"),
        (dict(in_order=False), NotImplementedError, "in_order"),
    ],
)
def test_loader_mistakes(arguments, error, message):
    with pytest.raises(error, match=message):
        DataLoader(Squares(4), **arguments)


def test_pin_memory_without_a_gpu(monkeypatch):
    def none(self):
        raise gpudl.DeviceError("no usable GPU")

    monkeypatch.setattr(gpudl._device._Cuda, "xp", property(none))
    with pytest.warns(UserWarning, match="pin_memory=True has no effect, because no GPU can be used"):
        loader = DataLoader(Squares(3), pin_memory=True)
    assert rows(loader) == [[0], [1], [2]]


@pytest.mark.parametrize("workers", [0, 2])
def test_pin_memory(monkeypatch, workers):
    """CuPy's page-locked allocator is faked: every CPU tensor of a batch must come from it, with its values."""
    made = []

    class Cupyx:
        @staticmethod
        def empty_pinned(shape, dtype):
            made.append(np.empty(shape, dtype))
            return made[-1]

    monkeypatch.setitem(sys.modules, "cupyx", Cupyx)
    monkeypatch.setattr(gpudl._device._Cuda, "xp", np)
    batch = {"a": gpudl.tensor([1.0, 2.0]), "b": (gpudl.tensor([3]), "text"), "c": Point(gpudl.tensor(True), [4])}
    loader = DataLoader([batch], batch_size=None, pin_memory=True, num_workers=workers)
    (out,) = loader
    assert out["a"].tolist() == [1.0, 2.0] and out["b"][0].tolist() == [3] and out["b"][1] == "text"
    assert isinstance(out["c"], Point) and out["c"].x.item() is True and out["c"].y == [4]
    assert len(made) == 3 and np.shares_memory(out["a"].numpy(), made[0])


def test_iterable_takes_no_order():
    for arguments in (dict(shuffle=True), dict(sampler=[0]), dict(batch_sampler=[[0]])):
        with pytest.raises(ValueError, match="its own order"):
            DataLoader(Count(3), **arguments)


# ------------------------------------------------------------------------------------------------------------- MNIST and its files
def idx(array):
    return struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape) + array.tobytes()


RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte.gz": RNG.integers(0, 256, (7, 28, 28), np.uint8),
    "train-labels-idx1-ubyte.gz": RNG.integers(0, 10, 7).astype(np.uint8),
    "t10k-images-idx3-ubyte.gz": RNG.integers(0, 256, (3, 28, 28), np.uint8),
    "t10k-labels-idx1-ubyte.gz": RNG.integers(0, 10, 3).astype(np.uint8),
}
FILES = {name: gzip.compress(idx(array)) for name, array in ARRAYS.items()}


class Tiny(MNIST):
    """MNIST's code on seven and three images."""

    sizes = {True: 7, False: 3}
    mirrors = []
    sha256 = {name: hashlib.sha256(idx(array)).hexdigest() for name, array in ARRAYS.items()}


class TinyFashion(FashionMNIST):
    sizes = {True: 7, False: 3}
    mirrors = []
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}


def fill(folder, files=FILES):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("train", [True, False])
def test_mnist_from_a_folder(tmp_path, monkeypatch, train):
    fill(tmp_path / "mnist")
    monkeypatch.setenv("GPUDL_DATA", str(tmp_path))
    ds = Tiny(train=train)
    images, labels = (ARRAYS[f"{'train' if train else 't10k'}-{kind}"] for kind in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"))
    np.testing.assert_array_equal(ds.data, images)
    np.testing.assert_array_equal(ds.targets, labels)
    image, label = ds[1]
    assert (image.shape, image.dtype, label) == ((1, 28, 28), np.float32, int(labels[1]))
    np.testing.assert_array_equal(image[0], images[1] / np.float32(255))
    assert f"{len(labels)} images" in repr(ds)
    for loader in (DataLoader(ds, batch_size=2), DataLoader(ds, batch_size=2, collate_fn=lambda b: data.default_collate(b))):
        x, y = next(iter(loader))
        assert (tuple(x.shape), x.dtype, y.dtype) == ((2, 1, 28, 28), gpudl.float32, gpudl.int64)
        np.testing.assert_array_equal(x.numpy()[:, 0], images[:2] / np.float32(255))
        assert y.tolist() == labels[:2].tolist()
    changed = Tiny(train=train, transform=lambda a: 1 - a, target_transform=lambda t: -t)
    np.testing.assert_array_equal(changed[0][0], 1 - ds[0][0])
    x, y = next(iter(DataLoader(changed, batch_size=2)))
    np.testing.assert_array_equal(x.numpy()[:, 0], 1 - images[:2] / np.float32(255))
    assert y.tolist() == (-labels[:2].astype(int)).tolist()


def other_bytes(name):
    array = ARRAYS[name].copy()
    array.flat[-1] ^= 1
    return array


NAME = "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FILES[NAME][:-400], r"ends too early \(\d+ bytes\)"),
        (b"", "(ends too early|does not start as an IDX file)"),
        (b"<html>not found</html>", "not a good gzip file"),
        (FILES[NAME][:200] + b"\xff" * 40 + FILES[NAME][240:], "not a good gzip file"),
        (gzip.compress(b"\0\0\x08\x01" + b"\0" * 5500), "does not start as an IDX file of 7 x 28 x 28"),
        (gzip.compress(idx(ARRAYS[NAME])[:-5]), r"it holds 5499 bytes, 5504 are needed"),
        (gzip.compress(idx(ARRAYS[NAME]) + b"\0"), r"it holds 5505 bytes, 5504 are needed"),
        (gzip.compress(idx(other_bytes(NAME))), "sha256"),
    ],
    ids=["cut off", "empty", "a page", "flipped bytes", "zeros", "short", "long", "other"],
)
def test_damaged_file_is_named(tmp_path, content, message):
    fill(tmp_path / "mnist", FILES | {NAME: content})
    with pytest.raises(DatasetError, match=message) as e:
        Tiny(tmp_path)
    assert str(tmp_path / "mnist" / NAME) in str(e.value) and "Delete it and run again" in str(e.value)


def test_labels_out_of_range(tmp_path):
    fill(tmp_path / "fashion-mnist", FILES | {"t10k-labels-idx1-ubyte.gz": gzip.compress(idx(np.array([1, 10, 2], np.uint8)))})
    with pytest.raises(DatasetError, match="label 10"):
        TinyFashion(tmp_path, train=False)
    assert len(TinyFashion(tmp_path, train=True)) == 7


def test_missing_file(tmp_path):
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte\.gz is not there; pass download=True, or set GPUDL_DATA"):
        Tiny(tmp_path, download=False)


@pytest.fixture
def server():
    """A mirror: serves `files` by path, counts requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        files, asked = {}, []

        def do_GET(self):
            self.asked.append(self.path)
            content = self.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            content, length = content if isinstance(content, tuple) else (content, len(content))
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        Handler.url = f"http://127.0.0.1:{httpd.server_port}/"
        yield Handler
        httpd.shutdown()


def test_download_once_past_bad_mirrors(tmp_path, server, monkeypatch):
    """The first mirror lacks the files, the second's are cut off, the third's are others, the fourth's are right."""
    monkeypatch.setattr(Tiny, "mirrors", [f"{server.url}{name}/" for name in ("none", "cut", "other", "good")])
    for name, content in FILES.items():
        server.files[f"/cut/{name}"] = (content[:-50], len(content))
        server.files[f"/other/{name}"] = gzip.compress(idx(other_bytes(name)))
        server.files[f"/good/{name}"] = content
    assert len(Tiny(tmp_path)) == 7
    assert [p.split("/")[1] for p in server.asked] == ["none", "cut", "other", "good"] * 2
    server.asked.clear()
    assert len(Tiny(tmp_path)) == 7 and not server.asked
    assert sorted(os.listdir(tmp_path / "mnist")) == sorted(n for n in FILES if n.startswith("train"))  # nothing half-written


def test_download_errors_name_every_mirror(tmp_path, server, monkeypatch):
    monkeypatch.setattr(Tiny, "mirrors", [server.url, f"{server.url}cut/", "http://127.0.0.1:1/"])
    server.files[f"/cut/{NAME}"] = (FILES[NAME][:1000], len(FILES[NAME]))
    with pytest.raises(DatasetError) as e:
        Tiny(tmp_path)
    message = str(e.value)
    assert f"{server.url}{NAME}: Not Found" in message and "http://127.0.0.1:1/" in message and "refused" in message
    assert f"cut/{NAME}: the connection ended after 1000 of {len(FILES[NAME])} bytes" in message
    assert "set GPUDL_DATA=DIR" in message and f"DIR{os.sep}mnist".replace(os.sep, "/") in message
    assert os.listdir(tmp_path / "mnist") == []


def test_published_md5_is_checked(tmp_path, server, monkeypatch):
    monkeypatch.setattr(TinyFashion, "mirrors", [server.url])
    for name, array in ARRAYS.items():
        server.files[f"/{name}"] = gzip.compress(idx(array), 1)  # the same bytes, compressed otherwise
    with pytest.raises(DatasetError, match=r"differs from the published one \(MD5\)"):
        TinyFashion(tmp_path)
    server.files.update({f"/{name}": content for name, content in FILES.items()})
    assert len(TinyFashion(tmp_path)) == 7


def test_folder_that_cannot_be_written(tmp_path, server, monkeypatch):
    monkeypatch.setattr(Tiny, "mirrors", [server.url])
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DatasetError, match="cannot be written: Not a directory. Set GPUDL_DATA"):
        Tiny(tmp_path / "file")
    assert not server.asked  # known before anything is fetched


def test_checksums_and_sizes_of_the_real_sets():
    for cls in (MNIST, FashionMNIST):
        assert len(cls.classes) == 10 and len(cls.mirrors) >= 2 and cls.sizes == {True: 60000, False: 10000}
        sums = cls.sha256 or cls.md5
        assert sorted(sums) == sorted(FILES)
        assert all(len(s) == (64 if cls.sha256 else 32) and set(s) <= set("0123456789abcdef") for s in sums.values())


@pytest.mark.skipif(not os.path.isdir(os.path.join(os.environ.get("GPUDL_DATA", ""), "mnist")), reason="GPUDL_DATA holds no MNIST")
def test_real_mnist():
    ds = MNIST(train=False, download=False)
    assert ds.data.shape == (10000, 28, 28) and ds.targets[:5].tolist() == [7, 2, 1, 0, 4]


# -------------------------------------------------------------------------------------------------------------------- scikit-learn
def test_digits_and_half_moons():
    pytest.importorskip("sklearn")
    x, y = data.digits().tensors
    assert (tuple(x.shape), x.dtype, tuple(y.shape), y.dtype) == ((1797, 1, 8, 8), gpudl.float32, (1797,), gpudl.int64)
    assert 0 == x.numpy().min() and x.numpy().max() == 1 and set(y.tolist()) == set(range(10))
    x, y = data.half_moons(100, noise=0.2, seed=1).tensors
    assert tuple(x.shape) == (100, 2) and sorted(y.tolist()) == [0] * 50 + [1] * 50
    np.testing.assert_array_equal(x.numpy(), data.half_moons(100, noise=0.2, seed=1).tensors[0].numpy())


def test_without_sklearn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for make in (data.digits, data.half_moons):
        with pytest.raises(ImportError, match="pip install scikit-learn"):
            make()


def test_torch_spelling():
    from gpudl.utils.data import DataLoader as Same

    assert Same is DataLoader
    assert list(itertools.chain.from_iterable(rows(Same(Squares(3))))) == [0, 1, 2]
