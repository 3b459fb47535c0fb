"""DataLoader: samples to batches, with worker threads that work ahead.

Workers are threads, not processes: NumPy, file reading and decompression release the interpreter, nothing needs pickling, and a Ctrl-C
reaches the main thread at once. Batch number i is made by worker i % num_workers, so a run repeats whatever the threads' timing.
"""

from __future__ import annotations

import itertools
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpudl.data.dataset import IterableDataset, whole_batches
from gpudl.data.sampler import BatchSampler, RandomSampler, SequentialSampler, seed_from


def default_convert(data: Any) -> Any:
    """NumPy arrays become tensors (sharing memory), within dicts and sequences too; all else stays as it is."""
    import gpudl

    if isinstance(data, (np.ndarray, np.generic)) and data.dtype.kind not in "USO":
        return gpudl.from_numpy(np.asarray(data))
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(x) for x in data))
    if isinstance(data, (list, tuple)):
        return [default_convert(x) for x in data]
    return data


def default_collate(batch: list[Any]) -> Any:
    """Put a list of samples together along a new first dimension.

    Tensors and arrays are stacked; numbers become a tensor (float: float64, int: int64); dicts, tuples and lists are collated entry by
    entry; strings stay a list. RuntimeError for samples of different lengths, ShapeError for different shapes, TypeError for other types.
    """
    import gpudl
    from gpudl._errors import ShapeError

    first = batch[0]
    if isinstance(first, gpudl.Tensor):
        if any(t.requires_grad or t.device.type != "cpu" for t in batch):
            return gpudl.stack(list(batch))
        batch, first = [t.numpy() for t in batch], first.numpy()
    if isinstance(first, np.ndarray) and first.dtype.kind not in "USO":
        shapes = {x.shape for x in batch}
        if len(shapes) > 1:
            raise ShapeError(
                f"DataLoader: the samples of one batch have shapes {sorted(shapes)}; they must agree. "
                f"Bring them to one shape in the dataset, or give a collate_fn"
            )
        return gpudl.from_numpy(np.stack(batch))
    if isinstance(first, np.generic) and first.dtype.kind not in "USO":
        return gpudl.from_numpy(np.array(batch))
    if isinstance(first, bool):
        return gpudl.from_numpy(np.array(batch, np.bool_))
    if isinstance(first, float):
        return gpudl.from_numpy(np.array(batch, np.float64))
    if isinstance(first, int):
        return gpudl.from_numpy(np.array(batch, np.int64))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, (list, tuple)):
        if any(len(sample) != len(first) for sample in batch):
            sizes = sorted({len(s) for s in batch})
            raise RuntimeError(f"DataLoader: each element in list of batch should be of equal size; found {sizes}")
        columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        f"DataLoader: a sample holds a {type(first).__name__}; batches are made of tensors, NumPy arrays, numbers, strings, "
        f"dicts, tuples and lists. Give a collate_fn for anything else"
    )


@dataclass(frozen=True)
class WorkerInfo:
    """Which worker runs this thread; `seed` differs between workers and repeats with the loader's generator."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker = threading.local()


def get_worker_info() -> WorkerInfo | None:
    """In a worker thread of a DataLoader: who it is. None elsewhere."""
    return getattr(_worker, "info", None)


class _End:
    """What a fetch gives when its iterable dataset is used up."""


def _can_pin() -> bool:
    import gpudl

    try:
        return gpudl.device("cuda").xp is not None
    except gpudl.DeviceError as e:
        warnings.warn(f"DataLoader: pin_memory=True has no effect, because no GPU can be used ({e})", stacklevel=3)
        return False


def _pinned(batch: Any) -> Any:
    """The batch with its CPU tensors copied to page-locked memory. Not yet run on a GPU."""
    import cupyx

    import gpudl

    if isinstance(batch, gpudl.Tensor):
        if batch.device.type != "cpu":
            return batch
        out = cupyx.empty_pinned(tuple(batch.shape), batch.dtype)
        out[...] = batch.detach().numpy()
        return gpudl.from_numpy(out)
    if isinstance(batch, Mapping):
        return {key: _pinned(value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(_pinned, batch))
    return type(batch)(map(_pinned, batch)) if isinstance(batch, (list, tuple)) else batch


def _fetcher(loader: DataLoader) -> Callable[[Any], Any]:
    """A function from what the sampler gives (an index, or a list of them) to a batch. Each worker has its own."""
    fetch = _plain_fetcher(loader)
    if not loader.pin_memory:
        return fetch

    def fetch_pinned(indices: Any) -> Any:
        batch = fetch(indices)
        return batch if batch is _End else _pinned(batch)

    return fetch_pinned


def _plain_fetcher(loader: DataLoader) -> Callable[[Any], Any]:
    dataset, collate = loader.dataset, loader.collate_fn
    if isinstance(dataset, IterableDataset):
        samples = iter(dataset)

        def take(indices: Any) -> Any:
            if loader.batch_size is None:
                sample: Any = next(samples, _End)
                return sample if sample is _End else collate(sample)
            batch: list[Any] = list(itertools.islice(samples, len(indices)))
            return collate(batch) if batch and (len(batch) == len(indices) or not loader.drop_last) else _End

        return take
    batches = whole_batches(dataset)
    if loader._batched and collate is default_collate and batches is not None:
        return batches
    if loader._batched and hasattr(dataset, "__getitems__"):
        return lambda indices: collate(dataset.__getitems__(indices))
    if loader._batched:
        return lambda indices: collate([dataset[i] for i in indices])
    return lambda index: collate(dataset[index])


class DataLoader:
    """Batches of a dataset, in PyTorch's words. `for x, y in DataLoader(ds, batch_size=64, shuffle=True): ...`

    dataset          a Dataset, an IterableDataset, or anything with __getitem__ and __len__
    batch_size       None: no batching, samples as they come
    shuffle          a new random order in each epoch
    sampler          the order of the indices, instead of shuffle
    batch_sampler    lists of indices, instead of batch_size, shuffle, sampler and drop_last
    num_workers      threads that work ahead; 0: batches are made when they are asked for
    collate_fn       a list of samples -> a batch; default_collate
    drop_last        leave out a last batch that is not full
    timeout          seconds to wait for a worker's batch, 0 for ever; RuntimeError when they are over
    worker_init_fn   called with the worker's number in each worker, before its first batch
    generator        a gpudl or NumPy generator for the order; gpudl's own (see manual_seed) by default
    prefetch_factor  batches that each worker is ahead, 2 by default

    pin_memory       batches lie in page-locked memory, from which a GPU copies faster; without a usable GPU: a warning, and plain memory

    persistent_workers, multiprocessing_context, pin_memory_device and in_order=False raise NotImplementedError.
    An exception in a worker is raised in the loop, with the batch's number as a note.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        unsupported = {
            "multiprocessing_context": multiprocessing_context, "persistent_workers": persistent_workers,
            "pin_memory_device": pin_memory_device, "in_order": not in_order,
        }  # fmt: skip
        for name, given in unsupported.items():
            if given:
                raise NotImplementedError(f"DataLoader: {name} is not supported (workers are threads of this process); leave it out")
        if not isinstance(num_workers, int) or num_workers < 0:
            raise ValueError(f"DataLoader: num_workers must be 0 or a positive integer, not {num_workers!r}")
        if timeout < 0:
            raise ValueError(f"DataLoader: timeout must not be negative, not {timeout}")
        if prefetch_factor is not None and (num_workers == 0 or prefetch_factor < 1):
            raise ValueError("DataLoader: prefetch_factor needs num_workers > 0 and must be at least 1")
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError("DataLoader: an IterableDataset gives its own order; leave out shuffle, sampler and batch_sampler")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("DataLoader: batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("DataLoader: batch_size=None disables batching, so there is nothing that drop_last could drop")
        if sampler is None:
            if iterable:
                sampler = itertools.repeat(None)
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self._batched = batch_sampler is not None
        self.dataset, self.batch_size, self.num_workers, self.drop_last, self.timeout = dataset, batch_size, num_workers, drop_last, timeout
        self.sampler, self.batch_sampler, self.generator, self.worker_init_fn = sampler, batch_sampler, generator, worker_init_fn
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)
        self.prefetch_factor = 2 if prefetch_factor is None and num_workers else prefetch_factor
        self.pin_memory = pin_memory and _can_pin()

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.batch_sampler if self._batched else self.sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        work = iter(self.batch_sampler if self.batch_sampler is not None else self.sampler)
        seed = seed_from(self.generator)  # drawn without workers too, so that their number does not change the order
        return self._ahead(work, seed) if self.num_workers else self._now(work)

    def _now(self, work: Iterator[Any]) -> Iterator[Any]:
        fetch = _fetcher(self)
        for indices in work:
            batch = fetch(indices)
            if batch is _End:
                return
            yield batch

    def _ahead(self, work: Iterator[Any], seed: int) -> Iterator[Any]:
        n = self.num_workers
        fetchers: dict[int, Callable[[Any], Any]] = {}

        def make(worker: int, indices: Any) -> Any:
            if worker not in fetchers:
                _worker.info = WorkerInfo(worker, n, seed + worker, self.dataset)
                if self.worker_init_fn is not None:
                    self.worker_init_fn(worker)
                fetchers[worker] = _fetcher(self)
            return fetchers[worker](indices)

        # One thread each, so that the same worker always makes the same batches.
        pools = [ThreadPoolExecutor(1, thread_name_prefix=f"gpudl-data-{i}") for i in range(n)]
        alive = deque(range(n))  # workers in the order of their next batch
        ahead: deque[tuple[int, Future[Any]]] = deque()

        def order_more() -> None:
            while alive and len(ahead) < n * (self.prefetch_factor or 1):
                indices = next(work, _End)
                if indices is _End:
                    return
                ahead.append((alive[0], pools[alive[0]].submit(make, alive[0], indices)))
                alive.rotate(-1)

        try:
            for number in itertools.count():
                order_more()
                while ahead:
                    worker, future = ahead.popleft()
                    try:
                        batch = future.result(self.timeout or None)
                    except FutureTimeout as e:
                        if future.done():  # the dataset's own TimeoutError
                            raise
                        raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds; batch {number} is not ready") from e
                    except Exception as e:
                        e.add_note(f"raised in DataLoader worker {worker}, batch {number}")
                        raise
                    if batch is not _End:
                        break
                    if worker in alive:  # its iterable dataset is used up
                        alive.remove(worker)
                    order_more()
                else:
                    return
                yield batch
        finally:  # also when the loop is left early: a break, an exception, Ctrl-C
            for pool in pools:
                pool.shutdown(wait=False, cancel_futures=True)


