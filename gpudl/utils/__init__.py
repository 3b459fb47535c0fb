"""PyTorch keeps its DataLoader here: `from gpudl.utils.data import DataLoader` works too. And the logs for TensorBoard."""

from gpudl.utils import data
