"""python -m bench accumulate: how far tensor-core accumulation lies from float64, over all of K and promoted every 32, 64, 128 of K.

The question on which an fp32-accurate matmul on tensor cores stands. float32 inputs are split into parts that a tensor core multiplies exactly
(tf32: 2, bf16: 2 or 3, fp16: 2 after scaling rows and columns by powers of two); the products of parts are added by the tensor core. With a GPU
the kernel of bench/kernels/accumulate.cu does it, beside cuBLAS SGEMM; its instruction is mma.sync. wgmma, Hopper's own, is not measured here:
whether it accumulates alike is another question, which needs a kernel that uses it. Without one a float64 model stands in, and what it says is a
PREDICTION: products exact, the terms of one instruction and the accumulator aligned to the largest and truncated to 24 + 2 bits, their sum
truncated to float32 (after Fasi, Higham, Mikaitis & Pranesh 2021, doi:10.7717/peerj-cs.330, who measured this on earlier tensor cores).
Split schemes: Ootomo & Yokota 2022, arXiv:2203.03341.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench import clocks, records


class Scheme(NamedTuple):
    """kind of the tensor core's operands, parts of each input, pairs of parts to multiply (the leading one first), instruction depth."""

    kind: str
    parts: int
    pairs: tuple[tuple[int, int], ...]
    depth: int
    own: bool = False  # the leading product has an accumulator of its own, the corrections share another


INSTRUCTION = "the tensor core's instruction is mma.sync; wgmma may accumulate otherwise"
THREE = ((0, 0), (0, 1), (1, 0))
SIX = (*THREE, (1, 1), (0, 2), (2, 0))
SCHEMES = {
    "tf32": Scheme("tf32", 1, ((0, 0),), 8),
    "tf32x3": Scheme("tf32", 2, THREE, 8),
    "bf16x3": Scheme("bf16", 2, THREE, 16),
    "bf16x6": Scheme("bf16", 3, SIX, 16),
    "bf16x6 own": Scheme("bf16", 3, SIX, 16, True),
    "fp16x3 own": Scheme("fp16", 2, THREE, 16, True),
}
PROMOTE = (0, 128, 64, 32)
KS = (64, 256, 1024, 4096, 16384)
LOW_SCALE = 2.0**11  # fp16: the low part is stored larger, so that it does not become subnormal


def _sparse(rng: np.random.Generator, shape: Any) -> np.ndarray:
    return np.maximum(rng.standard_normal(shape), 0)


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, Any], np.ndarray]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "uniform 0..1": lambda rng, shape: rng.random(shape),
    "uniform -1..1": lambda rng, shape: 2 * rng.random(shape) - 1,
    "after ReLU": _sparse,
    "wide exponents": lambda rng, shape: rng.standard_normal(shape) * np.exp2(rng.integers(-12, 13, shape)),
}


def rounded(x: np.ndarray, kind: str) -> np.ndarray:
    """float32 values rounded to the nearest that the tensor core's type has (to even; tf32 and bf16 by bits)."""
    if kind == "fp16":
        return x.astype(np.float16).astype(np.float32)
    drop = 13 if kind == "tf32" else 16
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    bits += (np.uint64(1) << np.uint64(drop - 1)) - np.uint64(1) + (bits >> np.uint64(drop) & np.uint64(1))
    return (bits & ~np.uint64((1 << drop) - 1)).astype(np.uint32).view(np.float32)


def split(x: np.ndarray, scheme: Scheme) -> np.ndarray:
    """The parts, largest first: x is their sum but for what the last one rounds away."""
    out, rest = [], x.astype(np.float32)
    for i in range(scheme.parts):
        part = rounded(rest * LOW_SCALE if scheme.kind == "fp16" and i else rest, scheme.kind)
        out.append(part)
        rest = rest - (part / np.float32(LOW_SCALE) if scheme.kind == "fp16" and i else part)
    return np.stack(out)


def power(x: np.ndarray, axis: int) -> np.ndarray:
    """Powers of two that bring the largest of each row or column to [1, 2): exact, and undone exactly."""
    top = np.abs(x).max(axis, keepdims=True)
    return np.exp2(-np.floor(np.log2(np.where(top == 0, 1, top)))).astype(np.float32)


def truncated(x: np.ndarray, exponent: np.ndarray, bits: int) -> np.ndarray:
    quantum = np.exp2(exponent - bits)
    return np.trunc(x / quantum) * quantum


def model_step(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One instruction of the model: c (M, N) + a (M, w) @ b (w, N), all float64."""
    terms = a[..., :, None, :] * np.swapaxes(b, -1, -2)[..., None, :, :]
    top = np.maximum(np.abs(terms).max(-1), np.abs(c))
    exponent = np.frexp(top)[1].astype(np.float64)
    total = truncated(terms, exponent[..., None], 26).sum(-1) + truncated(c, exponent, 26)
    return truncated(total, np.frexp(total)[1].astype(np.float64), 24)  # float32, rounded toward zero


def model(A: np.ndarray, B: np.ndarray, scheme: Scheme, promote: int) -> np.ndarray:
    """C as the model of the tensor core gives it; A (D, parts, M, K), B (D, parts, K, N) for D problems at once."""
    A, B = A.astype(np.float64), B.astype(np.float64)
    shape = (A.shape[0], A.shape[2], B.shape[3])
    total = np.zeros(shape, np.float32)
    main, rest = np.zeros(shape), np.zeros(shape)
    for k in range(0, A.shape[3], scheme.depth):
        at = slice(k, k + scheme.depth)
        for p, (i, j) in enumerate(scheme.pairs):
            if scheme.own and p:
                rest = model_step(rest, A[:, i, :, at], B[:, j, at])
            else:
                main = model_step(main, A[:, i, :, at], B[:, j, at])
        if promote and (k + scheme.depth) % promote == 0:
            total += main.astype(np.float32)
            main = np.zeros(shape)
    scale = np.float32(1 / LOW_SCALE if scheme.kind == "fp16" else 1)
    return (total + main.astype(np.float32)) + rest.astype(np.float32) * scale


def in_order(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """float32 multiply-adds in order of k: what a plain SGEMM kernel computes, and the yardstick."""
    c = np.zeros((*A.shape[:-1], B.shape[-1]), np.float32)
    A64, B64 = A.astype(np.float64), B.astype(np.float64)
    for k in range(A.shape[-1]):
        c = (c + A64[..., :, k, None] * B64[..., k, None, :]).astype(np.float32)  # the product is exact in float64
    return c


def gpu(A: np.ndarray, B: np.ndarray, scheme: Scheme, promote: int) -> np.ndarray:
    import cupy

    from bench.gpu_ceilings import module

    kernel = module("accumulate.cu").get_function(f"accumulate_{scheme.kind}")
    D, parts, M, K = A.shape
    N = B.shape[3]
    out = []
    pairs = cupy.asarray(np.array(scheme.pairs, np.int32).reshape(-1))
    scale = np.float32(1 / LOW_SCALE if scheme.kind == "fp16" else 1)
    for d in range(D):
        a, b = cupy.asarray(A[d].astype(np.float32)), cupy.asarray(B[d].astype(np.float32))
        c = cupy.asarray(np.full((M, N), np.nan, np.float32))
        kernel((N // 8, M // 16), (32,), (a, b, c, pairs, np.int32(len(scheme.pairs)), np.int32(M), np.int32(N), np.int32(K), np.int32(promote),
                                          np.int32(scheme.own), scale))  # fmt: skip
        out.append(cupy.asnumpy(c))
    return np.stack(out)


def sgemm(A: np.ndarray, B: np.ndarray) -> np.ndarray | None:
    """cuBLAS in true float32, through CuPy; None without one."""
    try:
        import os

        os.environ["CUPY_TF32"] = "0"
        import cupy

        return np.stack([cupy.asnumpy(cupy.matmul(cupy.asarray(a), cupy.asarray(b))) for a, b in zip(A, B)])
    except Exception:
        return None


def distance(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Norm of the error over the norm of the result, for each of the D problems. NaN stays NaN."""
    return np.sqrt(((got.astype(np.float64) - want) ** 2).sum((-2, -1)) / (want**2).sum((-2, -1)))


def problems(size: int, K: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed + K)
    A = np.stack([draw(rng, (size, K)) for draw in DISTRIBUTIONS.values()]).astype(np.float32)
    B = np.stack([draw(rng, (K, size)) for draw in DISTRIBUTIONS.values()]).astype(np.float32)
    return A, B


def measure(where: str, Ks: Any, size: int, seed: int, budget: float, add: Callable[[dict[str, Any]], None]) -> None:
    """Rows of error for each K, scheme, promotion and distribution. where: "gpu", or "model" for the prediction."""
    end = time.monotonic() + budget
    source = ("rehearsed in the emulator" if clocks.REHEARSAL else "measured") if where == "gpu" else "prediction"
    for K in Ks:
        A, B = problems(size, K, seed)
        want = A.astype(np.float64) @ B.astype(np.float64)
        plain = distance(in_order(A, B), want)
        library = sgemm(A, B) if where == "gpu" else None
        errors = distance(library, want) if library is not None else None
        for d, name in enumerate(DISTRIBUTIONS):
            add({"op": "sgemm in order", "K": K, "distribution": name, "promote": None, "error": plain[d], "ratio": 1.0, "source": "computed in float64 steps"})
            if errors is not None:
                add({"op": "cuBLAS SGEMM", "K": K, "distribution": name, "promote": None, "error": errors[d], "ratio": errors[d] / plain[d], "source": source})
        for title, scheme in SCHEMES.items():
            if time.monotonic() > end:
                add({"op": title, "K": K, "status": "not measured", "reason": "the time budget was used up"})
                continue
            scaled = scheme.kind == "fp16"
            row, column = (power(A, -1), power(B, -2)) if scaled else (np.float32(1), np.float32(1))
            parts = [np.stack([split(x, scheme) for x in given]) for given in (A * row, B * column)]
            for promote in PROMOTE:
                if promote > K:
                    continue
                got = (gpu if where == "gpu" else model)(*parts, scheme, promote) / (row * column)
                found = distance(got, want)
                for d, name in enumerate(DISTRIBUTIONS):
                    add({"op": title, "K": K, "distribution": name, "promote": promote, "error": found[d], "ratio": found[d] / plain[d], "source": source})


def text(rows: list[dict[str, Any]]) -> str:
    """One line for each K, scheme and promotion: the ratio to in-order SGEMM's error in each distribution."""
    lines = [f"{'error / error of in-order fp32':34} {'K':>6}  " + "  ".join(f"{n:>14}" for n in DISTRIBUTIONS)]
    groups: dict[tuple[str, int, Any], dict[str, float]] = {}
    for r in rows:
        if "distribution" in r and r["op"] != "sgemm in order":
            groups.setdefault((r["op"], r["K"], r["promote"]), {})[r["distribution"]] = r["ratio"]
    for (op, K, promote), values in groups.items():
        name = op if promote is None else f"{op}, {'over all of K' if promote == 0 else f'promoted every {promote}'}"
        lines.append(f"{name:34} {K:6}  " + "  ".join(f"{values[n]:13.2f}x" if values.get(n) is not None else f"{'NaN':>14}" for n in DISTRIBUTIONS))
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench accumulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", action="store_true", help="the float64 model even where there is a GPU")
    p.add_argument("--K", type=int, nargs="+", default=list(KS))
    p.add_argument("--size", type=int, default=0, help="M = N; a multiple of 16 (default: 128 on a GPU, 16 for the model)")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--budget", type=float, default=120.0, metavar="S")
    p.add_argument("--out", default="", metavar="FILE")
    options = p.parse_args(arguments)
    from bench.ops import have_gpu

    problem = have_gpu()
    where = "model" if problem or options.model else "gpu"
    size = options.size or (128 if where == "gpu" else 16)
    if size % 16 or size < 16 or any(K % 128 and K not in (16, 32, 64) or K < 16 for K in options.K):
        print("bench accumulate: --size must be a multiple of 16 and each K one of 16, 32, 64 or a multiple of 128", file=sys.stderr)
        return 2
    if where == "model":
        print(f"PREDICTION by a float64 model of truncating accumulation; nothing here was measured on a GPU ({problem or 'asked for by --model'})")
    print(INSTRUCTION)
    env = records.environment("cuda" if where == "gpu" else "cpu")
    machine = env.get("gpu", {}).get("name") if where == "gpu" else "prediction"
    path = options.out or records.results_path(machine or "gpu", "accumulate")
    source = ("rehearsed in the emulator" if clocks.REHEARSAL else "measured") if where == "gpu" else "prediction"
    with records.Record(path, "accumulate", environment=env, source=source, instruction=INSTRUCTION, size=size, seed=options.seed) as record:
        measure(where, options.K, size, options.seed, options.budget, record.add)
    print(text(record.data["rows"]))
    print(f"record: {path}")
    return 0
