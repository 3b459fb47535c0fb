"""Augmentation: what each transform does to a small image, that runs repeat, and the messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpudl
from gpudl.data import transforms as T


@pytest.fixture(params=["array", "cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def put(request: Any) -> Any:
    """An image as a NumPy array or as a Tensor."""
    return (lambda a: a) if request.param == "array" else lambda a: gpudl.tensor(a, device=request.param)


def host(img: Any) -> np.ndarray:
    return img if isinstance(img, np.ndarray) else img.cpu().numpy()


IMAGE = np.arange(12, dtype=np.float32).reshape(1, 3, 4) + 1


def test_flips_turns_moves_and_crops(put: Any) -> None:
    img = put(IMAGE)
    square = put(np.arange(9, dtype=np.float32).reshape(3, 3) + 1)
    for got, want in [
        (T.hflip(img), IMAGE[..., ::-1]),
        (T.vflip(img), IMAGE[..., ::-1, :]),
        (T.rotate(square, 90), np.rot90(host(square))),
        (T.rotate(square, -90, "bilinear"), np.rot90(host(square), -1)),
        (T.rotate(img, 180), IMAGE[..., ::-1, ::-1]),
        (T.affine(square, 90, (0, 0), 1.0), np.rot90(host(square), -1)),  # clockwise
        (T.affine(img, 0, (1, -1), 1.0), [[[0, 5, 6, 7], [0, 9, 10, 11], [0, 0, 0, 0]]]),
        (T.affine(img, 0, (1, -1), 1.0, fill=7.0), [[[7, 5, 6, 7], [7, 9, 10, 11], [7, 7, 7, 7]]]),
        (T.affine(square, 90, (1, 0), 1.0), [[0, 7, 4], [0, 8, 5], [0, 9, 6]]),  # turned, then moved
        (T.crop(img, 1, 1, 2, 2), IMAGE[:, 1:, 1:3]),
        (T.crop(img, -1, 3, 2, 2), [[[0, 0], [4, 0]]]),
        (T.CenterCrop((1, 2))(img), IMAGE[:, 1:2, 1:3]),
        (T.CenterCrop(5)(square), np.pad(host(square), 1)),
        (T.normalize(img, [2.0], [4.0]), (IMAGE - 2) / 4),
    ]:
        assert type(got) is type(img)
        np.testing.assert_allclose(host(got), np.asarray(want), rtol=0, atol=1e-5)
    wide = put(np.kron(host(square), np.ones((2, 2), np.float32)))
    np.testing.assert_allclose(host(T.affine(wide, 0, (0, 0), 0.5, interpolation="bilinear"))[2:4, 2:4], [[3, 4], [6, 7]], atol=1e-4)
    sheared = host(T.affine(put(np.eye(5, dtype=np.float32)[::-1].copy()), 0, (0, 0), 1.0, shear=45.0))
    assert (sheared.argmax(0)[sheared.any(0)] >= 0).all() and sheared[2, 2] == 1  # the centre stays


def test_what_is_random_stays_in_its_bounds_and_repeats() -> None:
    kinds = [
        T.RandomHorizontalFlip(), T.RandomVerticalFlip(0.3), T.RandomRotation(20), T.RandomRotation((10, 30), "bilinear", 0.5),
        T.RandomAffine(10, (0.2, 0.1), (0.8, 1.2), 5), T.RandomCrop(2, padding=1), T.RandomCrop((3, 2), 1, padding_mode="reflect"),
        T.GaussianNoise(), T.RandomApply([T.GaussianNoise(0, 1, clip=False)]),
    ]  # fmt: skip
    image = np.random.default_rng(0).random((1, 6, 6)).astype(np.float32)
    for kind in kinds:
        runs = []
        for seed in (1, 1, 2):
            gpudl.manual_seed(seed)
            runs.append([kind(image) for _ in range(12)])
        assert all((a == b).all() for a, b in zip(runs[0], runs[1], strict=True)), kind
        assert any((a != b).any() for a, b in zip(runs[0], runs[2], strict=True)), kind
        assert all(a.dtype == np.float32 for a in runs[0])
    gpudl.manual_seed(0)
    flips = sum((T.RandomHorizontalFlip(0.25)(image) != image).any() for _ in range(400))
    assert abs(flips - 100) <= 4 * np.sqrt(400 * 0.25 * 0.75)
    noisy = T.GaussianNoise(0.0, 0.5, clip=False)(np.zeros((40, 50), np.float32))
    assert abs(noisy.std() - 0.5) <= 0.5 * 4 / np.sqrt(2 * 2000) and abs(noisy.mean()) <= 0.5 * 4 / np.sqrt(2000)
    assert T.GaussianNoise(0.5, 5.0)(image).min() == 0 and T.GaussianNoise(0.5, 5.0)(image).max() == 1
    seen = {T.RandomCrop(1)(IMAGE).item() for _ in range(300)}
    assert seen == set(range(1, 13))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_with_transforms_repeats_with_its_seed(workers: int) -> None:
    class Images(gpudl.data.Dataset):
        transform = T.Compose([T.RandomHorizontalFlip(), T.RandomAffine(15, (0.1, 0.1)), T.Normalize([0.5], [0.5])])

        def __getitem__(self, index: int) -> Any:
            return self.transform(np.random.default_rng(index).random((1, 5, 5)).astype(np.float32)), index

        def __len__(self) -> int:
            return 16

    runs = []
    for _ in range(2):
        gpudl.manual_seed(3)
        loader = gpudl.data.DataLoader(Images(), batch_size=4, shuffle=True, num_workers=workers)
        runs.append([(x.tolist(), i.tolist()) for x, i in loader])
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: T.hflip([1, 2]), TypeError, "hflip: the image is a list"),
        (lambda: T.hflip(np.zeros(3)), ValueError, r"hflip: the image is \(3,\); \(..., H, W\) is needed"),
        (lambda: T.rotate(np.zeros((2, 2), np.uint8), 3), TypeError, "the image is uint8; a floating dtype is needed"),
        (lambda: T.affine(IMAGE, 0, (0, 0), 0), ValueError, "scale must be positive, not 0"),
        (lambda: T.RandomHorizontalFlip(2), ValueError, "RandomHorizontalFlip: p must be between 0 and 1, not 2"),
        (lambda: T.RandomRotation(-3), ValueError, "degrees must not be negative"),
        (lambda: T.RandomAffine(0, translate=(2, 0)), ValueError, "translate must be two fractions"),
        (lambda: T.RandomAffine(0, scale=(2, 1)), ValueError, "scale must be"),
        (lambda: T.RandomCrop(9)(IMAGE), ValueError, "the image is 3 x 4 with its padding; at least 9 x 9 is needed"),
        (lambda: T.Normalize([0], [0])(IMAGE), ValueError, "no number may be 0"),
        (lambda: T.Normalize([0, 1], [1, 1])(IMAGE), ValueError, "a number for each channel"),
        (lambda: T.Lambda(3), TypeError, "a function is needed"),
    ],
)  # fmt: skip
def test_messages(call: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
    assert repr(T.Compose([T.RandomRotation(5)])) == "Compose(\n    RandomRotation(degrees=(-5.0, 5.0), interpolation='nearest', fill=0.0)\n)"
