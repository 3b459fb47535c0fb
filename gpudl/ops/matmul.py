"""Matrix products: batched, broadcast, of operands in any strides."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpudl import _dtypes, _precision, kernels
from gpudl._dtypes import FLOATS, INTEGERS, bfloat16, float16, float32
from gpudl._errors import DtypeError, ShapeError
from gpudl._tensor import Tensor
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, NumbaKernel, Step, ceil_div, ladder
from gpudl.ops import _epilogue
from gpudl.ops._common import check_tensor

BLOCK = 256
TILE = 16  # rows and columns of a square tile, one thread an element
BM, BN, BK, TM, TN = 64, 64, 16, 4, 4  # block tile, step along K, thread tile
strided = ("A", "B", "bias")
every = dict(dtypes=(*FLOATS, *INTEGERS), strided=strided)


def choose(M: int, N: int, K: int, batches: int, sms: int, arch: int, dtype: np.dtype) -> str:
    """The rung for a product: the largest tiles of which there are enough to keep the multiprocessors busy; where there are few, slices of K.

    Tensor cores multiply the half types, and float32 where `set_float32_matmul_precision` allows it.
    """
    many = M >= 128 and N >= 128 and tiles(M, N, batches, 128, 128) >= sms
    if arch >= 80 and M >= 16 and N >= 8:  # a fragment of C
        if dtype in (float16, bfloat16):
            return "14_half" if many else "14_half_64"
        if dtype == float32 and _precision.mode != "highest":
            return "12_tf32" if many else "12_tf32_64"
    single = arch >= 80 and dtype == float32  # what cp.async can copy
    if many and dtype in (float32, float16, bfloat16):
        return "09_supertile" if single else "07_warp_tile"
    if tiles(M, N, batches, BM, BN) * 2 >= sms:
        return "06_swizzle"
    return "10_split_k" if single and K >= 512 else "03_shared_tile"


def tiles(M: int, N: int, batches: int, BM: int, BN: int) -> int:
    """Block tiles of C, over all matrices of the batch."""
    return ceil_div(M, BM) * ceil_div(N, BN) * batches


def slices(M: int, N: int, K: int, batches: int, sms: int, BM: int, BN: int, BK: int) -> int:
    """10: into how many slices K is cut: as many as give every multiprocessor two blocks, and none shorter than 16 steps."""
    return max(1, min(2 * sms // tiles(M, N, batches, BM, BN), K // (16 * BK)))


def stream_blocks(M: int, N: int, K: int, batches: int, sms: int, BM: int, BN: int, BK: int) -> int:
    """11: how many blocks share the steps of all tiles."""
    return min(sms, tiles(M, N, batches, BM, BN) * max(1, ceil_div(K, BK)))


def pieces(M: int, N: int, K: int, batches: int, sms: int, BM: int, BN: int, BK: int) -> int:
    """11: how many parts of tiles go through the workspace: at each border between two blocks' runs that is none between tiles, two or,
    of a block whose whole run lies within one tile, one."""
    blocks, steps = stream_blocks(M, N, K, batches, sms, BM, BN, BK), max(1, ceil_div(K, BK))
    work = tiles(M, N, batches, BM, BN) * steps
    cuts = sorted({b * work // blocks for b in range(blocks + 1)} | set(range(0, work + 1, steps)))
    return sum(hi - lo < steps for lo, hi in itertools.pairwise(cuts))


numba: dict[str, Any] = dict(
    BIAS=0, ACT="identity", TILE=8, BM=32, BN=32, BK=8, TM=4, TN=4, dtypes=(float32, _dtypes.float64), strided=strided,
    when=lambda batches, plain: batches == 1 and plain == 1,
)  # fmt: skip
ladder(  # first to last: the order of the lesson
    "matmul.forward",
    NumbaKernel("forward_naive", grid=lambda M, N: ceil_div(M * N, 64), block=64, **numba),
    NumbaKernel("forward_shared_tile", grid=lambda M, N, TILE: ceil_div(M, TILE) * ceil_div(N, TILE), block=(8, 8), **numba),
    NumbaKernel("forward_thread_tile", grid=lambda M, N, BM, BN: ceil_div(M, BM) * ceil_div(N, BN), block=64, **numba),
    Kernel(
        "01_naive.cu",
        grid=lambda M, N, batches: (ceil_div(M * N, BLOCK), 1, min(batches, 65535)),
        block=BLOCK,
        BLOCK=BLOCK,
        traffic=lambda M, N, K, batches, itemsize: itemsize * M * N * (2 * K + 1) * batches,
        **every,
    ),
    Kernel(
        "02_coalesced.cu",
        grid=lambda M, N, batches: (ceil_div(M * N, BLOCK), 1, min(batches, 65535)),
        block=BLOCK,
        BLOCK=BLOCK,
        traffic=lambda M, N, K, batches, itemsize: itemsize * M * N * (2 * K + 1) * batches,
        **every,
    ),
    Kernel(
        "03_shared_tile.cu",
        grid=lambda M, N, batches: (ceil_div(M, TILE) * ceil_div(N, TILE), 1, min(batches, 65535)),
        block=(TILE, TILE),
        TILE=TILE,
        traffic=lambda M, N, K, batches, itemsize: itemsize * M * N * (2 * K / TILE + 1) * batches,
        **every,
    ),
    Kernel(
        "04_thread_tile.cu",
        grid=lambda M, N, batches: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=BM * BN // (TM * TN),
        BM=BM, BN=BN, BK=BK, TM=TM, TN=TN,
        traffic=lambda M, N, K, batches, itemsize: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        **every,
    ),
    Kernel(
        "05_vector.cu",
        grid=lambda M, N, batches: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=BM * BN // (TM * TN),
        BM=BM, BN=BN, BK=BK, TM=TM, TN=TN,
        traffic=lambda M, N, K, batches, itemsize: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        spills="bfloat16 on sm_75, where rounding to it takes several instructions: one register, outside the loop along k",
        **every,
    ),
    Kernel(
        "06_swizzle.cu",
        grid=lambda M, N, batches: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=BM * BN // (TM * TN),
        BM=BM, BN=BN, BK=BK, TM=TM, TN=TN,
        traffic=lambda M, N, K, batches, itemsize: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        **every,
    ),
    Kernel(
        "07_warp_tile.cu",
        grid=lambda M, N, batches, BM, BN: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=lambda BM, BN, TM, TN: BM * BN // (TM * TN),
        BM=128, BN=128, BK=16, WM=64, WN=32, TM=8, TN=8,
        traffic=lambda M, N, K, batches, itemsize, BM, BN: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        dtypes=(float32, float16, bfloat16),  # 64 sums of 64 bits do not fit the registers
        strided=strided,
    ),
    Kernel(
        "08_async.cu",
        grid=lambda M, N, batches, BM, BN: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=lambda BM, BN, TM, TN: BM * BN // (TM * TN),
        smem=lambda BM, BN, BK, STAGES, itemsize: STAGES * BK * (BM + BN) * itemsize,
        BM=128, BN=128, BK=8, WM=64, WN=32, TM=8, TN=8, STAGES=4,
        traffic=lambda M, N, K, batches, itemsize, BM, BN: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        arch=80,
        dtypes=(float32,),  # cp.async cannot convert; double, as in 07, would spill
        strided=strided,
    ),
    Kernel(
        "09_supertile.cu",
        grid=lambda M, N, batches, BM, BN: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=lambda BM, BN, TM, TN: BM * BN // (TM * TN),
        smem=lambda BM, BN, BK, STAGES, itemsize: STAGES * BK * (BM + BN) * itemsize,
        BM=128, BN=128, BK=8, WM=64, WN=32, TM=8, TN=8, STAGES=4, GROUP=8,
        traffic=lambda M, N, K, batches, itemsize, BM, BN: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        arch=80,
        dtypes=(float32,),
        strided=strided,
    ),
    Kernel(
        "10_split_k.cu",
        Step(
            "matmul_fwd",
            grid=lambda M, N, batches, BM, BN, slices: (ceil_div(M, BM) * ceil_div(N, BN), slices, min(batches, 65535)),
            block=lambda BM, BN, TM, TN: BM * BN // (TM * TN),
            smem=lambda BM, BN, BK, STAGES, itemsize: STAGES * BK * (BM + BN) * itemsize,
        ),
        Step(
            "matmul_fwd_sum",
            grid=lambda M, N, batches, BM, BN, TM, TN: ceil_div(batches * M * N * TM * TN, BM * BN),
            block=lambda BM, BN, TM, TN: BM * BN // (TM * TN),
        ),
        BM=64, BN=64, BK=8, WM=32, WN=16, TM=4, TN=4, STAGES=4, GROUP=8,  # small tiles: it is meant for small results
        scalars={"slices": slices},
        workspace={"partial": lambda M, N, batches, slices: ((slices, batches, M, N), "acc")},
        traffic=lambda M, N, K, batches, itemsize, BM, BN, slices: itemsize * M * N * (K / BM + K / BN + 1 + 2 * slices) * batches,
        arch=80,
        dtypes=(float32,),
        strided=strided,
    ),
    Kernel(
        "11_stream_k.cu",
        Step(
            "matmul_fwd",
            grid=lambda G: G,
            block=lambda BM, BN, TM, TN: BM * BN // (TM * TN),
            smem=lambda BM, BN, BK, STAGES, itemsize: STAGES * BK * (BM + BN) * itemsize,
        ),
        Step("matmul_fwd_sum", grid=lambda tiles: tiles, block=lambda BM, BN, TM, TN: BM * BN // (TM * TN)),
        BM=128, BN=128, BK=8, WM=64, WN=32, TM=8, TN=8, STAGES=4,
        scalars={"tiles": tiles, "G": stream_blocks, "pieces": pieces},
        workspace={"partial": lambda G, BM, BN: ((2 * G, BM, BN), "acc")},
        traffic=lambda M, N, K, batches, itemsize, BM, BN, pieces: itemsize * (M * N * (K / BM + K / BN + 1) * batches + 2 * pieces * BM * BN),
        arch=80,
        dtypes=(float32,),
        strided=strided,
    ),
    Kernel(
        "12_tf32.cu",
        grid=lambda M, N, batches, BM, BN: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=lambda BM, BN, WM, WN: 32 * (BM // WM) * (BN // WN),
        smem=lambda BM, BN, BK, STAGES, itemsize: STAGES * BK * (BM + BN) * itemsize,
        BM=128, BN=128, BK=16, WM=64, WN=32, STAGES=3, GROUP=8,
        traffic=lambda M, N, K, batches, itemsize, BM, BN: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        arch=80,
        precision="tf32",
        spills="bias and ReLU on sm_90: a pair of registers, outside the loop along k",
        dtypes=(float32,),
        strided=strided,
    ),
    Kernel(
        "12_tf32.cu",
        name="12_tf32_64",  # for results too small for tiles of 128
        grid=lambda M, N, batches, BM, BN: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=lambda BM, BN, WM, WN: 32 * (BM // WM) * (BN // WN),
        smem=lambda BM, BN, BK, STAGES, itemsize: STAGES * BK * (BM + BN) * itemsize,
        BM=64, BN=64, BK=16, WM=32, WN=32, STAGES=4, GROUP=8,
        traffic=lambda M, N, K, batches, itemsize, BM, BN: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        arch=80,
        precision="tf32",
        dtypes=(float32,),
        strided=strided,
    ),
    Kernel(
        "13_tf32x3.cu",
        grid=lambda M, N, batches, BM, BN: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=lambda BM, BN, WM, WN: 32 * (BM // WM) * (BN // WN),
        smem=lambda BM, BN, BK, STAGES, itemsize: STAGES * BK * (BM + BN) * itemsize,
        BM=128, BN=128, BK=16, WM=64, WN=32, STAGES=3, GROUP=8, PROMOTE=32,
        traffic=lambda M, N, K, batches, itemsize, BM, BN: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        arch=80,
        precision="tf32x3",
        dtypes=(float32,),
        strided=strided,
    ),
    Kernel(
        "14_half.cu",
        grid=lambda M, N, batches, BM, BN: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=lambda BM, BN, WM, WN: 32 * (BM // WM) * (BN // WN),
        smem=lambda BM, BN, BK, STAGES, itemsize: STAGES * BK * (BM + BN) * itemsize,
        BM=128, BN=128, BK=32, WM=64, WN=32, STAGES=3, GROUP=8,
        traffic=lambda M, N, K, batches, itemsize, BM, BN: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        arch=80,
        dtypes=(float16, bfloat16),
        strided=strided,
    ),
    Kernel(
        "14_half.cu",
        name="14_half_64",  # for results too small for tiles of 128
        grid=lambda M, N, batches, BM, BN: (ceil_div(M, BM) * ceil_div(N, BN), 1, min(batches, 65535)),
        block=lambda BM, BN, WM, WN: 32 * (BM // WM) * (BN // WN),
        smem=lambda BM, BN, BK, STAGES, itemsize: STAGES * BK * (BM + BN) * itemsize,
        BM=64, BN=64, BK=32, WM=32, WN=32, STAGES=4, GROUP=8,
        traffic=lambda M, N, K, batches, itemsize, BM, BN: itemsize * M * N * (K / BM + K / BN + 1) * batches,
        arch=80,
        dtypes=(float16, bfloat16),
        strided=strided,
    ),
    choose=choose,
)  # fmt: skip


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product a @ b, with letters A (M, K) @ B (K, N) = C (M, N).

        C  = A @ B
        dA = dC @ B.T,    dB = A.T @ dC    (summed over the batch dimensions that were broadcast)

    Both 1-D: the dot product (0-d). One of them 1-D: matrix times vector. More than two dimensions: the leading ones are a batch and
    broadcast. Any strides (transposed operands are not copied); floating and integer dtypes, equal for both. float32 is computed in float32
    unless `set_float32_matmul_precision` allows less; halves are summed in float32 and rounded once.
    ShapeError where K differs or the batches do not broadcast or an operand is 0-d; DtypeError for two dtypes or bool.
    """
    check_pair("matmul", input, other)
    if input.ndim == 0 or other.ndim == 0:
        raise ShapeError(f"matmul: {_shapes(input, other)}; both must have at least 1 dimension. Did you mean a * b?")
    a = input.unsqueeze(0) if input.ndim == 1 else input
    b = other.unsqueeze(1) if other.ndim == 1 else other
    if a.shape[-1] != b.shape[-2]:
        axis = -1 if other.ndim == 1 else -2
        fits = other.ndim == 2 and other.shape[-1] == a.shape[-1]
        hint = " Did you mean b.T?" if fits else " Did you mean a.T?" if input.ndim == 2 and input.shape[0] == b.shape[-2] else ""
        raise ShapeError(
            f"matmul: {_shapes(input, other)}; a.shape[-1] = {a.shape[-1]} must equal b.shape[{axis}] = {b.shape[-2]}.{hint}"
        )
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(
            f"matmul: {_shapes(input, other)}; the batches {tuple(a.shape[:-2])} and {tuple(b.shape[:-2])} must be equal or 1 in each dimension"
        ) from None
    c = Matmul.apply(a, b, ta=False, tb=False)
    if input.ndim == 1:
        c = c.squeeze(-2)
    return c.squeeze(-1) if other.ndim == 1 else c


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """matmul of two matrices, nothing broadcast. ShapeError for other dimensions."""
    _check_ndims("mm", 2, 2, input=input, mat2=mat2)
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """matmul of two batches (B, M, K) and (B, K, N), nothing broadcast. ShapeError for other dimensions or batches."""
    _check_ndims("bmm", 3, 3, input=input, mat2=mat2)
    if input.shape[0] != mat2.shape[0]:
        raise ShapeError(f"bmm: {_shapes(input, mat2)}; the batches {input.shape[0]} and {mat2.shape[0]} must be equal. matmul broadcasts")
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Matrix (M, K) times vector (K): (M). ShapeError for other dimensions."""
    _check_ndims("mv", 2, 1, input=input, vec=vec)
    return matmul(input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Dot product of two vectors: 0-d. ShapeError for other dimensions."""
    _check_ndims("dot", 1, 1, input=input, tensor=tensor)
    return matmul(input, tensor)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """y[i, j] = input[i] * vec2[j] of two vectors. ShapeError for other dimensions."""
    _check_ndims("outer", 1, 1, input=input, vec2=vec2)
    return input.unsqueeze(1) * vec2


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2); input broadcasts to the product. With beta = 0 input's NaN do not matter, as in PyTorch."""
    _check_ndims("addmm", 2, 2, mat1=mat1, mat2=mat2)
    check_pair("addmm", input, mat1)
    if beta == alpha == 1 and mat1.device.kernels and input.ndim in (1, 2) and _dtypes.is_float(mat1.dtype) and mat1.dtype == mat2.dtype:
        M, K, N = *mat1.shape, mat2.shape[1]
        if len(mat2) == K and input.shape in ((N,), (M, N)):  # bias or residual in the product's epilogue
            from gpudl.ops.linear import linear_act

            return linear_act(mat1, mat2.T, *((input,) if input.ndim == 1 else (None, None, input)))
    c = matmul(mat1, mat2)
    try:
        fits = np.broadcast_shapes(input.shape, c.shape) == tuple(c.shape)
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"addmm: input is {tuple(input.shape)} and mat1 @ mat2 is {tuple(c.shape)}; input must broadcast to the product")
    if alpha != 1:
        c = c * alpha
    return c if beta == 0 else c + (input if beta == 1 else input * beta)


def _shapes(a: Tensor, b: Tensor) -> str:
    return f"a is {tuple(a.shape)} and b is {tuple(b.shape)}"


def check_pair(op: str, a: Any, b: Any) -> None:
    check_tensor(op, input=a, other=b)
    if a.dtype != b.dtype:
        raise DtypeError(f"{op}: a is {a.dtype} and b is {b.dtype}; the dtypes must be equal. Convert one with .to()")
    if a.dtype == _dtypes.bool_:
        raise DtypeError(f"{op}: bool operands have no product; convert them with .float()")


def _check_ndims(op: str, first: int, second: int, **pair: Any) -> None:
    check_tensor(op, **pair)
    (a, x), (b, y) = pair.items()
    if x.ndim != first or y.ndim != second:
        raise ShapeError(
            f"{op}: {a} is {tuple(x.shape)} and {b} is {tuple(y.shape)}; they must have {first} and {second} dimension(s). matmul takes any"
        )


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b. A batch that a alone has is folded into its rows: one BLAS call in place of one for each matrix."""
    if a.ndim > 2 and b.ndim == 2:
        return np.matmul(fold(a), b).reshape(*a.shape[:-1], b.shape[1])
    return np.matmul(a, b)


def fold(a: Any) -> Any:
    """(..., M, K) as (...*M, K)."""
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])


def launch(op: Op, a: Any, b: Any, bias: Any = None, act: Any = None, residual: Any = None, kept: Any = None) -> Any:
    """act(a @ b + bias + residual) through the ladder: matrices in any strides, batches by their own, nothing copied.

    residual: an array of the result's shape. kept: memory of that shape for what the activation is given. One of the two at most.
    """
    device = op.device
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:
        residual, kept = (None if e is None else fold(e) for e in (residual, kept))
        return launch(op, fold(a), b, bias, act, residual, kept).reshape(*a.shape[:-1], b.shape[1])
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (M, K), N = a.shape[-2:], b.shape[-1]
    c = device.empty((*batch, M, N), a.dtype)
    if c.size == 0:
        return c
    walks = []  # how each operand steps from matrix to matrix
    for x in (a, b):
        wide = device.xp.broadcast_to(x, (*batch, *x.shape[-2:]))
        walks.append(SimpleNamespace(strides=wide.strides[:-2], itemsize=wide.itemsize))
    a_m, a_k = (s // a.itemsize for s in a.strides[-2:])
    b_k, b_n = (s // b.itemsize for s in b.strides[-2:])
    if residual is not None:  # read by vectors
        residual = kernels.contiguous(device, residual, copy=kernels.pointer(residual) % 16 != 0)
    extra = residual if kept is None else kept
    use = 0 if extra is None else 1 if kept is None else 2
    op.launch(
        "matmul.forward", _epilogue.defines(bias is not None, act, use),
        A=a, B=b, bias=a if bias is None else bias, extra=c if extra is None else extra, C=c, M=M, N=N, K=K, a_m=a_m, a_k=a_k, b_k=b_k, b_n=b_n,
        bias_n=0 if bias is None else bias.strides[0] // bias.itemsize, batch=kernels.dims(batch, *walks), batches=math.prod(batch),
        plain=int(use == 0 and act in (None, "relu", "sigmoid", "tanh")),
    )  # fmt: skip
    return c


class Matmul(Op, name="matmul"):
    """C = op(A) @ op(B), op(X) = X.mT where ta (tb) says so: the gradients are products of this kind again, so nothing is ever copied."""

    def forward_cpu(self, a: Any, b: Any, ta: bool, tb: bool) -> Any:
        self._save(a, b)
        return self._multiply_cpu(a, b, ta, tb)

    def backward_cpu(self, dy: Any, a: Any, b: Any, ta: bool, tb: bool) -> Any:
        return self._gradients(self._multiply_cpu, dy, a, b, ta, tb)

    def forward_kernel(self, a: Any, b: Any, ta: bool, tb: bool) -> Any:
        self._save(a, b)
        return self._multiply_kernel(a, b, ta, tb)

    def backward_kernel(self, dy: Any, a: Any, b: Any, ta: bool, tb: bool) -> Any:
        return self._gradients(self._multiply_kernel, dy, a, b, ta, tb)

    def backward_graph(self, dy: Tensor, a: Tensor, b: Tensor, ta: bool, tb: bool) -> Any:
        return self._gradients(lambda x, y, tx, ty: Matmul.apply(x, y, ta=tx, tb=ty), dy, a, b, ta, tb)

    def _save(self, a: Any, b: Any) -> None:
        self.save(a=a if self.needs[1] else None, b=b if self.needs[0] else None)

    @staticmethod
    def _multiply_cpu(a: Any, b: Any, ta: bool, tb: bool) -> Any:
        return product(a.swapaxes(-1, -2) if ta else a, b.swapaxes(-1, -2) if tb else b)

    def _multiply_kernel(self, a: Any, b: Any, ta: bool, tb: bool) -> Any:
        return launch(self, a.swapaxes(-1, -2) if ta else a, b.swapaxes(-1, -2) if tb else b)

    def _gradients(self, multiply: Any, dy: Any, a: Any, b: Any, ta: bool, tb: bool) -> Any:
        """One formula for arrays and Tensors."""
        da = db = None
        if self.needs[0]:
            da = multiply(b, dy, tb, True) if ta else multiply(dy, b, False, not tb)
        if self.needs[1]:
            if not isinstance(dy, Tensor) and not ta and a.ndim > 2 and len(self.meta[1][0]) == 2:  # type: ignore[attr-defined]
                if self.device.kernels:
                    a, dy = kernels.contiguous(self.device, a), kernels.contiguous(self.device, dy)
                a, dy = fold(a), fold(dy)  # the sum over the batch becomes part of the sum over K
            db = multiply(dy, a, True, ta) if tb else multiply(a, dy, not ta, False)
        return da, db

    # Read off the class by tests and benches, never through an instance.
    def literals() -> Any:
        yield [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]])], [[19.0, 22.0], [43.0, 50.0]]
        yield [np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])], 32.0
        yield [np.array([[1, 2], [3, 4]]), np.array([1, -1])], [-1, -1]

    def samples(rng: Any) -> Any:
        n = rng.normal
        for m, k, p in [(1, 1, 1), (3, 5, 2), (17, 33, 9), (65, 20, 70), (2, 0, 3), (0, 4, 3), (3, 4, 0)]:
            yield Sample(n(size=(m, k)), n(size=(k, p)))
        yield Sample(n(size=(36, 24)), n(size=(24, 68)))  # 16-byte rows, in the gradients too
        yield Sample(n(size=(5, 300)), n(size=(300, 6)))  # few results of long sums
        yield Sample(n(size=(33, 18)).T, n(size=(33, 35)))  # TN
        yield Sample(n(size=(18, 33)), n(size=(35, 33)).T)  # NT
        yield Sample(n(size=(33, 18)).T, n(size=(35, 33)).T)  # TT
        yield Sample(n(size=(12, 10))[::2, ::3], n(size=(8, 9))[::2, 1::2])
        yield Sample(n(size=(5,)), n(size=(5,)))
        yield Sample(n(size=(4, 5)), n(size=(5,)))
        yield Sample(n(size=(5,)), n(size=(2, 5, 3)))
        yield Sample(n(size=(3, 4, 5)), n(size=(5, 2)))
        yield Sample(n(size=(3, 1, 4, 5)), n(size=(2, 5, 3)))
        yield Sample(n(size=(4, 5)), n(size=(3, 5, 2)))
        yield Sample(n(size=(2, 0, 4, 5)), n(size=(5, 2)))
        yield Sample(rng.integers(-9, 9, size=(3, 4)), rng.integers(-9, 9, size=(4, 5)), _grad=False)

    def errors() -> Any:
        z = np.zeros
        yield (
            Sample(z((64, 128)), z((32, 128))),
            ShapeError,
            r"matmul: a is \(64, 128\) and b is \(32, 128\); a.shape\[-1\] = 128 must equal b.shape\[-2\] = 32. Did you mean b.T\?",
        )
        yield Sample(z((2, 3)), z((2,))), ShapeError, r"a.shape\[-1\] = 3 must equal b.shape\[-1\] = 2"
        yield Sample(z(()), z((2,))), ShapeError, r"matmul: a is \(\) and b is \(2,\); both must have at least 1 dimension"
        yield Sample(z((2, 3, 4)), z((3, 4, 5))), ShapeError, r"matmul: .*the batches \(2,\) and \(3,\) must be equal or 1"
        yield Sample(z((2, 3)), z((3, 2), np.float32)), DtypeError, r"matmul: a is float64 and b is float32; the dtypes must be equal"
        yield Sample(z((2, 3)), [1.0]), TypeError, r"matmul: other must be a Tensor, not list"

    def cost(a: Any, b: Any) -> Cost:
        size = a.size * (b.shape[-1] if b.ndim > 1 else 1)
        batch = math.prod(b.shape[:-2]) if a.ndim <= 2 else 1
        out = size // max(a.shape[-1], 1) * batch
        return Cost(bytes=a.nbytes + b.nbytes + out * a.itemsize, flops=2 * size * batch)
