"""Logs that TensorBoard shows: `from gpudl.utils.tensorboard import SummaryWriter`. Neither TensorBoard nor protobuf is needed to write them."""

from gpudl.utils.tensorboard.writer import SummaryWriter

__all__ = ["SummaryWriter"]
