"""The benchmark: wrong results get no speed, one thing against itself is a tie, records are valid at every moment. No test reads a clock."""

from __future__ import annotations

import json
import math
import random
import types

import numpy as np
import pytest

import gpudl
from bench import check, clocks, contestants, ops, optimisers, records, shapes, stats
from bench.contestants import Case, Gpudl, Torch, TorchStep
from gpudl import kernels
from gpudl.autograd import Cost, Op, Sample
from gpudl.kernels import Kernel, ceil_div, ladder


class Instant(clocks.HostClock):
    """A clock whose readings are given, not taken: 1 ms and a little noise."""

    def __init__(self):
        self.rng = random.Random(0)

    def sample(self, timed, repeats):
        for _ in range(min(repeats, 2)):
            timed.once()
        return 1.0 + 0.01 * self.rng.random()


# ---------------------------------------------------------------------------------------------------------------------- statistics
def noisy(rng, level, n=12, drift=0.0):
    return [level * math.exp(rng.gauss(0, 0.03) + drift * i) for i in range(n)]


def test_a_copy_against_itself_is_a_tie_in_19_of_20_runs():
    for seed in range(20):
        rng = random.Random(seed)
        words = []
        for _ in range(20):
            a, twin, copy = (noisy(rng, 1.0, drift=0.02) for _ in range(3))
            words.append(stats.compare(a, copy, stats.noise_floor(a, twin)).word)
        assert words.count("tie") >= 19, words


def test_a_real_difference_is_seen_and_its_direction():
    rng = random.Random(1)
    for _ in range(50):
        a, twin, b = noisy(rng, 1.0), noisy(rng, 1.0), noisy(rng, 1.25)
        assert stats.compare(a, b, stats.noise_floor(a, twin)).word == "faster"
        assert stats.compare(b, a, stats.noise_floor(a, twin)).word == "slower"


def test_too_few_samples_prove_nothing():
    assert stats.compare([1.0] * 5, [2.0] * 5).word == "tie"
    assert stats.interval([1.0] * 5) == (-math.inf, math.inf)


def test_median_and_spread():
    values = [5.0, 1.0, 4.0, 2.0, 3.0, 6.0]
    assert stats.summary(values) == (3.5, 2.0, 5.0)
    assert stats.geometric_mean([0.5, 2.0, 4.0]) == pytest.approx(4 ** (1 / 3))


def test_interval_covers_the_median_as_often_as_it_says():
    rng = random.Random(2)
    misses = 0
    for _ in range(2000):
        low, high = stats.interval([rng.gauss(0, 1) for _ in range(12)])
        misses += not low <= 0 <= high
    assert misses <= 30  # at most 1% and chance: 20 expected, 30 is 2.2 standard deviations above


def test_contestants_take_turns_forwards_and_backwards():
    order = []

    class Clock(clocks.HostClock):
        def sample(self, timed, repeats):
            order.append(timed.count)
            return 1.0

    entries = [clocks.Timed(lambda: None, n) for n in (1, 2, 3)]
    samples = clocks.race(Clock(), entries, budget=0.0)
    assert [len(s) for s in samples] == [8, 8, 8]
    assert order[-24:] == [1, 2, 3, 3, 2, 1] * 4


# -------------------------------------------------------------------------------------------------------------------- right or wrong
@pytest.mark.parametrize("spoil", [np.nan, np.inf, 1e-3, -5.0])
def test_one_wrong_value_among_many_is_found(spoil):
    want = np.random.default_rng(0).normal(size=(33, 65))
    got = want.astype(np.float32)
    assert check.judge([got], [want], "float32", 64).ok
    got[17, 40] = spoil if not np.isfinite(spoil) or abs(spoil) > 1 else got[17, 40] + spoil
    verdict = check.judge([got], [want], "float32", 64)
    assert not verdict.ok and "(17, 40)" in verdict.why


def test_integers_shapes_and_missing_results_are_compared():
    assert not check.judge([np.array([1, 2, 4])], [np.array([1, 2, 3])], "float32").ok
    assert not check.judge([np.zeros((2, 3), np.float32)], [np.zeros((3, 2))], "float32").ok
    assert not check.judge([None], [np.zeros(2)], "float32").ok
    assert not check.judge([], [np.zeros(2)], "float32").ok
    nan = np.array([np.nan, 1.0])
    assert check.judge([nan.astype(np.float32)], [nan], "float32").ok  # where NaN is right, NaN is right


def test_tf32_inputs_are_not_float32():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(32, 256)), rng.normal(size=(256, 32))

    def tf32(x):
        return (x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    want = a.astype(np.float32).astype(float) @ b.astype(np.float32).astype(float)
    assert check.judge([(a.astype(np.float32) @ b.astype(np.float32))], [want], "float32", 256).ok
    assert not check.judge([tf32(a) @ tf32(b)], [want], "float32", 256).ok


    assert check.judge([tf32(a) @ tf32(b)], [want], "float32", 256, precision="tf32").ok
    wrong = tf32(a) @ tf32(b)
    wrong[3, 4] = 0.0
    assert not check.judge([wrong], [want], "float32", 256, precision="tf32").ok


@pytest.mark.emulator
def test_a_rung_of_less_precision_says_so():
    case = Case(Op.registry["matmul"], shapes.shape("40x64x24", shapes.A((40, 64)), shapes.A((64, 24))))
    rungs = {r.precision: Gpudl("emulator", "matmul.forward", r.name) for r in kernels.ladder("matmul.forward") if r.precision != "ieee"}
    rows = dict(zip(rungs, ops.measure(case, list(rungs.values()), Instant(), seed=3)))
    assert {r["status"] for r in rows.values()} == {"checked"}
    assert rows["tf32"]["precision"] == "tf32" and rows["tf32x3"]["precision"] == "ieee" and "3xTF32" in rows["tf32x3"]["note"]
    assert rows["tf32"]["error"]["relative"] > 50 * rows["tf32x3"]["error"]["relative"]  # three products bring the bits back


def test_opponents_in_tf32_take_products_alone():
    pytest.importorskip("torch", reason="PyTorch is not installed, so it is no opponent")
    torch = next(o for o in contestants.opponents("cuda") if o.precision == "tf32")
    relu = Case(Op.registry["relu"], shapes.shape("40x64", shapes.A((40, 64))))
    assert torch.name == "torch graph tf32" and "products of float32" in torch.refuses(relu)


RIGHT = """
extern "C" __global__ void twice(const T* x, T* y, int64_t N) {
    int64_t i = int64_t(blockIdx.x) * BLOCK + threadIdx.x;
    BODY
}
"""
BODIES = {
    "right": "if (i < N) y[i] = x[i] + x[i];",
    "nan": "if (i < N) y[i] = i == N / 2 ? T(0) / T(0) * x[i] : x[i] + x[i];",
    "stale": "if (i < N && x[i] > T(5)) y[i] = x[i];",
    "dropped_tile": "if (i < N && blockIdx.x + 1 < gridDim.x) y[i] = x[i] + x[i];",
}


@pytest.fixture
def twice(monkeypatch, tmp_path):
    """An op with one right rung and deliberately wrong ones, in the registry for one test."""
    monkeypatch.setattr(Op, "registry", dict(Op.registry))
    monkeypatch.setattr(kernels, "_ladders", dict(kernels._ladders))
    rungs = []
    for name, body in BODIES.items():
        path = tmp_path / f"{name}.cu"
        path.write_text('#include "common.cuh"\n' + RIGHT.replace("BODY", body))
        rungs.append(Kernel(str(path), grid=lambda N: ceil_div(N, 32), block=32, BLOCK=32, dtypes=(gpudl.float32,)))
    ladder("twice.forward", *rungs, choose=lambda N: "right")

    class Twice(Op, name="twice"):
        def forward_cpu(self, x):
            return x + x

        def forward_kernel(self, x):
            y = self.device.empty(x.shape, x.dtype)
            self.launch("twice.forward", x=x, y=y, N=x.size)
            return y

        def samples(rng):
            yield Sample(rng.normal(size=100), _grad=False)

        def cost(x):
            return Cost(bytes=2 * x.nbytes, flops=x.size)

    module = types.ModuleType("twice")
    module.twice = lambda x: Twice.apply(x)
    monkeypatch.setitem(__import__("sys").modules, "twice", module)
    Twice.__module__ = "twice"
    return Case(Twice, shapes.shape("100", shapes.A((100,)), grad=False))


@pytest.mark.emulator
def test_wrong_kernels_get_no_speed(twice):
    rows = ops.measure(twice, [Gpudl("emulator"), *contestants.rungs(twice, "emulator")], Instant(), seed=3)
    status = {r.get("rung", ""): r["status"] for r in rows}
    assert status == {"": "checked", "right": "checked", "nan": "wrong", "stale": "wrong", "dropped_tile": "wrong"}
    wrong = [r for r in rows if r["status"] == "wrong"]
    assert all("ms" not in r and "WRONG" in ops.line(r) and " ms" not in ops.line(r) for r in wrong)
    assert "never written" in next(r["reason"] for r in wrong if r["rung"] == "stale")
    assert ops.exit_code(rows) == 1 and ops.exit_code([r for r in rows if r["status"] != "wrong"]) == 0


def test_a_result_that_turns_wrong_while_it_is_timed_gets_no_speed():
    """Right when first checked, wrong afterwards: what a kernel does that depends on what an earlier run left behind."""
    made = []

    class Ageing(Gpudl):
        name = "ageing"

        def runner(self, case, sample, seed, copies=1):
            runner = super().runner(case, sample, seed, copies)
            made.append(runner)
            if len(made) > 1:
                real = runner.collect
                runner.collect = lambda raw: [1.5 * r for r in real(raw)]
            return runner

    case = Case(Op.registry["relu"], shapes.shape("5x7", shapes.A((5, 7))))
    rows = ops.measure(case, [Ageing("cpu")], Instant(), seconds=0.0)
    assert [r["status"] for r in rows] == ["wrong"] and "after it was timed" in rows[0]["reason"] and "ms" not in rows[0]


def test_an_opponent_that_is_wrong_has_no_ratio():
    class Liar(Gpudl):
        name, opponent = "liar", True

        def collect(self, raw):
            return [r + 1 for r in super().collect(raw)]

    liar = Liar("cpu")
    liar.name, liar.opponent = "liar", True
    case = Case(Op.registry["relu"], shapes.shape("5x7", shapes.A((5, 7))))
    ours, other = ops.measure(case, [Gpudl("cpu"), liar], Instant(), seconds=0.0)
    ours, other = (ours, other) if ours["contestant"] == "gpudl" else (other, ours)
    assert ours["status"] == "ok" and ours["against"] == {} and other["status"] == "wrong"


# ----------------------------------------------------------------------------------------------------------------------------- rows
def test_a_row_says_everything():
    case = Case(Op.registry["softmax"], shapes.shape("7x33", shapes.A((7, 33)), dim=-1), "backward")
    (row,) = ops.measure(case, [Gpudl("cpu")], Instant(), {"copy_gb_s": 10.0, "fma_tflop_s": 0.1}, seconds=0.0)
    for key in ("op", "way", "shape", "dtype", "precision", "ms", "samples", "noise_floor", "gb_s", "tflop_s", "share", "bound", "error", "seed", "cache"):
        assert key in row, key
    assert row["bytes"] == 2 * 7 * 33 * 4  # the cotangent read, the gradient written
    assert 0 < row["error"]["relative"] < 1e-6
    assert row["share"] == pytest.approx(row["bytes"] / 10.0e9 / (row["ms"]["median"] / 1e3))
    json.dumps(records.plain(row), allow_nan=False)


def test_the_gradient_of_a_sum_is_a_view_and_has_no_bandwidth():
    case = Case(Op.registry["sum"], shapes.shape("40x50", shapes.A((40, 50)), dim=1), "backward")
    (row,) = ops.measure(case, [Gpudl("cpu")], Instant(), {"copy_gb_s": 10.0, "fma_tflop_s": 0.1}, seconds=0.0)
    assert row["status"] == "ok" and row["bytes"] == row["gb_s"] == 0 and "share" not in row
    assert "a view" in ops.line(row) and "GB/s" not in ops.line(row)
    case = Case(Op.registry["exp"], shapes.shape("40x50", shapes.A((40, 50))), "backward")
    (row,) = ops.measure(case, [Gpudl("cpu")], Instant(), seconds=0.0)
    assert row["bytes"] == 2 * 40 * 50 * 4


def test_a_kernel_that_fails_is_one_line_and_the_others_go_on():
    class Broken(Gpudl):
        def call(self, *_):
            raise gpudl.KernelError("softmax/09_new.cu: block (32, 64) is 2048 threads\nand a long traceback")

    case = Case(Op.registry["relu"], shapes.shape("5x7", shapes.A((5, 7))))
    rows = ops.measure(case, [Broken("cpu"), Gpudl("cpu")], Instant(), seconds=0.0)
    assert sorted(r["status"] for r in rows) == ["failed", "ok"]
    failed = next(r for r in rows if r["status"] == "failed")
    assert failed["reason"] == "KernelError: softmax/09_new.cu: block (32, 64) is 2048 threads"
    assert "\n" not in ops.line(failed) and ops.exit_code(rows) == 1


def test_a_size_that_does_not_fit_is_skipped_before_anything_is_allocated():
    case = Case(Op.registry["relu"], shapes.shape("huge", shapes.A((1 << 22, 1 << 22))))
    (row,) = ops.measure(case, [Gpudl("cpu")], Instant())
    assert row["status"] == "skipped" and "GiB" in row["reason"] and ops.exit_code([row]) == 0


def test_every_op_of_the_registry_has_sizes_and_a_cost():
    for name, op in ops.registry().items():
        grid = shapes.grid(op)
        assert grid, f"{name} has no size to be measured at"
        assert len({s.label for s in grid}) == len(grid), f"{name}: two sizes have one label"
        for s in grid:
            cost = Case(op, s).cost
            assert cost.bytes >= 0 and cost.flops >= 0


# An index says which part of x is read, or which part is written; cross-entropy and its like read one value a row.
IN_PART = {"gather", "nll_loss", "take_along", "index_copy", "index_write"}


@pytest.mark.parametrize("name", [n for n in ops.registry() if n not in IN_PART and n not in optimisers.REGISTRY])
def test_a_cost_counts_every_input_and_every_output(name):
    """Inputs once, outputs once; small parameters may be left out, and a mask or places that backward needs may be counted."""
    op = ops.registry()[name]
    case, who = Case(op, min(shapes.grid(op), key=lambda s: s.elements)), Gpudl("cpu")
    outputs = who.collect(who.call(case, case.inputs(0), 0)())
    least = case.input_bytes + sum(o.nbytes for o in outputs if o is not None)
    assert 0.94 * least <= case.cost.bytes <= 1.16 * least


@pytest.mark.parametrize("name", ["matmul", "conv2d", "softmax", "batch_norm", "relu", "sum"])
def test_grids_have_friendly_and_unfriendly_sizes(name):
    tags = set().union(*(s.tags for s in shapes.grid(Op.registry[name])))
    assert {"tiny", "ragged", "large"} <= tags


def test_drawn_arrays_have_the_layout_that_they_say():
    signed = shapes.A((1000,), "signed", 0.25, 1.0).make(np.random.default_rng(0), np.dtype(np.float16))
    assert signed.dtype == np.float16 and 0.25 <= abs(signed).min() < 0.26 and 0.99 < abs(signed).max() <= 1.0 and 400 < (signed < 0).sum() < 600
    a = shapes.A((5, 7), transposed=True).make(np.random.default_rng(0), np.dtype(np.float32))
    assert a.shape == (5, 7) and a.T.flags.c_contiguous
    placed, _, _ = Gpudl("cpu").place(Case(Op.registry["matmul"], shapes.shape("", shapes.A((5, 7)))), Sample(a), False)
    assert placed[0]._array.strides == a.strides and (placed[0]._array == a).all()


def test_opponents_compute_what_gpudl_computes():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    for name in ("matmul", "linear", "conv2d", "conv2d_dgrad", "conv2d_wgrad", "conv2d_relu_max_pool2d", "max_pool2d", "avg_pool2d", "batch_norm_relu",
                 "softmax", "gelu", "where"):  # fmt: skip
        op = Op.registry[name]
        shape = next(s for s in shapes.grid(op) if "tiny" in s.tags)
        players = [Torch(), contestants.Numpy(), Torch(layout="channels_last")]
        for way in ("forward", "backward") if ops.differentiable(op, shape) else ("forward",):
            for row in ops.measure(Case(op, shape, way), players, Instant(), seconds=0.0, timing=False):
                assert row["status"] in ("checked", "skipped"), row


# ----------------------------------------------------------------------------------------------------------------------- optimisers
def step_of(name, *lists, **options):
    lists = lists or ((5, 7), (1,), (4, 3))
    arrays = [shapes.A(s) for s in lists]
    grads = [shapes.A(s, "signed", *optimisers.GRADIENT) for s in lists]
    return Case(optimisers.REGISTRY[name], shapes.shape("some", arrays, grads, grad=False, lr=0.01, **options), "step")


def test_lists_of_parameters_and_what_a_step_moves():
    sizes = {name: (len(found), sum(map(math.prod, found))) for name, found, _ in optimisers.LISTS}
    assert sizes["ResNet-18"] == (62, 11_689_512) and sizes["LeNet"] == (10, 61_706) and sizes["25M in one"] == (1, 25_000_000)
    bytes_each = {(n, *c.shape.kwargs): c.cost.bytes / (c.shape.elements / 2) for n in optimisers.REGISTRY for c in ops.cases([n], "cuda")}
    assert bytes_each == {("sgd", "lr"): 12, ("sgd", "lr", "momentum"): 20, ("adam", "lr"): 28, ("adamw", "lr", "weight_decay"): 28,
                          ("rmsprop", "lr"): 20, ("adagrad", "lr"): 20}  # fmt: skip
    assert all(c.way == "step" for c in ops.cases(optimisers.REGISTRY, "cpu"))
    assert all(ops.ladders_of(o) == list(o.ladders) and o.ladders[0] in kernels.ladders() for o in optimisers.REGISTRY.values())
    assert max(c.cost.bytes for c in ops.cases(["adam"], "cpu")) < 28 * 5e6  # what is larger takes seconds a step on a CPU


@pytest.mark.parametrize("name", list(optimisers.REGISTRY))
def test_optimisers_of_pytorch_are_right_and_have_the_same_state(name):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    case = step_of(name, **optimisers.REGISTRY[name].variants[-1])
    players = [o for o in contestants.opponents("cpu") if "step" in o.ways]
    rows = ops.measure(case, [Gpudl("cpu"), *players], Instant(), {"copy_gb_s": 10.0, "fma_tflop_s": 0.1}, seconds=0.0)
    status = {r["contestant"]: r["status"] for r in rows}
    assert status == dict.fromkeys(("gpudl", "torch fused", "torch foreach", "torch plain"), "ok") | ({"torch fused": "skipped"} if name == "rmsprop" else {})
    ours = next(r for r in rows if not r["opponent"])
    assert ours["way"] == "step" and ours["family"] == "optimiser" and ours["bound"] == "memory" and ours["bytes"] == case.cost.bytes
    assert set(ours["against"]) == {n for n, s in status.items() if s == "ok"} - {"gpudl"}
    json.dumps(records.plain(ours), allow_nan=False)


def test_an_op_has_no_optimisers_among_its_opponents(monkeypatch, tmp_path):
    monkeypatch.setattr(ops, "clock_for", lambda device: Instant())
    monkeypatch.setattr("bench.ceilings.measure", lambda device: {"copy_gb_s": 1.0, "fma_tflop_s": 1.0})
    assert ops.main(["relu", "adam", "--shape", "lenet", "--seconds", "0", "--device", "cpu", "--out", str(tmp_path / "r.json")]) == 0
    who = {op: {r["contestant"] for r in records.load(tmp_path / "r.json")["rows"] if r["op"] == op} for op in ("relu", "adam")}
    assert "gpudl" in who["relu"] & who["adam"] and not {n for n in who["relu"] if n in ("torch fused", "torch foreach")}
    assert "torch" not in who["adam"] and "numpy" not in who["adam"]


SPOILT = {  # what is wrong: what is replaced in the right kernel, and by what
    "right": ("", ""),
    "nan": ("p[i] = T(x - lr * g);", "p[i] = i == 3 ? T(0) / T(0) * x : T(x - lr * g);"),
    "stale": ("p[i] = T(x - lr * g);", ""),
    "dropped_tail": ("i < chunk.elements", "i < chunk.elements - 1"),
    "sign": ("x - lr * g", "x + lr * g"),
    "forgets": ("buf[i] = T(b);", ""),
    "no_momentum": ("momentum * acc_t(buf[i]) + keep * g", "keep * g"),  # right at the first step, and wrong from the second on
    "state_unset": ("chunk.first ? g : momentum * acc_t(buf[i]) + keep * g", "acc_t(0) / acc_t(0) * buf[i]"),
    "weaker": ("x - lr * g", "x - acc_t(0.999) * lr * g"),  # a thousandth of an update
}


@pytest.mark.emulator
def test_wrong_optimisers_get_no_speed(monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "_ladders", dict(kernels._ladders))
    source = (kernels.FOLDER / "sgd" / "step" / "01_multi_tensor.cu").read_text()
    rungs = []
    for name, (old, new) in SPOILT.items():
        assert old in source
        (tmp_path / f"{name}.cu").write_text(source.replace(old, new) if old else source)
        rungs.append(Kernel(str(tmp_path / f"{name}.cu"), grid=lambda chunks: chunks, block=256, BLOCK=256, CHUNK=8192))
    ladder("sgd.step", *rungs, choose=lambda n: "right")
    case = step_of("sgd", (33, 5), (1,), (70,), momentum=0.9)
    rows = ops.measure(case, [Gpudl("emulator"), *contestants.rungs(case, "emulator")], Instant(), seed=3)
    assert {r.get("rung", ""): r["status"] for r in rows} == {"": "checked", **dict.fromkeys(SPOILT, "wrong"), "right": "checked"}
    assert all("ms" not in r and "WRONG" in ops.line(r) for r in rows if r["status"] == "wrong") and ops.exit_code(rows) == 1


def test_parameters_are_judged_together_and_their_states_apart():
    case = step_of("sgd", (4,), (1,), momentum=0.9)
    want = [np.array([1.0, -0.5, 0.25, 0.75]), np.array([1e-9]), np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.5])]
    got = [w.astype(np.float32) for w in want]
    got[1] = got[1] + np.float32(1e-8)  # what rounding leaves of a parameter that was much larger
    assert ops.judge(case, got, want).ok
    assert not ops.judge(case, [got[0], got[1] + np.float32(1e-3), *got[2:]], want).ok
    assert not ops.judge(case, [*got[:3], np.array([np.nan], np.float32)], want).ok
    assert not ops.judge(case, got[:2], want).ok and not ops.judge(case, [*got[:3], np.zeros(2, np.float32)], want).ok


@pytest.mark.parametrize("missed", [0, 1])
def test_a_graph_must_end_where_as_many_steps_end(missed):
    """The very optimiser that was timed is checked: here its graph leaves out a step, as one that baked in what should follow would."""
    case, who, seed = step_of("adam"), Gpudl("cpu"), 5
    sample = case.inputs(seed)
    want = contestants.reference(case, sample, seed)
    runner = who.runner(case, sample, seed, copies=2)
    calls = [runner.calls[i % 2] for i in range(7)]
    timed = clocks.Timed(lambda: [call() for call in calls[missed:]], 7, [call() for call in calls], "graph")
    verdict = ops.recheck(who, case, sample, seed, want, runner, timed, want, Instant())
    assert verdict.ok == (missed == 0), verdict.why
    runner.steps[0].raw[0]._array[0, 0] = np.nan  # whatever it was left in, it is started anew
    assert ops.restarted(who, case, runner, timed, want, Instant()).ok == (missed == 0)


def test_an_optimiser_that_turns_wrong_while_it_is_timed_gets_no_speed():
    class Ageing(Gpudl):
        def step(self, case, sample, dtype=None):
            made = super().step(case, sample, dtype)
            real, done = made.step, []
            made.step = lambda: done.append(real()) or (len(done) > 12 and made.raw[0]._array.fill(0.5))
            return made

    case = step_of("sgd")
    rows = ops.measure(case, [Ageing("cpu")], Instant(), seconds=0.0)
    assert [r["status"] for r in rows] == ["wrong"] and "after it was timed" in rows[0]["reason"] and "ms" not in rows[0]


def test_cases_of_optimisers_reach_the_other_commands(tmp_path):
    from bench import small, structure, tune

    case = step_of("adam", (8193,), (5,))
    (name,) = tune.tunable(case, ["adam.step"]).values()
    assert "n=8192..r" in name and "states=2" in name
    found = {(entry[0], entry[2].op.name) for entry in small.work(["adam.step", "sgd.step"], 1)}
    assert found == {("adam.step", "adam"), ("sgd.step", "sgd")}
    assert structure.one_case_per_ladder(ops.registry())["rmsprop.step"].way == "step"
    (entry,) = structure.launches(case, "adam.step", "02_vector")
    assert entry["grid"][0] == 3 and entry["traffic"] >= 28 * 8198
    from bench import gpu, report

    headline = next(p for p in gpu.parts(tmp_path, False) if p.name == "headline")
    assert "adam" in headline.command and set(optimisers.REGISTRY) <= set(ops.registry())  # the others among "all ops"
    rows = [row(1.0, "adam", family="optimiser", way="step", against={"torch fused": {"ratio": 1.5, "low": 1.4, "high": 1.6, "word": "faster"}})]
    assert "1.50x" in report.overall(rows)


def test_a_compiled_step_is_compiled_for_few_copies():
    pytest.importorskip("torch")
    with pytest.raises(NotImplementedError, match="60 copies"):
        TorchStep(how="foreach", mode="compile").runner(step_of("adam"), step_of("adam").inputs(0), 0, copies=60)


# -------------------------------------------------------------------------------------------------------------------------- records
def test_an_interrupted_run_leaves_valid_json(tmp_path):
    path = tmp_path / "r.json"
    with pytest.raises(KeyboardInterrupt):
        with records.Record(path, "ops", environment={"nan": math.nan}) as record:
            assert json.loads(path.read_text())["complete"] is False  # valid from the first moment on
            record.add({"op": "relu", "ms": {"median": np.float32(1.5)}, "error": math.inf})
            raise KeyboardInterrupt
    data = records.load(path)
    assert data["complete"] is False and data["ended_by"] == "KeyboardInterrupt"
    assert data["rows"] == [{"op": "relu", "ms": {"median": 1.5}, "error": None}]
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_file_that_is_no_record_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json: not JSON"):
        records.load(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(ValueError, match="not a record"):
        records.load(tmp_path / "a.json")


# ------------------------------------------------------------------------------------------------------------------- the command line
def test_unknown_op_is_one_line(capsys):
    assert ops.main(["matmull"]) == 2
    assert capsys.readouterr().err == "bench: no op 'matmull' in the registry; did you mean matmul?\n"


def test_no_gpu_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    assert ops.main(["relu", "--device", "cuda"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("bench: no usable GPU (") and err.count("\n") == 1


def test_no_torch_is_one_line_and_the_rest_goes_on(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(Torch, "missing", lambda self: "PyTorch is not installed")
    monkeypatch.setattr(contestants.Jax, "missing", lambda self: "JAX is not installed")
    monkeypatch.setattr(ops, "clock_for", lambda device: Instant())
    monkeypatch.setattr("bench.ceilings.measure", lambda device: {"copy_gb_s": 1.0, "fma_tflop_s": 1.0})
    assert ops.main(["relu", "--shape", "lenet", "--seconds", "0", "--device", "cpu", "--out", str(tmp_path / "r.json")]) == 0
    out = capsys.readouterr().out
    assert "without torch: PyTorch is not installed" in out
    assert records.load(tmp_path / "r.json")["missing"] == ["PyTorch is not installed", "JAX is not installed"]
    assert out.count("gpudl") >= 2


@pytest.mark.emulator
def test_on_the_emulator_rungs_are_checked_and_not_measured(capsys, tmp_path):
    assert ops.main(["relu", "--device", "emulator", "--out", str(tmp_path / "r.json")]) == 0
    rows = [r for r in records.load(tmp_path / "r.json")["rows"] if r["status"] != "skipped"]
    assert {r["status"] for r in rows} == {"checked"} and all("ms" not in r for r in rows)
    assert {r.get("rung") for r in rows if r["way"] == "forward"} > {"01_naive", "02_flat"}


def test_behind_a_kink_few_values_may_differ_but_none_may_be_missing():
    want = np.random.default_rng(0).normal(size=(100, 1000))
    got = want.astype(np.float32)
    got[3, 4] += 1.0
    assert not check.judge([got], [want], "float32").ok
    assert check.judge([got], [want], "float32", kinked=True).ok
    got[50:60] = 0.0
    assert not check.judge([got], [want], "float32", kinked=True).ok
    got = want.astype(np.float32)
    got[0, 0] = np.nan
    assert not check.judge([got], [want], "float32", kinked=True).ok


# -------------------------------------------------------------------------------------------------- compare, report, lessons, pytest-benchmark
def row(median, op="relu", spread=0.02, noise=0.01, **facts):
    return {
        "op": op, "family": "elementwise", "way": "forward", "shape": "999x1001", "tags": ["ragged"], "dtype": "float32", "contestant": "gpudl",
        "opponent": False,
        "precision": "ieee", "device": "cpu", "status": "ok", "cache": "warm", "noise_floor": noise, "ms": {"median": median, "p20": median * (1 - spread),
        "p80": median * (1 + spread)}, "samples": [median], "bytes": 8e6, "flops": 1e6, "gb_s": 8.0, "tflop_s": 0.001, "share": 0.5, "bound": "memory",
        "error": {"relative": 1e-7, "worst": 0.1}, "launch": "calls", "seed": 1, "against": {},
    } | facts  # fmt: skip


def saved(path, rows, **facts):
    with records.Record(path, "ops", environment={"device": "cpu", "cpu": "some CPU", "threads": 1, "cores": 2} | facts, ceilings={"copy_gb_s": 10.0,
                        "fma_tflop_s": 0.05}, method={}) as record:  # fmt: skip
        for r in rows:
            record.add(r)
    return str(path)


def test_compare_tells_changes_from_noise(tmp_path, capsys):
    from bench import compare

    a = saved(tmp_path / "a.json", [row(1.0), row(1.0, "exp"), row(1.0, "tanh"), row(1.0, "sum"), row(1.0, "cos")])
    b = saved(tmp_path / "b.json", [row(0.5), row(1.03, "exp"), row(1.5, "tanh"), {**row(1.0, "sum"), "status": "wrong", "reason": "1 value"},
                                    row(2.0, "cos", noise=0.8)])  # fmt: skip
    assert compare.main([a, b]) == 1
    out = capsys.readouterr().out
    assert "slower  tanh" in out and "faster  relu" in out and "BROKEN  sum forward 999x1001 float32 [gpudl]: wrong: 1 value" in out
    assert "4 cases in both: 1 faster, 1 slower, 2 within the noise" in out
    assert compare.main([a, a]) == 0 and "0 faster, 0 slower, 5 within" in capsys.readouterr().out


def test_compare_refuses_other_machines_and_files(tmp_path, capsys):
    from bench import compare

    a, b = saved(tmp_path / "a.json", [row(1.0)]), saved(tmp_path / "b.json", [row(1.0)], cpu="another CPU")
    assert compare.main([a, b]) == 2 and "different machines" in capsys.readouterr().err
    assert compare.main([a, str(tmp_path / "none.json")]) == 2 and "none.json" in capsys.readouterr().err


def test_the_page_is_self_contained_and_shows_every_status(tmp_path):
    from bench import report

    rows = [row(1.0, against={"torch": {"ratio": 2.0, "low": 1.9, "high": 2.1, "word": "faster"}}), row(2.0, contestant="torch", opponent=True),
            {**row(1.0, "exp"), "status": "wrong", "reason": "result 0: 3 of 9 values are wrong <b>"},
            {**row(1.0, "cos"), "status": "not measured", "reason": "budget"},
            {**row(1.0, "sin"), "status": "skipped", "reason": "memory: needs 99 GiB"}]  # fmt: skip
    for r in rows[2:]:
        del r["ms"]
    rows += [row(1.0, shape=f"{n}", flops=1e6 * n) for n in range(2, 6)]
    data = records.load(saved(tmp_path / "r.json", rows))
    text = report.page(data)
    for found in ("2.00x", "No GPU took part", "3 of 9 values are wrong &lt;b&gt;", "budget", "needs 99 GiB", "some CPU", "Environment", "Method"):
        assert found in text, found
    import re

    assert not re.findall(r'(?:src|href)=["\']?(?:https?:)?//', text), "something would be loaded from elsewhere"
    assert "<script" not in text
    pytest.importorskip("matplotlib")
    assert text.count("<svg") == 2 == text.count("</svg>")


def test_an_interrupted_record_still_makes_a_page_that_says_so(tmp_path):
    from bench import report

    data = records.load(saved(tmp_path / "r.json", [row(1.0)]))
    data |= {"complete": False, "ended_by": "KeyboardInterrupt"}
    assert "did not end by itself (KeyboardInterrupt)" in report.page(data)


def test_lesson_tables_are_filled_and_stale_ones_found(tmp_path):
    from bench import lessons

    page = tmp_path / "softmax" / "README.md"
    page.parent.mkdir()
    page.write_text("# Softmax\n<!-- bench: softmax.forward -->\nold\n<!-- /bench -->\nend\n")
    assert lessons.stale(None, tmp_path) == [page]
    page.write_text(lessons.fill(page.read_text(), None))
    assert "-->\nNot yet measured on a GPU.\n<!-- /bench -->" in page.read_text() and page.read_text().endswith("end\n")
    assert lessons.stale(None, tmp_path) == []
    rows = [row(m, "softmax", ladder="softmax.forward", rung=r, cache="cold", device="cuda") for r, m in (("01_naive", 1.0), ("02_warp_row", 0.25))]
    data = records.load(saved(tmp_path / "r.json", rows, device="cuda", gpu={"name": "Some GPU"}, commit="abc"))
    assert lessons.stale(data, tmp_path) == [page]
    filled = lessons.fill(page.read_text(), data)
    assert lessons.fill(filled, data) == filled and lessons.mark(filled, ["softmax.forward"]) == filled
    assert lessons.mark(filled, ["softmax.backward"]).count("<!-- bench: ") == 2
    assert "on Some GPU (commit abc)" in filled and "| 0.250 ms |" in filled and "| 03_online |" in filled.replace("  ", " ")


def test_lesson_pages_are_not_stale():
    from bench import lessons

    assert lessons.stale(lessons.newest()) == [], "run: python -m bench lessons"


def test_an_estimate_of_occupancy():
    from bench.structure import occupancy

    assert occupancy(256, 32, 0) == 1.0  # 8 blocks of 8 warps: 2048 threads, 65536 registers
    assert occupancy(256, 128, 8320) == 0.25  # registers: 2 blocks
    assert occupancy(1024, 40, 0) == 0.5  # 40 registers: one block of 32 warps
    assert occupancy(128, 32, 100 * 1024) == 2 * 128 / 2048  # shared memory: two blocks


def test_cases_in_order_of_worth():
    found = ops.by_worth(ops.cases(["relu", "matmul"], "cpu"))
    first = [c.op.name for c in found[:4]]
    assert set(first) == {"relu", "matmul"}
    assert [c.shape.label for c in found if c.op.name == "matmul"][0] == "64x120x400"


# ------------------------------------------------------------------------------------------------------------------------- accumulation
def test_parts_add_up_to_the_number():
    from bench import accumulate as acc

    x = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    for name, left in (("tf32x3", 2.0**-22), ("bf16x6", 2.0**-24), ("bf16x3", 2.0**-16)):
        scheme = acc.SCHEMES[name]
        parts = acc.split(x, scheme)
        assert all((acc.rounded(p, scheme.kind) == p).all() for p in parts)  # each part is exact in the tensor core's type
        assert (np.abs(parts.astype(np.float64).sum(0) - x) <= left * np.abs(x)).all()
    high, low = acc.split(x, acc.SCHEMES["fp16x3 own"])
    assert (np.abs(high.astype(np.float64) + low / acc.LOW_SCALE - x) <= 2.0**-22 * np.abs(x) + 2.0**-35).all()


def test_the_model_truncates_toward_zero_and_promotion_helps():
    from bench import accumulate as acc

    c = acc.model_step(np.array([[1.0]]), np.array([[2.0**-26] * 8]), np.array([[1.0]] * 8))
    assert c[0, 0] == 1.0  # eight terms below the 26 bits that are kept are cut off before they are added
    c = acc.model_step(np.array([[-1.0]]), np.array([[-(2.0**-24), 0.0]]), np.array([[1.0], [1.0]]))
    assert c[0, 0] == -1.0  # the sum is truncated to 24 bits toward zero
    A, B = acc.problems(16, 512, 0)
    want = A.astype(float) @ B.astype(float)
    scheme = acc.SCHEMES["tf32x3"]
    parts = [np.stack([acc.split(x, scheme) for x in given]) for given in (A, B)]
    never, often = (acc.distance(acc.model(*parts, scheme, p), want) for p in (0, 32))
    assert (often * 3 < never).all() and (never < 1e-4).all()


def test_without_a_gpu_accumulate_says_that_it_predicts(tmp_path, capsys, monkeypatch):
    from bench import accumulate

    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    assert accumulate.main(["--K", "64", "--out", str(tmp_path / "a.json")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("PREDICTION") and "nothing here was measured on a GPU" in out
    data = records.load(tmp_path / "a.json")
    assert data["source"] == "prediction" and {r["source"] for r in data["rows"] if r["op"] != "sgemm in order"} == {"prediction"}
    assert accumulate.main(["--K", "100"]) == 2


# ---------------------------------------------------------------------------------------------------------------------------------- make gpu
def test_without_a_gpu_make_gpu_is_one_line(capsys, monkeypatch, tmp_path):
    from bench import gpu

    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    assert gpu.main(["--results", str(tmp_path / "r")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "python -m bench gpu --rehearse" in err and not (tmp_path / "r").exists()


def part(name, code, **facts):
    import sys

    from bench import gpu

    return gpu.Part(name, "a test", 0.1, 0.0, [sys.executable, "-c", code], **facts)


def test_parts_end_in_their_time_and_apart_from_each_other(tmp_path):
    from bench import gpu

    assert gpu.run(part("good", "print('all well')"), 20, tmp_path)["status"] == "done"
    assert gpu.run(part("faults", "raise SystemExit(1)"), 20, tmp_path)["status"] == "found faults"
    assert gpu.run(part("crash", "import os; os.abort()"), 20, tmp_path)["status"] == "failed"
    late = gpu.run(part("late", "import time, sys; print('begun', flush=True); time.sleep(60)", log="tests.log"), 1, tmp_path)
    assert late["status"] == "out of time" and "begun" in (tmp_path / "tests.log").read_text()
    assert gpu.run(gpu.Part("none", "", 0.1, 0.0, ["/no/such/command"]), 5, tmp_path)["status"] == "failed"


def test_a_log_stays_below_its_limit(tmp_path, monkeypatch):
    from bench import gpu

    monkeypatch.setattr(gpu, "LIMIT", 10_000)
    for i in range(30):
        gpu.append(tmp_path / "a.log", f"{i} " + "x" * 500 + "\n")
    text = (tmp_path / "a.log").read_text()
    assert len(text) <= 10_000 and text.startswith("0 ") and "left out" in text and "29 xx" in text


def test_the_parts_write_no_more_than_eight_files_and_the_most_valuable_come_first(tmp_path):
    from bench import gpu

    found = gpu.parts(tmp_path, False)
    assert [p.name for p in found[:3]] == ["first question", "headline", "noise"]
    named = {w.rpartition("/")[2] for p in found for w in p.command if w.endswith((".json", ".log"))} | {p.log for p in found if p.log}
    assert named <= set(gpu.FILES) and len(gpu.FILES) <= 8
    assert sum(p.share for p in found[:-1]) <= 1.2


def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    from bench import gpu, rehearsal

    ran = []
    monkeypatch.setattr(rehearsal, "install", lambda: None)
    monkeypatch.setenv("GPUDL_BENCH_REHEARSAL", "1")
    empty = {"rows": [], "environment": {"cpu": "c", "threads": 1, "cores": 1}, "started": "", "complete": True}
    monkeypatch.setattr(gpu, "gather", lambda *_: empty)
    monkeypatch.setattr(gpu, "parts", lambda folder, rehearse: [part("one", "print(1)"), part("two", "raise SystemExit(3)"), part("three", "print(3)")])
    real = gpu.run
    monkeypatch.setattr(gpu, "run", lambda p, s, f: ran.append(p.name) or real(p, s, f))
    assert gpu.main(["--rehearse", "--results", str(tmp_path)]) == 1
    assert gpu.main(["--rehearse", "--results", str(tmp_path)]) == 1
    assert ran == ["one", "two", "three", "two"]
    assert [r["status"] for r in records.load(tmp_path / "run.json")["rows"]] == ["done", "failed", "done"]
    assert gpu.main(["--rehearse", "--results", str(tmp_path / "late"), "--budget", "1"]) == 0
    assert {r["status"] for r in records.load(tmp_path / "late" / "run.json")["rows"]} == {"not started"}


@pytest.mark.emulator
def test_the_path_of_a_gpu_is_rehearsed(tmp_path):
    """Events, graphs, rotation, poisoned graph outputs: in a process of its own, since the stand-in takes CuPy's place."""
    import os
    import subprocess
    import sys

    env = {**os.environ, "GPUDL_BENCH_REHEARSAL": "1", "PYTHONPATH": str(records.ROOT)}
    out = tmp_path / "r.json"
    command = [sys.executable, "-m", "bench", "softmax", "adam", "--device", "cuda", "--seconds", "0", "--no-opponents", "--out", str(out)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=records.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    data = records.load(out)
    rows = [r for r in data["rows"] if r["status"] != "skipped"]  # a rung that does not take so small a size
    assert data["rehearsal"] and {r["status"] for r in rows} == {"checked"} and not any("ms" in r for r in rows)
    assert {r.get("launch") for r in rows} == {"graph"} and {r.get("cache") for r in rows} >= {"cold", "warm"}
    assert {r.get("rung") for r in rows} >= {None, "01_naive", "02_warp_row"}
    assert {r.get("rung") for r in rows if r["op"] == "adam"} == {None, *(k.name for k in kernels.ladder("adam.step"))}


def test_a_page_of_a_gpu_has_ladders_and_fills_the_kernels_columns(tmp_path):
    pytest.importorskip("matplotlib")
    from bench import pictures, report

    facts = {"device": "cuda", "ladder": "softmax.forward", "cache": "cold", "op": "softmax"}
    rows = [row(m, rung=r, contestant=f"gpudl forward/{r}", **facts) for r, m in (("01_naive", 1.0), ("02_warp_row", 0.25), ("03_online", 0.2))]
    rows.append({**row(0.3, contestant="torch graph", opponent=True, **facts), "ladder": None})
    picture = pictures.ladder_bars(rows, "softmax.forward", tmp_path / "pictures")
    assert picture.count("<svg") == 1 and "softmax.forward at 999x1001 (cold L2)" in picture and "torch graph" in picture
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["ladder-softmax.forward.png", "ladder-softmax.forward.svg"]
    data = records.load(saved(tmp_path / "r.json", rows, device="cuda", gpu={"name": "Some GPU"}))
    data["kernels"] = [{"ladder": "softmax.forward", "rung": r, "shape": "7x3", "launches": 1, "grid": [1, 1, 1], "block": [32, 1, 1], "traffic": 3.0,
                        "floor": 2.0, "registers": 32, "shared": 0, "spills": 0, "occupancy": 0.5} for r in ("02_warp_row", "04_next")]  # fmt: skip
    text = report.page(data)
    assert "gpudl on Some GPU" in text and "No GPU took part" not in text and "0.250 ms" in text and "1.50x" in text
    assert text.count("not measured") >= 2  # rung 04 has no measurement


def test_halves_are_held_against_tensor_cores():
    ceilings = {"copy_gb_s": 4000.0, "fma_tflop_s": 60.0, "wgmma_bf16_tflop_s": 800.0, "mma_bf16_tflop_s": 500.0}
    matmul = Op.registry["matmul"]
    for dtype, want in (("float32", 60.0), ("bfloat16", 800.0)):
        case = Case(matmul, shapes.shape("big", shapes.A((4096, 4096)), shapes.A((4096, 4096))), dtype=dtype)
        found = ops.share(case.cost, 1.0, ceilings, case)
        assert found["bound"] == "compute" and found["share"] == pytest.approx(2 * 4096**3 / want / 1e9)
    case = Case(Op.registry["relu"], shapes.shape("big", shapes.A((4096, 4096))), dtype="bfloat16")
    assert ops.share(case.cost, 1.0, ceilings, case)["bound"] == "memory"


def test_ratios_of_a_crowded_machine_are_not_quoted(tmp_path):
    from bench import report

    data = records.load(saved(tmp_path / "r.json", [row(1.0, against={"torch": {"ratio": 9.0, "low": 8.0, "high": 10.0, "word": "faster"}})]))
    data["environment"] |= {"threads": 2, "cores": 2}
    assert "geometric mean against torch" in report.page(data | {"shared": 0.01})
    crowded = report.page(data | {"shared": 0.6})
    assert "No ratio of this run may be quoted" in crowded and "geometric mean against torch" not in crowded
    data["environment"]["threads"] = 1
    assert "The machine was shared" in report.page(data | {"shared": 0.6}) and "may be quoted" not in report.page(data | {"shared": 0.6})
