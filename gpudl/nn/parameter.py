"""Parameter: a Tensor that a Module lists among its parameters when it is assigned as an attribute."""

from __future__ import annotations

from gpudl import _creation
from gpudl._tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that a Module finds by itself: `self.weight = nn.Parameter(gpudl.randn(3, 4))`.

    data: a Tensor, whose memory is shared (its graph is not); without data the parameter is empty.
    TypeError for anything else, RuntimeError for requires_grad on an integer dtype.
    """

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True):
        if data is None:
            data = _creation.empty(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data must be a Tensor, not {type(data).__name__}; gpudl.tensor(...) makes one")
        self._array, self.device, self._storage = data._array, data.device, data._storage
        self._node, self._index, self._leaf, self._requires_grad, self._grad = None, 0, None, False, None
        self._view = self._views = None
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()
