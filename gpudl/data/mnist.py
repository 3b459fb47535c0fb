"""MNIST and Fashion-MNIST: downloaded once, checked by content, kept in the original format.

Folder: <root>/mnist/*.gz and <root>/fashion-mnist/*.gz, where root is the argument, else $GPUDL_DATA, else the user's cache folder.
Sources: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits" (also the IDX format);
H. Xiao, K. Rasul, R. Vollgraf 2017, "Fashion-MNIST", arXiv:1708.07747, https://github.com/zalandoresearch/fashion-mnist.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from gpudl._files import atomic_write, cache_folder
from gpudl.data.dataset import Dataset


class DatasetError(RuntimeError):
    """A dataset file that is missing, damaged or cannot be fetched; the message names it and says what to do."""


class MNIST(Dataset):
    """60,000 training and 10,000 test images of handwritten digits.

    mnist[i] is (image, label): float32 of shape (1, 28, 28) in [0, 1], and an int. `data` (n, 28, 28) uint8 and `targets` (n,) int64 hold
    the whole set as NumPy arrays.

    root              folder that holds, or gets, the folder `mnist`
    train             the training images, or the test images
    transform         applied to each image; target_transform to each label
    download          fetch what is missing
    DatasetError (a RuntimeError) for a file that is missing, damaged, or cannot be downloaded.
    """

    folder: ClassVar[str] = "mnist"
    classes: ClassVar[list[str]] = [str(i) for i in range(10)]
    mirrors: ClassVar[list[str]] = [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ]
    # Of the uncompressed bytes: mirrors compress differently.
    sha256: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte.gz": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte.gz": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }
    md5: ClassVar[dict[str, str]] = {}  # of the downloaded file, where its makers published only that
    sizes: ClassVar[dict[bool, int]] = {True: 60000, False: 10000}  # images by `train`
    side: ClassVar[int] = 28

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = True,
    ) -> None:
        self.root = Path(root or os.environ.get("GPUDL_DATA") or cache_folder("data"))
        self.train, self.transform, self.target_transform = train, transform, target_transform
        part, n = "train" if train else "t10k", self.sizes[train]
        self.data = self._read(f"{part}-images-idx3-ubyte.gz", (n, self.side, self.side), download)
        self.targets = self._read(f"{part}-labels-idx1-ubyte.gz", (n,), download).astype(np.int64)
        if self.targets.max(initial=0) >= len(self.classes):
            raise DatasetError(f"{self._name}: {self.root / self.folder} has a label {self.targets.max()}; delete the folder and run again")

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image: Any = self.data[index][None] / np.float32(255)
        label: Any = int(self.targets[index])
        return self.transform(image) if self.transform else image, self.target_transform(label) if self.target_transform else label

    def __len__(self) -> int:
        return len(self.targets)

    def __repr__(self) -> str:
        return f"{self._name}({'train' if self.train else 'test'}, {len(self)} images, {self.root / self.folder})"

    @property
    def __getbatch__(self) -> Callable[[Any], list[Any]]:
        """Whole batches at once, for the DataLoader; only without transforms, which are functions of one sample."""
        if self.transform or self.target_transform:
            raise AttributeError("a dataset with transforms gives one sample at a time")
        return self._batch

    def _batch(self, indices: Any) -> list[Any]:
        import gpudl

        at = np.asarray(indices, np.int64)
        return [gpudl.from_numpy(self.data[at][:, None] / np.float32(255)), gpudl.from_numpy(self.targets[at])]

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _read(self, file: str, shape: tuple[int, ...], download: bool) -> np.ndarray:
        path = self.root / self.folder / file
        if not path.exists():
            if not download:
                raise DatasetError(
                    f"{self._name}: {path} is not there; pass download=True, or set GPUDL_DATA to the folder that holds {self.folder}/"
                )
            self._download(file, shape, path)
        try:
            return self._parse(path.read_bytes(), file, shape)
        except OSError as e:
            raise DatasetError(f"{self._name}: {path} cannot be read: {e.strerror or e}") from e
        except ValueError as e:
            raise DatasetError(f"{self._name}: {path} is damaged: {e}. Delete it and run again with download=True, or copy it again") from e

    def _parse(self, content: bytes, file: str, shape: tuple[int, ...]) -> np.ndarray:
        """The array in a compressed IDX file: bytes 0, 0, 8, ndim, the shape as big-endian int32, the values. ValueError: what is wrong."""
        try:
            raw = gzip.decompress(content)
        except EOFError:
            raise ValueError(f"it ends too early ({len(content)} bytes)") from None
        except (gzip.BadGzipFile, zlib.error) as e:
            raise ValueError(f"it is not a good gzip file ({e})") from None
        head = struct.pack(f">HBB{len(shape)}i", 0, 8, len(shape), *shape)
        if raw[: len(head)] != head:
            raise ValueError(f"it does not start as an IDX file of {' x '.join(map(str, shape))} bytes does")
        if len(raw) != len(head) + int(np.prod(shape)):
            raise ValueError(f"it holds {len(raw)} bytes, {len(head) + int(np.prod(shape))} are needed")
        if file in self.sha256 and hashlib.sha256(raw).hexdigest() != self.sha256[file]:
            raise ValueError("its content differs from the original (sha256 of the uncompressed bytes)")
        return np.frombuffer(raw, np.uint8, offset=len(head)).reshape(shape)

    def _download(self, file: str, shape: tuple[int, ...], path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as f:  # opened first: a folder that cannot be written is known before anything is fetched
                f.write(self._fetch_checked(file, shape))
        except OSError as e:
            raise DatasetError(
                f"{self._name}: {path} cannot be written: {e.strerror or e}. Set GPUDL_DATA to a folder where files can be written"
            ) from e

    def _fetch_checked(self, file: str, shape: tuple[int, ...]) -> bytes:
        """The file from the first mirror that has it and has it right."""
        reasons = []
        for mirror in self.mirrors:
            try:
                content = _fetch(mirror + file)
                if file in self.md5 and hashlib.md5(content, usedforsecurity=False).hexdigest() != self.md5[file]:
                    raise ValueError("the file differs from the published one (MD5)")
                self._parse(content, file, shape)
                return content
            except (OSError, ValueError) as e:
                reasons.append(f"  {mirror}{file}: {getattr(e, 'reason', None) or e}")
        raise DatasetError(
            "\n".join([f"{self._name}: {file} could not be downloaded:", *reasons])
            + f"\nCheck the network. Without one: put the files into a folder DIR/{self.folder} and set GPUDL_DATA=DIR"
        )


class FashionMNIST(MNIST):
    """60,000 training and 10,000 test images of Zalando's articles; arguments and fields as MNIST's, the folder is `fashion-mnist`."""

    folder = "fashion-mnist"
    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    mirrors = [
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ]
    # Its makers publish MD5 of the compressed files (README of the repository above); a file already in the folder is checked by its form.
    sha256: ClassVar[dict[str, str]] = {}
    md5 = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }


def _fetch(url: str) -> bytes:
    """The bytes behind a URL, with a progress bar where tqdm is installed."""
    import urllib.request  # with TLS and more behind it, too much for `import gpudl`
    from http.client import HTTPException

    request = urllib.request.Request(url, headers={"User-Agent": "gpudl"})
    parts = []
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            total = int(response.headers.get("Content-Length") or 0)
            with _progress(url.rsplit("/", 1)[-1], total) as bar:
                while part := response.read(1 << 16):
                    parts.append(part)
                    bar.update(len(part))
    except HTTPException as e:
        raise ValueError(f"the server's answer is not valid ({type(e).__name__}: {e})") from e
    content = b"".join(parts)
    if total and len(content) != total:
        raise ValueError(f"the connection ended after {len(content)} of {total} bytes")
    return content


class _NoBar:
    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: int) -> None:
        pass


def _progress(name: str, total: int) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(desc=name, total=total or None, unit="B", unit_scale=True, unit_divisor=1024)
