"""Layers, losses and the Module they are built from, under PyTorch's names."""

from gpudl.nn.module import Module
from gpudl.nn.parameter import Parameter
