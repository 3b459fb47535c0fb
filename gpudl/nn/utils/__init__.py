"""Gradient clipping, parameters as one vector, parametrizations."""

from gpudl.nn.utils import parametrizations, parametrize
from gpudl.nn.utils.clip_grad import clip_grad_norm_, clip_grad_value_, get_total_norm
from gpudl.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from gpudl.nn.utils.weight_norm import remove_weight_norm, weight_norm

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "remove_weight_norm",
    "vector_to_parameters",
    "weight_norm",
]
