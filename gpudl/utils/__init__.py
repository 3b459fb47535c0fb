"""PyTorch keeps its DataLoader here: `from gpudl.utils.data import DataLoader` works too."""
