"""Exceptions of our own. Each is also the class that PyTorch or Python would have raised, so existing handlers catch it."""


class ShapeError(ValueError, RuntimeError):
    """Shapes that do not fit: code written for PyTorch's RuntimeError and for Python's ValueError both catch it."""


class DtypeError(TypeError, RuntimeError):
    """Dtypes that do not fit: a TypeError in Python, a RuntimeError in PyTorch."""


class BoundsError(IndexError, RuntimeError):
    """An index in data that is out of range: IndexError in Python and for some ops of PyTorch's, RuntimeError for others (gather, scatter)."""


class DeviceError(RuntimeError):
    """A device that is missing, not usable, or mixed with another in one operation."""


class KernelError(RuntimeError):
    """A kernel that could not be chosen, compiled or launched; the message names file, entry and sizes."""
