"""Small datasets that need no download, through scikit-learn (`pip install 'gpudl[examples]'`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.data.dataset import TensorDataset


def _sklearn_datasets() -> Any:
    try:
        from sklearn import datasets
    except ImportError as e:
        raise ImportError(f"this dataset comes with scikit-learn, which cannot be imported ({e}): pip install scikit-learn") from e
    return datasets


def digits() -> TensorDataset:
    """1797 handwritten digits: images (1797, 1, 8, 8) float32 in [0, 1], labels (1797,) int64 in 0..9.

        images, labels = digits().tensors

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998 (its test part).
    """
    bunch = _sklearn_datasets().load_digits()
    return TensorDataset((bunch.images[:, None] / 16).astype(np.float32), bunch.target.astype(np.int64))


def half_moons(n_samples: int = 1000, noise: float = 0.1, seed: int = 0) -> TensorDataset:
    """Two interleaving half circles: points (n_samples, 2) float32, labels (n_samples,) int64, 0 or 1.

    noise: standard deviation of the Gaussian added to each coordinate. ValueError for a negative one.
    """
    x, y = _sklearn_datasets().make_moons(n_samples, noise=noise, random_state=seed)
    return TensorDataset(x.astype(np.float32), y.astype(np.int64))
