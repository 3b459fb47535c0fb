"""Optimisers and learning rate schedules, with PyTorch's names, options and results."""

from gpudl.optim import lr_scheduler
from gpudl.optim._optimizer import Optimizer
from gpudl.optim.adagrad import Adagrad
from gpudl.optim.adam import Adam, AdamW
from gpudl.optim.rmsprop import RMSprop
from gpudl.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
