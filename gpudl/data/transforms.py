"""More data from the same images: flips, rotations, shifts, crops and noise, under torchvision's names and with its parameters.

A transform takes an image (..., H, W), a NumPy array or a Tensor of any device, and gives one of the same kind; with a batch all of its
images change alike. Give one to a dataset (`MNIST(transform=transforms.Compose([...]))`), or call it on batches in the training loop. What is
random is drawn from gpudl's generator, and in the DataLoader's workers from the worker's seed: a run repeats with its seeds.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gpudl
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor
from gpudl.data.sampler import rng_from
from gpudl.nn import functional as F

_local = threading.local()


def _rng() -> np.random.Generator:
    from gpudl.data.loader import get_worker_info

    worker = get_worker_info()
    if worker is None:
        return rng_from(None)
    if getattr(_local, "seed", None) != worker.seed:
        _local.seed, _local.rng = worker.seed, np.random.default_rng(worker.seed)
    return _local.rng


def _image(op: str, img: Any) -> Tensor:
    if not isinstance(img, (Tensor, np.ndarray)):
        raise TypeError(f"{op}: the image is a {type(img).__name__}; a NumPy array or a Tensor (..., H, W) is needed")
    if img.ndim < 2:
        raise ShapeError(f"{op}: the image is {tuple(img.shape)}; (..., H, W) is needed")
    return img if isinstance(img, Tensor) else gpudl.tensor(img, device="cpu")


def _float_image(op: str, img: Any) -> Tensor:
    made = _image(op, img)
    if not made.is_floating_point():
        raise DtypeError(f"{op}: the image is {made.dtype}; a floating dtype is needed. Divide by 255, or convert it")
    return made


def _like(img: Any, out: Tensor) -> Any:
    return out if isinstance(img, Tensor) else out.numpy()


# --------------------------------------------------------------------------------------------------------------------- functions
def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    return _like(img, _image("hflip", img).flip(-1))


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return _like(img, _image("vflip", img).flip(-2))


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The part of height x width whose upper left pixel is (top, left); what lies outside the image is 0."""
    x = _image("crop", img)
    H, W = x.shape[-2:]
    return _like(img, F.pad(x, (-left, left + width - W, -top, top + height - H)))


def affine(
    img: Any, angle: float, translate: Sequence[float], scale: float, shear: Any = 0.0, interpolation: str = "nearest", fill: float = 0.0
) -> Any:
    """Turned clockwise by `angle` degrees about the centre, scaled, sheared by degrees (x, or x and y) and then moved by (x, y) pixels.

    interpolation "nearest" or "bilinear"; fill: the value of pixels that come from outside. Floating dtypes.
    """
    x = _float_image("affine", img)
    if not scale > 0:
        raise ValueError(f"affine: scale must be positive, not {scale}")
    H, W = x.shape[-2:]
    turn = math.radians(angle)
    sx, sy = (math.radians(s) for s in (shear if isinstance(shear, (tuple, list)) else (shear, 0.0)))
    a, c = math.cos(turn - sy) / math.cos(sy), math.sin(turn - sy) / math.cos(sy)
    b, d = -a * math.tan(sx) - math.sin(turn), -c * math.tan(sx) + math.cos(turn)
    back = np.array([[d, -b], [-c, a]]) / scale  # from a place in the result to one in the image, in pixels from the centre
    shift = back @ -np.asarray(translate, float)
    half = np.array([W, H]) / 2
    theta = np.concatenate([back * half / half[:, None], (shift / half)[:, None]], 1)
    flat = x.reshape(1, -1, H, W)
    where = gpudl.tensor(theta[None], dtype=x.dtype, device=x.device)
    grid = F.affine_grid(where, flat.shape, align_corners=False)
    out = F.grid_sample(flat - fill if fill else flat, grid, interpolation, "zeros", align_corners=False)
    return _like(img, (out + fill if fill else out).reshape(x.shape))


def rotate(img: Any, angle: float, interpolation: str = "nearest", fill: float = 0.0) -> Any:
    """Turned counterclockwise by `angle` degrees about the centre; the size stays. See `affine`."""
    return affine(img, -angle, (0, 0), 1.0, 0.0, interpolation, fill)


def gaussian_noise(img: Any, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> Any:
    """Plus noise from N(mean, sigma^2), then clipped to [0, 1]. Floating dtypes."""
    x = _float_image("gaussian_noise", img)
    if sigma < 0:
        raise ValueError(f"gaussian_noise: sigma must not be negative, not {sigma}")
    noise = gpudl.tensor(_rng().normal(mean, sigma, size=tuple(x.shape)), dtype=x.dtype, device=x.device)
    return _like(img, (x + noise).clamp(0, 1) if clip else x + noise)


def normalize(img: Any, mean: Sequence[float], std: Sequence[float]) -> Any:
    """(img - mean) / std, with a number for each channel of (..., C, H, W). Floating dtypes."""
    x = _float_image("normalize", img)
    numbers = [gpudl.tensor(np.asarray(v, float).reshape(-1, 1, 1), dtype=x.dtype, device=x.device) for v in (mean, std)]
    if not bool((numbers[1] != 0).all()):
        raise ValueError(f"normalize: std is {std!r}; no number may be 0")
    if x.ndim < 3 or any(len(n) not in (1, x.shape[-3]) for n in numbers):
        raise ShapeError(f"normalize: the image is {tuple(x.shape)}; mean and std need a number for each channel of (..., C, H, W)")
    return _like(img, (x - numbers[0]) / numbers[1])


# --------------------------------------------------------------------------------------------------------------------- transforms
class _Transform:
    def __call__(self, img: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, img)")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


class Compose(_Transform):
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]):
        self.transforms = list(transforms)

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return "Compose(\n" + "".join(f"    {t!r}\n" for t in self.transforms) + ")"


class Lambda(_Transform):
    """Any function as a transform."""

    def __init__(self, lambd: Callable[[Any], Any]):
        if not callable(lambd):
            raise TypeError(f"Lambda: a function is needed, not {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)


def _probability(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p must be between 0 and 1, not {p}")
    return p


class RandomApply(_Transform):
    """The transforms, with probability p, or the image as it is."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5):
        self.transforms, self.p = list(transforms), _probability("RandomApply", p)

    def __call__(self, img: Any) -> Any:
        return Compose(self.transforms)(img) if _rng().random() < self.p else img


class RandomHorizontalFlip(_Transform):
    """Left and right exchanged with probability p."""

    def __init__(self, p: float = 0.5):
        self.p = _probability(type(self).__name__, p)

    def __call__(self, img: Any) -> Any:
        return hflip(img) if _rng().random() < self.p else img


class RandomVerticalFlip(RandomHorizontalFlip):
    """Top and bottom exchanged with probability p."""

    def __call__(self, img: Any) -> Any:
        return vflip(img) if _rng().random() < self.p else img


def _range(name: str, what: str, value: Any) -> tuple[float, float]:
    """(-d, d) from a number d, or a pair as it is."""
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"{name}: {what} must not be negative as a single number, not {value}")
        return -float(value), float(value)
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError(f"{name}: {what} must be a number or (least, most), not {value!r}")
    return float(value[0]), float(value[1])


class RandomRotation(_Transform):
    """Turned by an angle from U(-degrees, degrees), or U(degrees[0], degrees[1])."""

    def __init__(self, degrees: Any, interpolation: str = "nearest", fill: float = 0.0):
        self.degrees, self.interpolation, self.fill = _range("RandomRotation", "degrees", degrees), interpolation, fill

    def __call__(self, img: Any) -> Any:
        return rotate(img, _rng().uniform(*self.degrees), self.interpolation, self.fill)


class RandomAffine(_Transform):
    """Turned, moved, scaled and sheared at random, the centre kept but for the move.

    degrees: as in RandomRotation. translate: largest moves as fractions of width and height, in whole pixels. scale: (least, most). shear: degrees
    along x, as `degrees`. None leaves one out.
    """

    def __init__(
        self, degrees: Any, translate: Any = None, scale: Any = None, shear: Any = None, interpolation: str = "nearest", fill: float = 0.0
    ):
        self.degrees = _range("RandomAffine", "degrees", degrees)
        if translate is not None and (len(translate) != 2 or not all(0 <= t <= 1 for t in translate)):
            raise ValueError(f"RandomAffine: translate must be two fractions between 0 and 1, not {translate!r}")
        if scale is not None and (len(scale) != 2 or not 0 < scale[0] <= scale[1]):
            raise ValueError(f"RandomAffine: scale must be (least, most), both positive, not {scale!r}")
        self.translate, self.scale = translate, scale
        self.shear = None if shear is None else _range("RandomAffine", "shear", shear)
        self.interpolation, self.fill = interpolation, fill

    def __call__(self, img: Any) -> Any:
        rng = _rng()
        H, W = np.shape(img)[-2:] if isinstance(img, np.ndarray) else img.shape[-2:]
        angle = rng.uniform(*self.degrees)
        move = (0, 0) if self.translate is None else tuple(round(rng.uniform(-t * n, t * n)) for t, n in zip(self.translate, (W, H), strict=True))
        scale = 1.0 if self.scale is None else rng.uniform(*self.scale)
        shear = 0.0 if self.shear is None else rng.uniform(*self.shear)
        return affine(img, angle, move, scale, shear, self.interpolation, self.fill)


def _size(name: str, size: Any) -> tuple[int, int]:
    H, W = size if isinstance(size, (tuple, list)) else (size, size)
    if H < 1 or W < 1:
        raise ValueError(f"{name}: size must be positive, not {size!r}")
    return int(H), int(W)


class CenterCrop(_Transform):
    """The middle of the image, size (height, width) or a square; zeros around an image that is smaller."""

    def __init__(self, size: Any):
        self.size = _size("CenterCrop", size)

    def __call__(self, img: Any) -> Any:
        (H, W), (h, w) = _image("CenterCrop", img).shape[-2:], self.size
        return crop(img, round((H - h) / 2), round((W - w) / 2), h, w)


class RandomCrop(_Transform):
    """A part of size (height, width), or a square, from anywhere in the image, which first gets `padding` zeros (or `fill`) at each side.

    ShapeError for an image that is smaller than the part.
    """

    def __init__(self, size: Any, padding: int = 0, fill: float = 0.0, padding_mode: str = "constant"):
        self.size, self.padding, self.fill, self.padding_mode = _size("RandomCrop", size), padding, fill, padding_mode

    def __call__(self, img: Any) -> Any:
        x = _image("RandomCrop", img)
        if self.padding:
            x = F.pad(x, (self.padding,) * 4, self.padding_mode, self.fill if self.padding_mode == "constant" else None)
        (H, W), (h, w) = x.shape[-2:], self.size
        if H < h or W < w:
            raise ShapeError(f"RandomCrop: the image is {H} x {W} with its padding; at least {h} x {w} is needed")
        rng = _rng()
        return _like(img, crop(x, int(rng.integers(H - h + 1)), int(rng.integers(W - w + 1)), h, w))


class GaussianNoise(_Transform):
    """Plus noise from N(mean, sigma^2), clipped to [0, 1]."""

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True):
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def __call__(self, img: Any) -> Any:
        return gaussian_noise(img, self.mean, self.sigma, self.clip)


class Normalize(_Transform):
    """(img - mean) / std by channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        self.mean, self.std = mean, std

    def __call__(self, img: Any) -> Any:
        return normalize(img, self.mean, self.std)
