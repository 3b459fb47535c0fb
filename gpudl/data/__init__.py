"""Datasets, samplers and the DataLoader, in PyTorch's words."""

from gpudl.data import transforms
from gpudl.data.dataset import ChainDataset, ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
from gpudl.data.loader import DataLoader, WorkerInfo, default_collate, default_convert, get_worker_info
from gpudl.data.mnist import MNIST, DatasetError, FashionMNIST
from gpudl.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler
from gpudl.data.toys import digits, half_moons
