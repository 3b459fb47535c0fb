"""Layers, losses and the Module they are built from, under PyTorch's names."""

from gpudl.nn import functional, init, utils
from gpudl.nn._fuse import is_fusion_enabled, set_fusion_enabled
from gpudl.nn.activation import (
    CELU,
    ELU,
    GELU,
    SELU,
    AdaptivePiecewiseLinear,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Maxout,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softmin,
    Softplus,
    Softsign,
    Tanh,
)
from gpudl.nn.containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from gpudl.nn.layers import (
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Dropout1d,
    Dropout2d,
    Embedding,
    Flatten,
    GroupNorm,
    Identity,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    Linear,
    MaxPool2d,
    Unflatten,
)
from gpudl.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from gpudl.nn.module import Module
from gpudl.nn.parameter import Parameter
