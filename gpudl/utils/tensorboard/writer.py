"""SummaryWriter: scalars, histograms, images and texts over the steps of training, in files that TensorBoard shows."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpudl._errors import ShapeError
from gpudl._tensor import Tensor
from gpudl.utils.tensorboard import events

_number = itertools.count()


def _array(what: str, value: Any) -> np.ndarray:
    host = value.detach().cpu() if isinstance(value, Tensor) else value
    array = np.asarray(host.float().numpy() if isinstance(host, Tensor) and host.itemsize == 2 and host.is_floating_point() else host)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what}: the value is {type(value).__name__} {array.dtype}; numbers are needed")
    return array


class SummaryWriter:
    """Writes what training reports into `log_dir`; show it with `tensorboard --logdir runs`.

        with SummaryWriter("runs/first") as writer:
            writer.add_scalar("loss/train", loss, step)

    log_dir: a folder, made where it is missing; by default runs/<date>_<host><comment>. Each run needs a folder of its own: TensorBoard shows
    folders as runs. Values may be Tensors of any device (reading one waits for it), arrays or numbers. What is written reaches the file
    after max_queue events, after flush_secs seconds, with flush() and with close(). Threads may share a writer.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ):
        if purge_step is not None:
            raise NotImplementedError("SummaryWriter: purge_step is not supported; write into a new folder")
        now, host = time.time(), socket.gethostname()
        self.log_dir = str(log_dir or Path("runs", time.strftime("%b%d_%H-%M-%S", time.localtime(now)) + f"_{host}{comment}"))
        self.max_queue, self.flush_secs, self._suffix = max_queue, flush_secs, filename_suffix
        self._lock = threading.RLock()
        self._waiting, self._flushed, self._closed = 0, now, False
        self._others: dict[str, SummaryWriter] = {}  # of add_scalars
        folder = Path(self.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(now)}.{host}.{os.getpid()}.{next(_number)}{filename_suffix}"
        self._file = open(folder / name, "wb")  # noqa: SIM115  (close() closes it)
        self._write(events.event(now, version="brain.Event:2"))
        self.flush()

    def _write(self, event: bytes) -> None:
        with self._lock:
            if self._closed:
                raise ValueError(f"SummaryWriter: {self.log_dir} is closed")
            self._file.write(events.record(event))
            self._waiting += 1
            if self._waiting >= self.max_queue or time.time() - self._flushed >= self.flush_secs:
                self.flush()

    def _add(self, value: bytes, step: Any, walltime: float | None) -> None:
        at = None if step is None else int(step.item() if isinstance(step, Tensor) else step)
        self._write(events.event(time.time() if walltime is None else walltime, at, values=[value]))

    # ------------------------------------------------------------------------------------------------------------------ what to log
    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: Any = None, walltime: float | None = None, new_style: bool = False,
        double_precision: bool = False,
    ) -> None:  # fmt: skip
        """One number at a step. A tag such as "loss/train" is shown in the group "loss". double_precision keeps it in float64."""
        array = _array("add_scalar", scalar_value)
        if array.size != 1:
            raise ShapeError(f"add_scalar: {tag!r} is {array.shape}; one number is needed")
        number = float(array.reshape(-1)[0])
        self._add(events.scalar_double(tag, number) if double_precision else events.scalar(tag, number), global_step, walltime)

    def add_scalars(self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: Any = None, walltime: float | None = None) -> None:
        """Several numbers in one picture: each goes into a run of its own, in a folder <main_tag>_<name> below log_dir."""
        for name, value in tag_scalar_dict.items():
            run = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{name}")
            if run not in self._others:
                self._others[run] = SummaryWriter(run, max_queue=self.max_queue, flush_secs=self.flush_secs, filename_suffix=self._suffix)
            self._others[run].add_scalar(main_tag, value, global_step, walltime)

    def add_histogram(
        self, tag: str, values: Any, global_step: Any = None, bins: Any = "tensorflow", walltime: float | None = None, max_bins: int | None = None
    ) -> None:
        """How the values are distributed. bins: "tensorflow" (growing by a tenth from 0 outwards) or what numpy.histogram takes. NaN is left out.

        ValueError where no finite value is there.
        """
        if max_bins is not None:
            raise NotImplementedError("add_histogram: max_bins is not supported")
        array = _array("add_histogram", values).reshape(-1)
        array = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if not array.size:
            raise ValueError(f"add_histogram: {tag!r} has no finite value")
        if isinstance(bins, str) and bins == "tensorflow":
            up = 1e-12 * 1.1 ** np.arange(774)  # to 1e20
            limits = np.concatenate([-up[::-1], [0], up])
            limits = np.concatenate([[min(limits[0], array.min())], limits[1:-1], [max(limits[-1], array.max())]])
        else:
            limits = np.histogram_bin_edges(array, bins)
        self._add(events.histogram(tag, array, limits), global_step, walltime)

    def add_image(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None, dataformats: str = "CHW"
    ) -> None:
        """A picture: 1, 3 or 4 channels, uint8 or floats between 0 and 1. dataformats: the order of the axes, CHW, HWC or HW."""
        array = _array("add_image", img_tensor)
        order = dataformats.upper()
        if sorted(order) not in (["C", "H", "W"], ["H", "W"]) or array.ndim != len(order):
            raise ShapeError(f"add_image: {tag!r} is {array.shape} and dataformats {dataformats!r}; CHW, HWC or HW must name its axes")
        pixels = array[:, :, None] if order == "HW" else array.transpose([order.index(c) for c in "HWC"])
        pixels = pixels.swapaxes(0, 1) if order == "WH" else pixels
        if pixels.shape[2] not in (1, 3, 4):
            raise ShapeError(f"add_image: {tag!r} is {array.shape} in the order {order}; 1, 3 or 4 channels are needed")
        if pixels.dtype != np.uint8:
            pixels = np.clip(np.nan_to_num(pixels.astype(np.float64)) * 255 + 0.5, 0, 255).astype(np.uint8)
        self._add(events.image(tag, pixels), global_step, walltime)

    def add_images(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None, dataformats: str = "NCHW"
    ) -> None:
        """A batch of pictures beside and below each other, as square as it goes."""
        array = _array("add_images", img_tensor)
        if sorted(dataformats.upper()) != ["C", "H", "N", "W"] or array.ndim != 4 or not array.size:
            raise ShapeError(f"add_images: {tag!r} is {array.shape} and dataformats {dataformats!r}; NCHW or another order must name its 4 axes")
        batch = array.transpose([dataformats.upper().index(c) for c in "NCHW"])
        N, C, H, W = batch.shape
        columns = int(np.ceil(np.sqrt(N)))
        rows = -(-N // columns)
        grid = np.zeros((rows * columns, C, H, W), batch.dtype)
        grid[:N] = batch
        self.add_image(tag, grid.reshape(rows, columns, C, H, W).transpose(2, 0, 3, 1, 4).reshape(C, rows * H, columns * W), global_step, walltime)

    def add_text(self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None) -> None:
        """A text, which TensorBoard reads as Markdown."""
        if not isinstance(text_string, str):
            raise TypeError(f"add_text: {tag!r} is a {type(text_string).__name__}; a str is needed")
        self._add(events.words(f"{tag}/text_summary", text_string), global_step, walltime)

    def add_graph(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("add_graph: TensorBoard's graphs are not supported; gpudl.autograd.draw(loss).save('graph.svg') draws one")

    # ------------------------------------------------------------------------------------------------------------------ the file
    def flush(self) -> None:
        """Bring all that was added into the files."""
        with self._lock:
            if not self._closed:
                self._file.flush()
                self._waiting, self._flushed = 0, time.time()
            for other in self._others.values():
                other.flush()

    def close(self) -> None:
        """Flush and close the files; adding more is an error from now on."""
        with self._lock:
            self.flush()
            self._closed = True
            self._file.close()
            for other in self._others.values():
                other.close()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
