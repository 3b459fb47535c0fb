"""Records, ladders and launches: what the launch code checks before a kernel runs."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import _dtypes, kernels
from gpudl.kernels import Kernel, Ladder, Parameter


def test_ladder_lists_rungs_with_their_header_facts() -> None:
    ladder = kernels.ladder("softmax.forward")
    names = [k.name for k in ladder if k.backend == "cuda"]
    assert names == ["01_naive", "02_warp_row", "03_online", "04_block_row", "05_registers", "06_vector", "07_resident"]
    assert "neighbouring lanes" in ladder["02"].header["Title"] and "Traffic" in repr(ladder)
    with pytest.raises(KeyError, match="no ladder 'softmux'"):
        kernels.ladder("softmux")
    with pytest.raises(KeyError, match="has no rung '09_wgmma'; it has .*01_naive"):
        kernels.use("softmax.forward", "09_wgmma")


@pytest.mark.parametrize(
    "name, hint",
    [
        ("linear.forward", "linear launches matmul.forward, epilogue.backward. In all, there are "),
        ("linear.dgrad", "linear launches matmul.forward, epilogue.backward. In all"),
        ("exp.backward", "exp launches unary.backward, unary.forward. In all"),
        ("lt.forward", "lt launches binary.forward"),
        ("mean.forward", "mean launches reduce.forward. In all"),
        ("getitem.forward", "getitem launches index.forward, "),
        ("conv2d.backward", "conv2d launches epilogue.backward, conv2d.forward, conv2d.dgrad, conv2d.wgrad"),
        ("softmax", "softmax launches softmax.forward, softmax.backward"),
        ("softmux.forward", "did you mean softmax.forward or log_softmax.forward"),
        ("softmux", "did you mean .*softmax.forward or softmax.backward"),
        ("zzz", "no ladder 'zzz'; there are adagrad.step"),
    ],
)
def test_an_unknown_ladder_is_met_with_the_one_that_serves(name: str, hint: str) -> None:
    for ask in (lambda: kernels.use(name, "01_naive"), lambda: kernels.ladder(name)):
        with pytest.raises(KeyError, match=hint):
            ask()


def test_use_nests_and_restores() -> None:
    with kernels.use("softmax.forward", "01_naive"):
        with kernels.use("softmax.forward", "02"):
            assert kernels.picked()["softmax.forward"] == "02_warp_row"
        assert kernels.picked()["softmax.forward"] == "01_naive"
        with kernels.use("softmax.forward", None):
            assert "softmax.forward" not in kernels.picked()
    assert "softmax.forward" not in kernels.picked()


def test_parameters_are_read_from_the_source() -> None:
    p = [Parameter(t) for t in ("const T* __restrict__ x", "T* y", "int64_t M", "unsigned int seed", "const Dims dims")]
    assert [(q.name, q.type, q.pointer, q.const) for q in p] == [
        ("x", "T", True, True), ("y", "T", True, False), ("M", "int64_t", False, False), ("seed", "unsigned", False, False), ("dims", "Dims", False, True),
    ]  # fmt: skip


def test_dims_merges_axes_that_all_operands_walk_as_one() -> None:
    a = np.zeros((4, 5, 6), np.float32)
    assert kernels.dims(a.shape, a, a)["ndim"][0] == 1
    assert kernels.dims(a.shape, a, np.broadcast_to(np.float32(1), a.shape))["ndim"][0] == 1
    assert kernels.dims(a.shape, a, np.zeros((6, 5, 4), np.float32).T)["ndim"][0] == 3
    row = np.broadcast_to(np.zeros(6, np.float32), a.shape)
    d = kernels.dims(a.shape, a, row)
    assert d["ndim"][0] == 2 and list(d["shape"][0, :2]) == [20, 6] and list(d["stride"][0, 1, :2]) == [0, 1]
    assert kernels.dims((), np.zeros((), np.float32))["ndim"][0] == 0


def test_the_header_hash_is_part_of_the_compile_key() -> None:
    assert len(kernels.headers_hash()) == 16
    kernels.headers_hash.cache_clear()
    before = kernels.headers_hash()
    extra = kernels.FOLDER / "zz_test.cuh"
    extra.write_text("// changes the hash")
    try:
        kernels.headers_hash.cache_clear()
        assert kernels.headers_hash() != before
    finally:
        extra.unlink()
        kernels.headers_hash.cache_clear()


@pytest.mark.emulator
class TestLaunch:
    def arrays(self):
        device = gpudl.device("emulator")
        return device, device.from_host(np.ones((2, 3), np.float32)), device.empty((2, 3), np.float32)

    def test_arguments_are_checked_against_the_signature(self) -> None:
        device, x, y = self.arrays()
        with pytest.raises(TypeError, match=r"log_softmax/forward/02_warp_row.cu:log_softmax_fwd: no argument N"):
            kernels.ladder("log_softmax.forward")["02_warp_row"].launch(device, {"x": x, "y": y, "M": 2}, {})
        with pytest.raises(TypeError, match=r"y is float64, the kernel reads float32"):
            kernels.launch(device, "softmax.forward", {"x": x, "y": device.empty((2, 3), np.float64), "M": 2, "N": 3})
        with pytest.raises(TypeError, match=r"M is an array, the kernel takes int64_t"):
            kernels.launch(device, "softmax.forward", {"x": x, "y": y, "M": x, "N": 3})

    def test_a_scalar_that_only_a_formula_needs_is_missed_too(self) -> None:
        device, x, y = self.arrays()
        with pytest.raises(TypeError, match=r"a formula of the kernel record needs N; the launch gives .*M"):
            kernels.launch(device, "softmax.forward", {"x": x, "y": y, "M": 2})

    def test_outputs_are_never_copied(self) -> None:
        device, x, y = self.arrays()
        with pytest.raises(gpudl.KernelError, match="y is written and must be C-contiguous"):
            kernels.launch(device, "softmax.forward", {"x": x, "y": device.empty((3, 2), np.float32).T, "M": 2, "N": 3})

    def test_a_rung_that_does_not_fit_warns_and_another_runs(self) -> None:
        device, x, _ = self.arrays()
        record = Ladder("softmax.forward", kernels.ladder("softmax.forward").rungs, None)
        picky = Kernel("01_naive.cu", grid=1, block=1, dtypes=_dtypes.FLOATS, when=lambda N: N > 100, BLOCK=1)
        record.rungs = (*record.rungs[1:], picky)
        picky.ladder = record
        with pytest.warns(UserWarning, match=r"rung 01_naive does not take float32 \[M=2 N=3\]"):
            record.rungs = (picky, record.rungs[1])
            assert record.choose({"M": 2, "N": 3}, _dtypes.float32, device, {"softmax.forward": "01_naive"}) is record.rungs[1]

    def test_a_launch_that_fails_names_the_sizes(self) -> None:
        device, x, y = self.arrays()
        ladder = kernels.ladder("softmax.forward")
        wide = Kernel("02_warp_row.cu", grid=1, block=(32, 64), dtypes=_dtypes.FLOATS, ROWS=64)
        wide.ladder = ladder
        with pytest.raises(
            gpudl.KernelError, match=r"softmax/forward/02_warp_row.cu:softmax_fwd: block \(32, 64, 1\) is 2048 threads.*\[M=2 N=3\]"
        ):
            wide.launch(device, {"x": x, "y": y, "M": 2, "N": 3}, {})

    def test_a_plan_is_made_once(self) -> None:
        device, x, y = self.arrays()
        rung = kernels.launch(device, "softmax.forward", {"x": x, "y": y, "M": 2, "N": 3})
        before = len(rung._plans)
        kernels.launch(device, "softmax.forward", {"x": x, "y": y, "M": 2, "N": 3})
        assert len(rung._plans) == before

    def test_a_choice_is_made_once_for_equal_launches_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The record's formulas run when a launch differs in anything that they or the plan may read, and not again."""
        asked = []
        real = Ladder.choose
        monkeypatch.setattr(
            Ladder, "choose", lambda self, scalars, dtype, *rest: asked.append(dict(scalars)) or real(self, scalars, dtype, *rest)
        )
        device = gpudl.device("emulator")

        def new(run) -> bool:  # whether formulas ran
            asked.clear()
            run()
            return bool(asked)

        a = {d: device.from_host(np.ones((6, 67), d)) for d in ("float32", "float64")}
        softmax = lambda x: gpudl._tensor.wrap(x, device).softmax(1)
        assert new(lambda: softmax(a["float32"])) and not new(lambda: softmax(a["float32"]))
        assert not new(lambda: softmax(device.from_host(np.zeros((6, 67), np.float32))))  # another array of the same kind
        assert new(lambda: softmax(a["float64"]))  # dtype
        assert new(lambda: softmax(a["float32"][:5]))  # sizes
        turned = device.from_host(np.arange(6 * 67, dtype=np.float32).reshape(67, 6) / 99).T
        assert new(lambda: softmax(turned))  # strides
        want = np.exp(turned - turned.max(1, keepdims=True))
        np.testing.assert_allclose(softmax(turned)._array, want / want.sum(1, keepdims=True), rtol=1e-5)
        with kernels.use("softmax.forward", "01_naive"):
            assert new(lambda: softmax(a["float32"])) and not new(lambda: softmax(a["float32"]))
            before = kernels.ladder("softmax.forward")["01_naive"].launches
            softmax(a["float32"])
            assert kernels.ladder("softmax.forward")["01_naive"].launches == before + 1
        before = kernels.ladder("softmax.forward")["01_naive"].launches
        assert not new(lambda: softmax(a["float32"]))
        assert kernels.ladder("softmax.forward")["01_naive"].launches == before  # what `use` picked is over
        out = device.empty((3,), np.float32)
        for value in (0.0, -0.0, 1.0, 2.5, np.nan, np.inf):
            kernels.fill(device, out, value)
            np.testing.assert_array_equal(out, np.full(3, value, np.float32))
            assert (np.signbit(out) == np.signbit(value)).all()
            assert not new(lambda: kernels.fill(device, out, value))  # noqa: B023
        assert (
            kernels.signature(device, {"n": 1}, None)
            != kernels.signature(device, {"n": 1.0}, None)
            != kernels.signature(device, {"n": True}, None)
        )

    def test_backward_keeps_the_rung_of_its_forward(self) -> None:
        x = gpudl.tensor(np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32), device="emulator", requires_grad=True)
        naive = kernels.ladder("softmax.backward")["01_naive"]
        x.softmax(1).sum().backward()  # the launch is known, with the rule's choice
        with kernels.use("softmax.backward", "01_naive"):
            y = x.softmax(1)
        before = naive.launches
        y.sum().backward()
        assert naive.launches == before + 1

    def test_a_rung_that_does_not_fit_warns_at_each_launch(self) -> None:
        x = gpudl.ones(2, 8192, dtype=gpudl.float64, device="emulator")
        for _ in range(2):
            with kernels.use("softmax.forward", "05_registers"), pytest.warns(UserWarning, match="rung 05_registers does not take float64"):
                x.softmax(1)
