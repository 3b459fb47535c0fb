"""save and load: nested state_dicts in one safetensors file.

The tensors lie in the file under readable names ("model.conv1.weight"), so any safetensors reader sees them; how they nest, and
every plain Python value between them, is JSON in the file's metadata. Nothing is unpickled: loading a file runs no code from it.
Source: the safetensors format, https://huggingface.co/docs/safetensors/index#format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from gpudl._files import atomic_write

_KEY = "gpudl"  # our entry in the metadata
_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "BOOL": np.bool_,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
}  # fmt: skip
_SAVED = tuple(np.dtype(t) for t in _DTYPES.values())


class CheckpointError(RuntimeError):
    """A file that is not a checkpoint, or not a whole one; the message names it and says what to do."""


class _Packer:
    """Turns a tree of Python values into JSON, and collects the arrays that it meets under unique names."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.names: dict[int, str] = {}  # a tensor that stands in two places is saved once and loaded as one
        self.keep: list[Any] = []  # ids stay taken while their objects live

    def pack(self, value: Any, path: str) -> Any:
        from gpudl import Tensor
        from gpudl.nn import Parameter

        if value is None or isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic):
            return value
        if isinstance(value, Tensor):
            kind = "parameter" if isinstance(value, Parameter) else "tensor"
            return {kind: self._add(value, value.detach().cpu().numpy(), path), "requires_grad": bool(value.requires_grad)}
        if isinstance(value, np.ndarray):
            return {"array": self._add(value, value, path)}
        if isinstance(value, np.generic):
            return {"scalar": self._add(value, np.asarray(value), path)}
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, (str, int, float, bool, type(None))):
                    raise TypeError(f"save: {path or 'the object'} has the key {key!r}; keys must be strings or numbers")
            return {"dict": [[key, self.pack(item, f"{path}.{key}" if path else str(key))] for key, item in value.items()]}
        if type(value) in (list, tuple):
            items = [self.pack(item, f"{path}.{i}" if path else str(i)) for i, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        raise TypeError(
            f"save: {path or 'the object'} is a {type(value).__name__}; save takes tensors, NumPy arrays, numbers, strings, None, and "
            f"dicts, lists and tuples of these. For a module or an optimiser save its .state_dict()"
        )

    def _add(self, owner: Any, array: np.ndarray, path: str) -> str:
        if id(owner) in self.names:
            return self.names[id(owner)]
        if array.dtype not in _SAVED:
            raise TypeError(f"save: {path or 'the array'} has dtype {array.dtype}; a checkpoint holds {', '.join(map(str, _SAVED))}")
        name, number = path or "tensor", 1
        while name in self.arrays:  # {"a.b": x, "a": {"b": y}}
            number += 1
            name = f"{path}#{number}"
        self.arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
        self.names[id(owner)] = name
        self.keep.append(owner)
        return name


def save(obj: Any, f: str | os.PathLike[str] | BinaryIO) -> None:
    """Write tensors, arrays and plain Python values, nested in dicts, lists and tuples, to a safetensors file.

        gpudl.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, "checkpoint.safetensors")

    f: a path, or a file open for writing bytes. A path is replaced whole at the end: after an error, Ctrl-C or a power cut the old file is
    still there. A tensor that occurs twice is stored once. TypeError for a value of another kind, naming where it stands in `obj`;
    OSError, naming the file, where it cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    packer = _Packer()
    structure = packer.pack(obj, "")
    content = to_bytes(packer.arrays, metadata={_KEY: json.dumps(structure), "format": "np"})
    if not isinstance(f, (str, os.PathLike)):
        f.write(content)
        return
    path = Path(f)
    if path.is_dir():
        raise IsADirectoryError(f"save: {path} is a folder; name a file in it, e.g. {path / 'checkpoint.safetensors'}")
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as e:
        reason = "the folder does not exist; make it first" if not path.parent.exists() else (e.strerror or str(e))
        raise type(e)(f"save: cannot write {path}: {reason}") from e


def _read(content: bytes, where: str) -> tuple[dict[str, np.ndarray], str | None]:
    from safetensors import SafetensorError, deserialize

    try:
        raw = deserialize(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError) as e:
        old = " It looks like a file of torch.save, which gpudl does not read." if content[:2] in (b"PK", b"\x80\x02") else ""
        raise CheckpointError(
            f"load: {where} is not a whole safetensors file ({len(content)} bytes; {e}).{old} "
            f"It may be cut off or damaged: save or copy it again"
        ) from None
    arrays = {}
    for name, spec in raw:
        if spec["dtype"] not in _DTYPES:
            raise CheckpointError(f"load: {where}: {name} has dtype {spec['dtype']}, which gpudl does not have")
        arrays[name] = np.frombuffer(spec["data"], _DTYPES[spec["dtype"]]).reshape(spec["shape"]).copy()
    return arrays, header.get("__metadata__", {}).get(_KEY)


def load(f: str | os.PathLike[str] | BinaryIO, map_location: Any = None) -> Any:
    """Read what `save` wrote; tensors come to the CPU, or to map_location (a device or its name).

    A safetensors file of another program gives a dict of its tensors by name.
    FileNotFoundError for a missing file; CheckpointError (a RuntimeError) for one that is damaged, cut off or of another format.
    """
    from gpudl import from_numpy
    from gpudl.nn import Parameter

    if isinstance(f, (str, os.PathLike)):
        where = str(Path(f))
        try:
            content = Path(f).read_bytes()
        except OSError as e:
            raise type(e)(f"load: cannot read {where}: {e.strerror or e}") from e
    else:
        where, content = str(getattr(f, "name", "the stream")), f.read()
    arrays, structure = _read(content, where)
    tensors: dict[str, Any] = {}

    def tensor(name: str) -> Any:
        if name not in tensors:
            value = from_numpy(arrays[name])
            tensors[name] = value if map_location is None else value.to(map_location)
        return tensors[name]

    def unpack(node: Any) -> Any:
        if isinstance(node, list):
            return [unpack(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "dict" in node:
            return {key: unpack(item) for key, item in node["dict"]}
        if "tuple" in node:
            return tuple(unpack(item) for item in node["tuple"])
        if "array" in node:
            return arrays[node["array"]]
        if "scalar" in node:
            return arrays[node["scalar"]][()]
        if "parameter" in node:
            name = node["parameter"]
            if not isinstance(tensors.get(name), Parameter):
                tensors[name] = Parameter(tensor(name), requires_grad=node["requires_grad"])
            return tensors[name]
        return tensor(node["tensor"]).requires_grad_(node["requires_grad"])

    if structure is None:
        return {name: tensor(name) for name in arrays}
    try:
        return unpack(json.loads(structure))
    except (KeyError, TypeError, ValueError) as e:
        raise CheckpointError(f"load: {where}: the description of the contents is damaged ({type(e).__name__}: {e}); save again") from e
