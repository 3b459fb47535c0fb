"""`python -m gpudl check FILE.cu`: run a kernel under the sanitizer and print what it did wrong and what it asked of memory."""

from __future__ import annotations

import argparse
import ast
import math
import operator
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

EPILOG = """\
arguments: NAME=SPEC for each parameter of the kernel, here or in a comment of the file. SPEC is a number, a .npy file, or an array:
  x=float32[1000]     random normal numbers (integers: 0 to 9)      x=zeros:float32[M,N]   also ones, arange, empty (uninitialised)
Sizes may use the scalars: x=float32[M*N]. What is left out is generated: one integer is 1000 and arrays have so many elements; several
integers, or one in a source that uses y, are 33 each and arrays have 33*33; the grid covers the largest array, with blocks of 256
threads, or 16,16 where the source uses y.

in the file:  // check: grid=4 block=256 x=float32[1000] y=empty:float32[1000] n=1000 a=0.5
              // check softmax_fwd: grid=2,1,1 block=32,4 shared=1024 cooperative ...

exit code: 0 no report, 1 a report, 2 the file or the command line is wrong
"""


class UsageError(Exception):
    """What the user wrote cannot be run; shown without a traceback."""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("gpudl check", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", help="a .cu file")
    p.add_argument("arguments", nargs="*", metavar="NAME=SPEC", help="arguments of the kernel")
    p.add_argument("--kernel", help="which kernel, where the file has several; an instance of a template as 'name<float>'")
    p.add_argument("--grid", help="blocks: 4 or 4,2,1")
    p.add_argument("--block", help="threads of a block: 256 or 32,8")
    p.add_argument("--shared", help="dynamic shared memory, bytes")
    p.add_argument("--cooperative", action="store_true", help="a cooperative launch (grid barrier)")
    p.add_argument("-D", dest="define", action="append", default=[], help="a macro, NAME=VALUE")
    p.add_argument(
        "-I", dest="include", action="append", default=[], help="an include folder (gpudl's own kernel headers are found anyway)"
    )
    p.add_argument("--option", action="append", default=[], help="any other compile option, such as --option=-std=c++20")
    p.add_argument("--arch", default="90", help="architecture whose limits hold, as 90 for sm_90")
    p.add_argument(
        "--order", choices=("ascending", "descending", "random", "all"), default="ascending", help="in which order threads and blocks run"
    )
    p.add_argument("--seed", type=int, default=0, help="for random arrays and the random order")
    p.add_argument("--timeout", type=float, default=60, help="seconds for a launch")
    p.add_argument("--no-profile", action="store_true", help="reports only")
    p.add_argument("--json", metavar="FILE", help="write the profile as JSON")
    p.add_argument("--html", metavar="FILE", help="write the profile as an annotated source page")
    p.add_argument("--trace", metavar="FILE", help="draw a warp's first request (.svg or .png); --line picks the source line")
    p.add_argument("--line", type=int, help="source line for --trace")
    return p


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_intermixed_args(argv)
    from gpudl._errors import KernelError
    from gpudl.emulator import SanitizerError

    try:
        return check(options)
    except SanitizerError as error:  # the limits of a launch
        print(error)
        return 1
    except (UsageError, KernelError, FileNotFoundError, TypeError, ValueError, AttributeError) as error:
        print(f"gpudl check: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def check(options: argparse.Namespace) -> int:
    from gpudl.emulator import SanitizerError, compile, trace

    path = Path(options.file)
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    text = path.read_text(errors="replace")
    described = dict(re.findall(r"^[ \t]*(?://|\*)\s*check[ \t]*([\w:<>, ]*?)[ \t]*:[ \t]*(.*)$", text, flags=re.M))
    headers = Path(__file__).parents[1] / "_kernels"
    headers = headers if headers.is_dir() else Path(__file__).parents[2] / "kernels"
    flags = (
        [f"-D{d}" for d in options.define]
        + [f"-I{i}" for i in options.include]
        + [f"-I{headers}", f"-arch=sm_{options.arch}", *options.option]
    )
    names = (options.kernel,) if options.kernel and "<" in options.kernel else ()
    orders = ("ascending", "descending", "random") if options.order == "all" else (options.order,)
    failed = False
    for order in orders:
        module = compile(
            path, flags, profile=not options.no_profile, order=order, seed=options.seed, timeout=options.timeout, name_expressions=names
        )
        kernels: list[str] = [options.kernel] if options.kernel else [k for k in described if k] or list(module.kernels)
        if len(kernels) > 1 and not any(k in described for k in kernels):
            raise UsageError(f"{path.name} has {len(kernels)} kernels; choose one with --kernel: {', '.join(kernels)}")
        if not kernels:
            raise UsageError(
                f"{path.name} has only templates ({', '.join(module._built.templates)}); name an instance: --kernel 'name<float>'"
            )
        for kernel in kernels:
            function = module.get_function(kernel)
            launch = settings(options, described.get(kernel) or described.get("") or "", function, text)
            grid, block, shared, cooperative, values, generated = launch
            print(
                f"{path}: {kernel}, grid {grid}, block {block}"
                + (f", {shared} bytes of dynamic shared memory" if shared else "")
                + (f", order {order}" if len(orders) > 1 else "")
            )
            if generated:
                print(f"  generated: {', '.join(generated)} (say otherwise with NAME=SPEC)")
            try:
                function(grid, block, values, shared_mem=shared, cooperative=cooperative)
                print("no faults found")
            except SanitizerError as error:
                failed = True
                for report in error.reports:
                    print(f"\n{report}")
            if function.profile is not None and order == orders[0] and len(function.profile):
                from gpudl.emulator import _profile

                function.profile.occupancy = _profile.occupancy(function, path, flags)
                print(f"\n{function.profile}")
                if options.json:
                    Path(options.json).write_text(function.profile.json())
                if options.html:
                    Path(options.html).write_text(function.profile.html())
            if options.trace and not failed:
                print("picture:", trace(function, grid, block, values, shared).save(options.trace, options.line))
    return int(failed)


def settings(options: argparse.Namespace, description: str, function: Any, text: str) -> tuple[Any, Any, int, bool, list[Any], list[str]]:
    """Grid, block, shared memory and arguments of a launch, from the command line, the file's comment, and defaults."""
    said: dict[str, str] = {}
    for word in [*re.findall(r"[\w]+=\S+|\bcooperative\b", description), *options.arguments]:
        name, _, value = word.partition("=")
        if not value and name != "cooperative":
            raise UsageError(f"argument {word!r}: write NAME=SPEC")
        said[name] = value
    for name in ("grid", "block", "shared"):
        if getattr(options, name) is not None:
            said[name] = getattr(options, name)
    cooperative = options.cooperative or "cooperative" in said
    known = {p.name for p in function.parameters} | {"grid", "block", "shared", "cooperative"}
    if unknown := [n for n in said if n not in known]:
        raise UsageError(f"{function.name} has no parameter {unknown[0]}; it has {', '.join(p.name for p in function.parameters)}")
    rng = np.random.default_rng(options.seed)
    scalars: dict[str, Any] = {d.partition("=")[0]: int(d.partition("=")[2]) for d in options.define if re.fullmatch(r"\w+=-?\d+", d)}
    generated: list[str] = []
    integers = [p.name for p in function.parameters if p.kind in ("int", "unsigned")]
    flat = not re.search(r"\b(?:threadIdx|blockIdx)\s*\.\s*y\b", text)
    for p in function.parameters:
        if p.kind == "pointer":
            continue
        if p.kind == "struct":
            if p.name not in said:
                raise UsageError(f"{p.name} is a struct ({p.type}, {p.size} bytes): give it as a .npy file of a size-1 structured array")
            continue
        if p.name in said:
            scalars[p.name] = number(said[p.name], scalars)
        else:
            scalars[p.name] = 1.0 if p.kind == "float" else 1000 if len(integers) == 1 and flat else 33
            generated.append(f"{p.name}={scalars[p.name]}")
    largest = sorted((scalars[n] for n in integers if scalars[n] > 0), reverse=True)[:2]
    if len(largest) == 1 and not flat:  # a square matrix, it seems
        largest *= 2
    length = math.prod(largest) if largest else 1000
    values: list[Any] = []
    for p in function.parameters:
        if p.kind == "pointer":
            spec = said.get(p.name)
            if spec is None:
                dtype = {
                    "float": f"float{8 * p.pointee_size}",
                    "int": f"int{8 * p.pointee_size}",
                    "unsigned": f"uint{8 * p.pointee_size}",
                }.get(p.pointee)
                if p.pointee == "struct" and p.pointee_size in (8, 16):
                    spec = f"float32[{length * p.pointee_size // 4}]"
                else:
                    spec = f"{dtype or 'uint8'}[{length if dtype else length * max(p.pointee_size, 4)}]"
                generated.append(f"{p.name}={spec}")
            values.append(array(spec, scalars, rng))
        elif p.kind == "struct":
            values.append(np.load(said[p.name]))
        else:
            values.append(scalars[p.name])
    block = sizes(said["block"], scalars) if "block" in said else (256,) if flat else (16, 16)
    count = max((v.size for v in values if isinstance(v, np.ndarray)), default=1)
    if "grid" in said:
        grid = sizes(said["grid"], scalars)
    elif cooperative:
        grid = (4,)
    elif flat or len(largest) < 2 or len(block) < 2:
        grid = (-(-count // math.prod(block)),)
    else:
        grid = tuple(-(-int(n) // size) for n, size in zip((largest[0], largest[0]), block, strict=False))
    generated += [f"{name}={','.join(map(str, size))}" for name, size in (("grid", grid), ("block", block)) if name not in said]
    return grid, block, int(number(said.get("shared", "0"), scalars)), cooperative, values, generated


_OPERATIONS: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Div: operator.truediv,
    ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip


def number(text: str, names: dict[str, Any]) -> Any:
    """A number, or arithmetic on numbers and names."""

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return node.value
        if isinstance(node, ast.Name) and node.id in names:
            return names[node.id]
        if isinstance(node, ast.Name) and node.id in ("nan", "inf"):
            return float(node.id)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](value(node.operand))
        raise UsageError(f"{text!r} is not a number or arithmetic on the scalars")

    try:
        return value(ast.parse(text, mode="eval").body)
    except SyntaxError:
        raise UsageError(f"{text!r} is not a number or arithmetic on the scalars") from None


def sizes(text: str, names: dict[str, Any]) -> tuple[int, ...]:
    found = tuple(int(number(part, names)) for part in text.strip("()").split(",") if part)
    if not 1 <= len(found) <= 3:
        raise UsageError(f"{text!r}: one to three sizes, such as 4 or 32,8")
    return found


def array(spec: str, names: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """An array in emulator memory: a .npy file, or [fill:]dtype[shape]."""
    from gpudl import emulator

    if spec.endswith(".npy"):
        return emulator.array(np.load(spec))
    match = re.fullmatch(r"(?:(\w+):)?(\w+)\[(.*)\]", spec)
    if not match:
        raise UsageError(f"{spec!r} is not an array; write float32[1000], zeros:int32[M,N], or a .npy file")
    fill, dtype_name, shape_text = match.groups()
    try:
        dtype = np.dtype(dtype_name)
    except TypeError:
        raise UsageError(f"{spec!r}: no dtype {dtype_name}") from None
    shape = tuple(int(number(part, names)) for part in shape_text.split(","))
    if fill == "empty":
        return emulator.empty(shape, dtype)
    if fill in ("zeros", "ones"):
        return emulator.array(np.full(shape, int(fill == "ones"), dtype))
    if fill == "arange":
        return emulator.array(np.arange(math.prod(shape)).astype(dtype).reshape(shape))
    if fill not in (None, "random"):
        raise UsageError(f"{spec!r}: unknown fill {fill}; there are zeros, ones, arange, random, empty")
    values = rng.normal(size=shape) if dtype.kind == "f" else rng.integers(0, 2 if dtype.kind == "b" else 10, shape)
    return emulator.array(values.astype(dtype))


if __name__ == "__main__":
    sys.exit(main())
