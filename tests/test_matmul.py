"""Products: what the registry's samples leave out. Views handed over without a copy, grids over their limits, fused layers, error messages."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import gpudl
from gpudl import kernels, ops
from gpudl._errors import DtypeError, ShapeError
from gpudl.emulator import _launch

matmul = sys.modules["gpudl.ops.matmul"]  # gpudl.ops.matmul is the function
rng = np.random.default_rng(5)
RUNGS = [k.name for k in kernels.ladder("matmul.forward") if k.backend == "cuda"]
HALVES = [name for name in RUNGS if gpudl.float32 not in kernels.ladder("matmul.forward")[name].dtypes]


ON_KERNELS = [pytest.param("emulator", marks=pytest.mark.emulator), pytest.param("cuda", marks=pytest.mark.gpu)]


def emulated(array: np.ndarray, dtype: str = "float32", device: str = "emulator") -> gpudl.Tensor:
    return gpudl.tensor(array, dtype=dtype, device=device)


def close(got: gpudl.Tensor, want: np.ndarray, terms: int) -> None:
    """An fp32 sum of so many products of about 1: 2 eps sqrt(terms) of the sum of their sizes (after Higham & Mary 2019), and float16's rounding."""
    error = np.abs(got.cpu().detach().numpy().astype(np.float64) - want)
    last = 2.0**-11 if got.dtype == gpudl.float16 else 0.0
    assert (error <= 2 * 2.0**-23 * np.sqrt(max(terms, 1)) * (np.abs(want) + terms + 1) + last * np.abs(want)).all()


def dtype_of(rung: str) -> str:
    return "float16" if rung in HALVES else "float32"


def draw(*shape: int) -> np.ndarray:
    """Normal numbers of 10 bits of mantissa: exact in float32, tf32 and float16, so that every rung is held to the sum's tolerance alone."""
    return rng.standard_normal(shape).astype(np.float16).astype(np.float64)


@pytest.mark.emulator
@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_transposed_operands_are_not_copied(rung: str, ta: bool, tb: bool) -> None:
    for M, N, K in ((67, 66, 19), (64, 72, 24)):
        a, b = draw(M, K), draw(K, N)
        x, y = emulated(a.T.copy() if ta else a, dtype_of(rung)), emulated(b.T.copy() if tb else b, dtype_of(rung))
        copies = [(k, k.launches) for k in kernels.ladder("copy.forward")]
        before = kernels.ladder("matmul.forward")[rung].launches
        with kernels.use("matmul.forward", rung), kernels.emulation(sanitize=True):
            got = (x.T if ta else x) @ (y.T if tb else y)
        close(got, a @ b, K)
        assert [(k, k.launches) for k in kernels.ladder("copy.forward")] == copies
        assert kernels.ladder("matmul.forward")[rung].launches == before + 1


def profile(rung: str, M: int, N: int, K: int, ta: bool = False, tb: bool = False, dtype: str = "float32") -> list:
    """The access profile, line by line, of one product, each operand row-major (or, turned, the view of a row-major one)."""
    seen = []
    plain = _launch.Function.__call__

    def call(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        plain(self, *args, **kwargs)
        seen.append(self.profile)

    a, b = (emulated(rng.standard_normal(s), dtype) for s in ((K, M) if ta else (M, K), (N, K) if tb else (K, N)))
    with pytest.MonkeyPatch.context() as patch, kernels.use("matmul.forward", rung), kernels.emulation(profile=True):
        patch.setattr(_launch.Function, "__call__", call)
        _ = (a.T if ta else a) @ (b.T if tb else b)
    assert len(seen) == len(kernels.ladder("matmul.forward")[rung].steps)
    return [line for one in seen for line in one.lines]


@pytest.mark.emulator
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_swizzled_tiles_have_no_bank_conflicts_and_padding_would_not_do(ta: bool, tb: bool) -> None:
    for line in profile("06_swizzle", 64, 128, 32, ta, tb):
        assert line.wavefronts == line.ideal_wavefronts and line.sectors == line.ideal_sectors, line
    conflicts = [line for line in profile("05_vector", 64, 128, 32, ta, tb) if line.wavefronts != line.ideal_wavefronts]
    assert bool(conflicts) == (not ta or tb)  # A lies along k unless it is transposed, B only if it is


@pytest.mark.emulator
@pytest.mark.parametrize("rung", [r for r in RUNGS if r >= "06"])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
def test_no_bank_conflicts_from_swizzle_on(rung: str, ta: bool, tb: bool) -> None:
    lines = profile(rung, 128, 128, 32, ta, tb, dtype_of(rung))
    for line in lines:
        assert line.wavefronts == line.ideal_wavefronts, line
        assert line.op == "store" or line.sectors == line.ideal_sectors, line  # two halves by two halves fill but half a sector of C
    assert any(line.space == "shared" and line.op == "load" for line in lines)


@pytest.mark.parametrize("device", ON_KERNELS)
def test_tf32_rounds_its_factors_and_three_products_put_it_right(device: str) -> None:
    """Each factor of 12 is off by 2^-11 of itself at most, and off it is; 13 and the rungs without tensor cores hold float32's tolerance."""
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((70, 500), (500, 60)))
    exact, sizes = a.astype(float) @ b.astype(float), np.abs(a.astype(float)) @ np.abs(b)
    error = {}
    for rung in ("06_swizzle", "12_tf32", "13_tf32x3"):
        with kernels.use("matmul.forward", rung):
            error[rung] = np.abs((emulated(a, device=device) @ emulated(b, device=device)).cpu().numpy() - exact)
    assert (error["12_tf32"] <= 2.0**-10 * sizes).all()
    assert error["12_tf32"].max() >= 2.0**-16 * sizes.max()
    for rung in ("06_swizzle", "13_tf32x3"):
        assert (error[rung] <= 2.0**-23 * np.sqrt(500) * sizes).all()
    assert np.linalg.norm(error["13_tf32x3"]) <= np.linalg.norm(error["06_swizzle"])


@pytest.mark.emulator
@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("shape", [(128, 256, 32), (128, 128, 512)])
def test_bytes_requested_are_the_header_formula(rung: str, shape: tuple) -> None:
    record = kernels.ladder("matmul.forward")[rung]
    M, N, K = shape
    dtype = gpudl.float16 if rung in HALVES else gpudl.float32
    if M * N * K > 2**22 and rung < "10":
        return  # nothing new, and slow
    asked = sum(line.bytes for line in profile(rung, M, N, K, dtype=str(dtype)) if line.space == "global")
    assert record.traffic is not None
    formula = record.traffic(record.scope({"M": M, "N": N, "K": K, "batches": 1}, dtype, gpudl.device("emulator")))
    assert asked == formula


@pytest.mark.emulator
@pytest.mark.parametrize("rung", ["10_split_k", "11_stream_k"])
@pytest.mark.parametrize(
    "shape", [(1, 64, 70, 1040), (3, 130, 17, 300), (2, 140, 260, 130), (1, 40, 30, 2000), (5, 3, 4, 0), (2, 257, 129, 9)]
)
def test_slices_and_runs_of_steps(rung: str, shape: tuple) -> None:
    """Ends of slices and runs inside and between tiles, under the sanitizer and in two orders of the blocks: the same bits."""
    z, M, N, K = shape
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((z, M, K), (z, K, N)))
    bits = []
    for settings in ({"sanitize": True}, {"order": "random", "seed": 3}):
        with kernels.use("matmul.forward", rung), kernels.emulation(**settings):
            got = emulated(a) @ emulated(b)
        close(got, a.astype(float) @ b, K)
        bits.append(got.cpu().numpy().tobytes())
    assert bits[0] == bits[1]


def test_how_work_is_cut() -> None:
    """By hand, for 4 multiprocessors. 10: one tile and K = 1040 are 130 steps, no slice has less than 16. 11: 6 tiles of 9 steps are 54 steps in
    runs of 13 or 14: [0, 13) [13, 27) [27, 40) [40, 54), with the pieces 9-13, 13-18, 36-40 and 40-45."""
    args = {"batches": 1, "sms": 4, "BK": 8}
    assert matmul.slices(M=64, N=60, K=1040, BM=64, BN=64, **args) == 8
    assert matmul.slices(M=64, N=60, K=300, BM=64, BN=64, **args) == 2
    assert matmul.slices(M=640, N=600, K=5000, BM=64, BN=64, **args) == 1
    assert matmul.stream_blocks(M=256, N=384, K=72, BM=128, BN=128, **args) == 4
    assert matmul.pieces(M=256, N=384, K=72, BM=128, BN=128, **args) == 4
    assert matmul.pieces(M=128, N=128, K=72, BM=128, BN=128, **args) == 4
    assert matmul.pieces(M=512, N=128, K=72, BM=128, BN=128, **args) == 0


@pytest.mark.parametrize("device", ON_KERNELS)
@pytest.mark.parametrize("rung", RUNGS[4:])
@pytest.mark.parametrize("shape", [(129, 259, 70), (260, 132, 36)])
def test_products_of_several_tiles(rung: str, shape: tuple, device: str) -> None:
    M, N, K = shape
    a, b = draw(2, M, K), draw(2, K, N)
    where = dtype_of(rung), device
    with kernels.use("matmul.forward", rung):
        close(emulated(a, *where) @ emulated(b, *where), a @ b, K)
        close(emulated(a.swapaxes(1, 2).copy(), *where).mT @ emulated(b.swapaxes(1, 2).copy(), *where).mT, a @ b, K)


@pytest.mark.emulator
def test_gradients_copy_nothing_either() -> None:
    x, y = emulated(rng.standard_normal((3, 5, 4))).requires_grad_(), emulated(rng.standard_normal((3, 4, 6))).requires_grad_()
    out = x @ y
    dy = emulated(rng.standard_normal((3, 5, 6)))
    copies = sum(k.launches for k in kernels.ladder("copy.forward"))
    gpudl.autograd.grad(out, [x, y], dy)
    assert sum(k.launches for k in kernels.ladder("copy.forward")) == copies


@pytest.mark.emulator
def test_more_matrices_than_a_grid_has_layers() -> None:
    a, b = rng.standard_normal((65537, 1, 2)), rng.standard_normal((2, 1))
    with kernels.use("matmul.forward", "02"):
        got = emulated(a).mT.mT @ emulated(np.broadcast_to(b, (65537, 2, 1)).copy())
    close(got, a @ b, 2)


@pytest.mark.emulator
def test_a_broadcast_operand_is_read_where_it_lies() -> None:
    a, b = rng.standard_normal((2, 1, 3, 4)), rng.standard_normal((5, 4, 2))
    wide = emulated(b).unsqueeze(0).expand(2, 5, 4, 2)
    close(emulated(a) @ wide, a @ b, 4)


@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
@pytest.mark.parametrize(
    "shapes", [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0)), ((0,), (0,)), ((0, 2, 3), (3, 4)), ((2, 3), (0, 3, 4))]
)
def test_empty_operands(device: str, shapes: tuple) -> None:
    a, b = (gpudl.zeros(s, device=device).requires_grad_() for s in shapes)
    y = a @ b
    want = np.zeros(shapes[0]) @ np.zeros(shapes[1])
    assert y.shape == want.shape
    assert (y.detach().cpu().numpy() == 0).all()
    da, db = gpudl.autograd.grad(y, [a, b], gpudl.ones(y.shape, device=device))
    assert (da.cpu().numpy() == 0).all() and (db.cpu().numpy() == 0).all()
    assert da.shape == a.shape and db.shape == b.shape


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_integers_are_exact_and_wrap(dtype: str, device: str) -> None:
    a, b = (rng.integers(0, 200, size=s).astype(dtype) for s in ((17, 33), (33, 5)))
    got = gpudl.tensor(a, device=device) @ gpudl.tensor(b, device=device)
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got.cpu().numpy(), a @ b)


def test_relatives() -> None:
    a, b, v = rng.standard_normal((3, 4)), rng.standard_normal((4, 5)), rng.standard_normal(4)
    A, B, V = map(gpudl.tensor, (a, b, v))
    for got, want in [
        (gpudl.mm(A, B), a @ b),
        (A.mm(B), a @ b),
        (gpudl.mv(A, V), a @ v),
        (gpudl.dot(V, V), v @ v),
        (gpudl.outer(V, V), np.outer(v, v)),
        (gpudl.bmm(A.reshape(1, 3, 4), B.reshape(1, 4, 5)), (a @ b)[None]),
        (gpudl.addmm(gpudl.ones(5, dtype="float64"), A, B, beta=2, alpha=3), 2 + 3 * (a @ b)),
        (gpudl.addmm(gpudl.full((5,), float("nan"), dtype="float64"), A, B, beta=0), a @ b),
        (A.matmul(B), a @ b),
    ]:
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)


def test_errors_of_the_relatives() -> None:
    a, v = gpudl.zeros(3, 4), gpudl.zeros(4)
    with pytest.raises(ShapeError, match=r"mm: input is \(3, 4\) and mat2 is \(4,\); they must have 2 and 2 dimension"):
        gpudl.mm(a, v)
    with pytest.raises(ShapeError, match=r"bmm: a is \(2, 3, 4\) and b is \(1, 4, 3\); the batches 2 and 1 must be equal"):
        gpudl.bmm(gpudl.zeros(2, 3, 4), gpudl.zeros(1, 4, 3))
    with pytest.raises(ShapeError, match=r"addmm: input is \(2,\) and mat1 @ mat2 is \(3, 3\)"):
        gpudl.addmm(gpudl.zeros(2), a, a.T)
    with pytest.raises(DtypeError, match="bool operands have no product"):
        gpudl.zeros(2, 2, dtype="bool") @ gpudl.zeros(2, 2, dtype="bool")
    with pytest.raises(RuntimeError):  # as code written for PyTorch catches it
        a @ a
    with pytest.raises(TypeError, match="out"):
        gpudl.matmul(a, a.T, out=a)


@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_relu_of_nan_and_its_gradient(device: str) -> None:
    x = gpudl.tensor(np.array([[np.nan, 1.0]], np.float32), device=device).requires_grad_()
    y = ops.linear_act(x, gpudl.eye(2, device=device), None, "relu")
    assert np.isnan(y.detach().cpu().numpy()).all()
    w = gpudl.tensor(np.array([[1.0], [-1.0]], np.float32), device=device)
    z = gpudl.tensor(np.array([[np.nan], [2.0], [-2.0]], np.float32), device=device).requires_grad_()
    out = ops.linear_act(z, w, None, "relu")
    (dz,) = gpudl.autograd.grad(out, [z], gpudl.ones(3, 2, device=device))
    np.testing.assert_array_equal(out.detach().cpu().numpy(), [[np.nan, np.nan], [2, 0], [0, 2]])
    np.testing.assert_array_equal(dz.cpu().numpy(), [[0], [1], [-1]])  # as PyTorch: where y <= 0 does not hold the gradient passes


def test_linear_without_input_gradient_keeps_no_weight() -> None:
    x, w = gpudl.zeros(2, 3), gpudl.zeros(4, 3).requires_grad_()
    y = ops.linear(x, w)
    assert set(y.grad_fn.saved) == {"x"}
    y.backward(gpudl.ones(2, 4))
    assert w.grad is not None and x.grad is None


@pytest.fixture
def default_precision():  # type: ignore[no-untyped-def]
    yield
    gpudl.set_float32_matmul_precision("highest")


@pytest.mark.emulator
def test_tf32_runs_where_it_is_asked_for_alone(default_precision: None) -> None:
    rung = kernels.ladder("matmul.forward")["12_tf32_64"]
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((40, 30), (30, 24)))
    runs = []
    assert gpudl.get_float32_matmul_precision() == "highest"
    for mode in ("highest", "high", "medium", "highest"):
        gpudl.set_float32_matmul_precision(mode)
        before = rung.launches
        got = emulated(a) @ emulated(b)
        error = np.abs(got.cpu().numpy() - a.astype(float) @ b).max()
        assert (error <= 1e-5) == (mode == "highest")
        runs.append(rung.launches - before)
        _ = emulated(a, "float64") @ emulated(b, "float64")  # no other dtype is touched
        _ = emulated(a, "float16") @ emulated(b, "float16")
        assert rung.launches == before + runs[-1]
        np.testing.assert_array_equal((gpudl.tensor(a) @ gpudl.tensor(b)).numpy(), a @ b)  # nor is the CPU
    assert runs == [0, 1, 1, 0]
    with pytest.raises(ValueError, match="set_float32_matmul_precision: 'tf32'; there are 'highest', 'high', 'medium'"):
        gpudl.set_float32_matmul_precision("tf32")
    with pytest.raises(TypeError, match="precision must be a str, not bool True"):
        gpudl.set_float32_matmul_precision(True)


@pytest.mark.emulator
def test_a_rung_that_does_not_take_a_launch_gives_way_to_one_of_full_precision() -> None:
    a, b = rng.standard_normal((20, 30)), rng.standard_normal((30, 24))
    with kernels.use("matmul.forward", "14_half"), pytest.warns(UserWarning, match="rung 14_half does not take float32"):
        close(emulated(a) @ emulated(b), a.astype(np.float32).astype(float) @ b.astype(np.float32), 30)


@pytest.mark.parametrize(
    ("M", "N", "K", "batches", "arch", "dtype", "rung"),
    [
        (4096, 4096, 4096, 1, 90, "float32", "09_supertile"),
        (4096, 4096, 4096, 1, 75, "float32", "07_warp_tile"),
        (4096, 4096, 4096, 1, 90, "float64", "06_swizzle"),
        (4096, 4096, 4096, 1, 90, "float16", "14_half"),
        (4096, 4096, 4096, 1, 75, "bfloat16", "07_warp_tile"),
        (1111, 1111, 1111, 1, 90, "float32", "06_swizzle"),  # 81 tiles of 128: not one for each of 132 multiprocessors
        (256, 576, 25088, 1, 90, "float32", "10_split_k"),
        (256, 576, 25088, 1, 90, "float64", "03_shared_tile"),
        (256, 576, 64, 1, 90, "float32", "03_shared_tile"),
        (64, 64, 64, 100, 90, "float32", "06_swizzle"),
        (100, 10, 100, 1, 90, "bfloat16", "14_half_64"),
        (100, 1, 100, 1, 90, "bfloat16", "03_shared_tile"),
        (100, 10, 100, 1, 90, "int64", "03_shared_tile"),
    ],
)
def test_dispatch(M: int, N: int, K: int, batches: int, arch: int, dtype: str, rung: str) -> None:
    assert matmul.choose(M, N, K, batches, 132, arch, np.dtype(gpudl._dtypes.as_dtype(dtype))) == rung


def test_two_records_of_one_source() -> None:
    ladder = kernels.ladder("matmul.forward")
    assert ladder["14"] is ladder["14_half"] and ladder["14"] is not ladder["14_half_64"]
    assert ladder["14_half_64"].path == ladder["14_half"].path and ladder["14_half_64"].tiles["BM"] == 64
