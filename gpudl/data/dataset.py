"""Datasets: something with a length that gives sample i, or something that can be walked through.

Beside PyTorch's protocol there is one short cut: a dataset with a `__getbatch__(indices)` method gives a whole collated batch at once.
The datasets whose samples lie in one array have it, and then no Python code runs per sample.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gpudl.data.sampler import rng_from


def whole_batches(dataset: Any) -> Callable[[Any], Any] | None:
    """The dataset's `__getbatch__`, or None; None too where a subclass has changed `__getitem__` since, which the batch would not show."""

    def owner(name: str) -> int:
        return next((i for i, c in enumerate(type(dataset).__mro__) if name in vars(c)), len(type(dataset).__mro__))

    return getattr(dataset, "__getbatch__", None) if owner("__getbatch__") <= owner("__getitem__") else None


class Dataset:
    """Give `__getitem__(index)` and `__len__`; `+` joins two datasets."""

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(self, index)")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Give `__iter__`. With several workers each walks through its own iterator: divide the work by `get_worker_info()`."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__(self)")

    def __add__(self, other: Dataset) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset):
    """Samples are the rows of tensors (or NumPy arrays, which become tensors that share their memory) of equal length.

    ds[i] is a tuple of row i of each. ValueError if the lengths differ or a tensor has no dimension.
    """

    def __init__(self, *tensors: Any) -> None:
        import gpudl

        if not tensors:
            raise ValueError("TensorDataset: needs at least one tensor")
        self.tensors = tuple(t if isinstance(t, gpudl.Tensor) else gpudl.from_numpy(np.asarray(t)) for t in tensors)
        shapes = [tuple(t.shape) for t in self.tensors]
        if any(not s for s in shapes) or len({s[0] for s in shapes}) > 1:
            raise ValueError(f"TensorDataset: size mismatch between tensors: shapes {shapes} must agree in their first dimension")

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(t[index] for t in self.tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getbatch__(self, indices: Sequence[int]) -> list[Any]:
        """Rows `indices` of each tensor, by one indexing each."""
        import gpudl

        at = np.asarray(indices, np.int64)
        on_cpu = [t.device.type == "cpu" and not t.requires_grad for t in self.tensors]
        return [gpudl.from_numpy(t.numpy()[at]) if cpu else t[at] for t, cpu in zip(self.tensors, on_cpu, strict=True)]


class Subset(Dataset):
    """The samples of `dataset` at `indices`."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (list, tuple)):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def __getbatch__(self) -> Any:
        inner = whole_batches(self.dataset)
        if inner is None:
            raise AttributeError("the dataset of this Subset gives one sample at a time")
        own = np.asarray(self.indices, np.int64)
        return lambda indices: inner(own[np.asarray(indices, np.int64)])


class ConcatDataset(Dataset):
    """One dataset after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: datasets should not be an empty iterable")
        for d in self.datasets:
            if isinstance(d, IterableDataset):
                raise TypeError("ConcatDataset: an IterableDataset has no samples by number; chain them with ChainDataset")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __getitem__(self, index: int) -> Any:
        i = index + len(self) if index < 0 else index
        if not 0 <= i < len(self):
            raise IndexError(f"ConcatDataset: index {index} is out of range for {len(self)} samples")
        which = bisect.bisect_right(self.cumulative_sizes, i)
        return self.datasets[which][i - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset):
    """One iterable dataset after the other."""

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(self.datasets)


def random_split(dataset: Any, lengths: Sequence[int | float], generator: Any = None) -> list[Subset]:
    """Split at random into parts of the given lengths, or fractions that sum to 1 (what rounding leaves goes to the first parts).

    ValueError if the lengths do not sum to len(dataset) or a fraction is not between 0 and 1.
    """
    total = len(dataset)
    if all(0 <= x <= 1 for x in lengths) and math.isclose(sum(lengths), 1):
        counts = [math.floor(total * x) for x in lengths]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
    elif any(x != int(x) or x < 0 for x in lengths):
        raise ValueError(f"random_split: lengths {list(lengths)} are neither whole numbers nor fractions that sum to 1")
    else:
        counts = [int(x) for x in lengths]
    if sum(counts) != total:
        raise ValueError(f"random_split: the lengths {counts} sum to {sum(counts)}, the dataset has {total} samples")
    order = rng_from(generator).permutation(total).tolist()
    return [Subset(dataset, order[end - n : end]) for n, end in zip(counts, itertools.accumulate(counts), strict=True)]
