"""Measured dispatch: what a table says is launched, stale and damaged tables are not, and `python -m bench tune` writes what it measured.

No test reads a clock: times are given by the name of the rung that ran.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import types
import warnings

import fake_cupy
import numpy as np
import pytest

import gpudl
from bench import clocks, ops, records, shapes, tune
from bench.contestants import Case
from gpudl import _tuning, kernels
from gpudl._files import cache_folder
from gpudl.autograd import Op

GPU = "Test GPU 3000"
SCALARS = {"M": 4, "N": 37}
CLASS = _tuning.shape_class(SCALARS, gpudl.float32)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of one's own, and a GPU of that name behind every kernel device."""
    monkeypatch.setattr(_tuning, "cache_folder", lambda *parts: tmp_path.joinpath("cache", *parts))
    monkeypatch.delenv("GPUDL_TUNED", raising=False)
    monkeypatch.setattr(_tuning, "gpu_name", lambda device: GPU)
    monkeypatch.setattr(_tuning, "SHIPPED", tmp_path / "shipped")
    _tuning.forget()
    yield tmp_path
    monkeypatch.undo()
    _tuning.forget()


def chosen(M: int = 4, N: int = 37) -> str:
    """The rung that a softmax of M rows of N runs on the emulator."""
    before = {k.name: k.launches for k in kernels.ladder("softmax.forward")}
    gpudl.softmax(gpudl.ones(M, N, device="emulator"), -1)
    (ran,) = [k.name for k in kernels.ladder("softmax.forward") if k.launches > before[k.name]]
    return ran


def entry(rung: str) -> dict:
    return {"softmax.forward": {CLASS: {"rung": rung, "over_rule": 1.5, "cases": 1}}}


def test_classes_of_shapes() -> None:
    def name(dtype=gpudl.float32, **scalars):
        return _tuning.shape_class(scalars, dtype)

    assert name(M=1000, N=1024, eps=1e-5, flag=True) == "float32 M=512..r N=1024.. flag=1"
    assert name(M=1024) == name(M=1040) == name(M=2032) != name(M=2048)
    assert name(M=1024) != name(M=1025) == name(M=1111)
    assert len({name(R=n) for n in range(16)}) == 16 and name(R=-20) == "float32 R=-16..r"
    assert name(gpudl.float64, M=4) != name(M=4) == name(M=np.int64(4))
    assert name(dims=kernels.dims((4, 5), np.zeros((5, 4)).T)) == "float32 dims=2d"


@pytest.mark.emulator
def test_the_table_comes_before_the_rule_and_only_for_its_class() -> None:
    assert chosen() == "03_online"
    _tuning.save(_tuning.user_path(GPU), GPU, entry("01_naive"))
    assert chosen() == "01_naive" and chosen(M=5) == "03_online"
    with _tuning.off():
        assert chosen() == "03_online"
    with kernels.use("softmax.forward", "02_warp_row"):
        assert chosen() == "02_warp_row"
    _tuning.save(_tuning.user_path(GPU), GPU, entry("04_block_row"))  # which takes rows of 256 and more
    assert chosen() == "03_online"


@pytest.mark.emulator
def test_the_users_table_comes_before_the_shipped_one_and_both_can_be_ignored(monkeypatch) -> None:
    _tuning.save(_tuning.shipped_path(GPU), GPU, entry("01_naive"))
    assert chosen() == "01_naive"
    _tuning.save(_tuning.user_path(GPU), GPU, entry("02_warp_row"))
    assert chosen() == "02_warp_row"
    monkeypatch.setenv("GPUDL_TUNED", "0")
    _tuning.forget()
    assert chosen() == "03_online"


@pytest.mark.emulator
def test_a_table_of_other_sources_or_another_gpu_is_ignored_in_silence(monkeypatch) -> None:
    path = _tuning.user_path(GPU)
    with monkeypatch.context() as m:
        m.setattr(_tuning, "source_hash", lambda: "0123456789abcdef")
        assert _tuning.user_path(GPU) != path  # the key is in the name
        _tuning.save(path, GPU, entry("01_naive"))
        _tuning.save(_tuning.shipped_path(GPU), GPU, entry("01_naive"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen() == "03_online"
        _tuning.save(path, "Another GPU", entry("01_naive"))
        assert chosen() == "03_online"


@pytest.mark.emulator
@pytest.mark.parametrize("text", ["{", "[1]", '{"schema": 1}', b"\xff\xfe", None, {"rung": "99_none"}, {"rung": 3}, "no entry"])
def test_a_damaged_table_is_one_warning_and_the_rule(text) -> None:
    path = _tuning.user_path(GPU)
    _tuning.save(path, GPU, entry("01_naive") if not isinstance(text, dict) else {"softmax.forward": {CLASS: text}})
    whole = path.read_text()
    if isinstance(text, bytes):
        path.write_bytes(text)
    elif text is None:
        path.write_text(whole[: len(whole) // 2])
    elif text == "no entry":
        path.write_text(json.dumps(json.loads(whole) | {"ladders": {"softmax.forward": {CLASS: "01_naive"}}}))
    elif isinstance(text, str):
        path.write_text(text)
    _tuning.forget()
    with pytest.warns(UserWarning, match="is not a table of measured rungs .* Delete it, or write a new one: python -m bench tune") as caught:
        assert chosen() == chosen(N=38) == chosen() == "03_online"
    assert len(caught) == 1 and str(path) in str(caught[0].message)


def test_a_table_is_written_whole_or_not_at_all(cache) -> None:
    path = _tuning.user_path(GPU)
    _tuning.save(path, GPU, entry("01_naive"))
    before = path.read_bytes()
    with pytest.raises(ValueError):
        _tuning.save(path, GPU, {"softmax.forward": {CLASS: {"rung": "01_naive", "over_rule": float("nan")}}})
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.emulator
def test_determinism_outranks_the_table() -> None:
    def backward() -> str:
        x = gpudl.ones(1, 1, 6, 6, device="emulator", requires_grad=True)
        before = {k.name: k.launches for k in kernels.ladder("max_pool2d.backward")}
        gpudl.nn.functional.max_pool2d(x, 3, 1).sum().backward()
        (ran,) = [k.name for k in kernels.ladder("max_pool2d.backward") if k.launches > before[k.name]]
        return ran

    usual = backward()
    seen: list[str] = []
    real = _tuning.shape_class
    atomic = next(k.name for k in kernels.ladder("max_pool2d.backward") if not k.deterministic)
    assert usual != atomic
    with pytest.MonkeyPatch.context() as m:
        m.setattr(_tuning, "shape_class", lambda *a: seen.append(real(*a)) or seen[-1])
        _tuning.save(_tuning.user_path(GPU), GPU, {"max_pool2d.backward": {"-": {"rung": atomic}}})
        backward()
    _tuning.save(_tuning.user_path(GPU), GPU, {"max_pool2d.backward": {seen[-1]: {"rung": atomic}}})
    assert backward() == atomic
    gpudl.use_deterministic_algorithms(True)
    try:
        assert backward() == usual
    finally:
        gpudl.use_deterministic_algorithms(False)


# ------------------------------------------------------------------------------------------------------------------------ the decision
def rows(shape: str, **ms: float) -> list[dict]:
    """The rule's row ("rule") and those of rungs, with samples around these times."""
    rng = random.Random(shape)
    base = {"op": "softmax", "way": "forward", "shape": shape, "dtype": "float32", "status": "ok", "opponent": False, "cache": "cold",
            "noise_floor": 0.01, "ladder_of": "softmax.forward"}  # fmt: skip
    return [base | {"samples": [t * math_exp(rng) for _ in range(12)], **({} if name == "rule" else {"ladder": "softmax.forward", "rung": name})}
            for name, t in ms.items()]  # fmt: skip


def math_exp(rng: random.Random) -> float:
    return float(np.exp(rng.gauss(0, 0.004)))


def decide(found: list[dict]) -> dict:
    return tune.decide(found, lambda row, ladder: "class A")["softmax.forward"]


def test_the_fastest_rung_wins_where_it_beats_the_rule() -> None:
    best = decide(rows("4x37", **{"rule": 1.0, "01_naive": 2.0, "02_warp_row": 0.8, "03_online": 0.5}))["class A"]
    assert best["rung"] == "03_online" and best["over_rule"] == pytest.approx(2.0, rel=0.02) and best["cases"] == 1


def test_a_tie_keeps_the_rule() -> None:
    assert decide(rows("4x37", **{"rule": 1.0, "01_naive": 2.0, "03_online": 0.998})) == {"class A": None}


def test_a_rung_must_lose_in_no_case_of_its_class() -> None:
    one, other = {"rule": 1.0, "02_warp_row": 0.7, "03_online": 0.5}, {"rule": 1.0, "02_warp_row": 0.9, "03_online": 1.2}
    assert decide(rows("4x37", **one) + rows("5x37", **other))["class A"]["rung"] == "02_warp_row"


def test_wrong_rows_and_opponents_do_not_count() -> None:
    found = rows("4x37", **{"rule": 1.0, "02_warp_row": 0.7, "03_online": 0.5})
    found[2] |= {"status": "wrong"}
    found.append(found[1] | {"opponent": True, "samples": [0.01] * 12})
    assert decide(found)["class A"]["rung"] == "02_warp_row"


def test_new_measurements_replace_old_ones_and_the_rest_stays() -> None:
    old = {"a": {"one": {"rung": "x"}, "two": {"rung": "y"}}, "b": {"three": {"rung": "z"}}}
    new = {"a": {"one": {"rung": "w"}, "two": None}, "b": {"three": None}}
    assert tune.merged(old, new) == {"a": {"one": {"rung": "w"}}}


def test_the_class_of_a_case_is_that_of_its_launch() -> None:
    case = Case(Op.registry["softmax"], shapes.shape("4x37", shapes.A((4, 37)), dim=-1))
    assert tune.tunable(case) == {"softmax.forward": CLASS}
    assert tune.tunable(case, ["matmul.forward"]) == {} and tune.tunable(case, ["softmax"]) == tune.tunable(case)
    column = Case(Op.registry["sum"], shapes.shape("", shapes.A((4096, 32))))
    assert tune.tunable(column)["reduce.forward"] != tune.tunable(column, (), 90, 132)["reduce.forward"]  # as many pieces as the GPU can take
    product = Case(Op.registry["matmul"], shapes.shape("", shapes.A((64, 32)), shapes.A((32, 500))), "backward")
    assert len(tune.classes(product)["matmul.forward"]) == 2 and "matmul.forward" not in tune.tunable(product)  # which of the two was timed?


# ------------------------------------------------------------------------------------------------------------------------- the command
def test_without_a_gpu_it_says_what_can_be_done(capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert tune.main([]) == 2
    err = capsys.readouterr().err
    assert err.startswith("bench tune: no usable GPU (") and "--rehearse" in err and err.count("\n") == 1
    assert tune.main(["softmaxx"]) == 2
    assert "no op 'softmaxx' in the registry; did you mean softmax" in capsys.readouterr().err


class ByRung(clocks.HostClock):
    """A clock whose reading is given by the rung that ran."""

    device = "cuda"
    MS = {"01_naive": 4.0, "02_warp_row": 0.5, "03_online": 1.0}

    def __init__(self) -> None:
        self.rng = random.Random(0)

    def sample(self, timed, repeats):
        ladder = kernels.ladder("softmax.forward")
        before = [k.launches for k in ladder]
        timed.once()
        ran = [k.name for k, b in zip(ladder, before, strict=True) if k.launches > b]
        return self.MS.get(ran[0], 2.0) * (1 + 0.001 * self.rng.random())


@pytest.fixture
def card(monkeypatch):
    """A GPU that is none: fake_cupy, a clock that reads names, one case."""
    fake_cupy.install(monkeypatch)
    fake = sys.modules["cupy"]
    fake.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None, free_bytes=lambda: 0)
    monkeypatch.setattr(ops, "clock_for", lambda device: ByRung())
    monkeypatch.setattr(ops, "l2_bytes", lambda device: 0)
    monkeypatch.setattr(ops, "available", lambda device: 1 << 30)
    case = Case(Op.registry["softmax"], shapes.shape("4x37", shapes.A((4, 37)), dim=-1))
    monkeypatch.setattr(ops, "cases", lambda *args, **kwargs: [case])


@pytest.mark.emulator
def test_measured_written_and_launched(card, capsys, tmp_path) -> None:
    out = tmp_path / "r.json"
    assert tune.main(["softmax", "--seconds", "0", "--ship", "--out", str(out)]) == 0
    path = _tuning.user_path(GPU)
    data = json.loads(path.read_text())
    assert data["gpu"] == GPU and data["sources"] == _tuning.source_hash() and "made" in data
    found = data["ladders"]["softmax.forward"][CLASS]
    assert found["rung"] == "02_warp_row" and found["over_rule"] == pytest.approx(2.0, rel=0.01)
    assert json.loads(_tuning.shipped_path(GPU).read_text())["ladders"] == data["ladders"]
    assert "in 1 of them a rung beats" in capsys.readouterr().out
    assert chosen() == "02_warp_row"  # the emulator has this GPU's name here
    assert records.load(out)["sources"] == _tuning.source_hash()
    assert tune.main(["--show"]) == 0
    assert "02_warp_row" in capsys.readouterr().out


@pytest.mark.emulator
def test_interrupted_it_writes_what_it_has(card, monkeypatch, capsys) -> None:
    case = ops.cases()[0]
    another = Case(case.op, shapes.shape("5x37", shapes.A((5, 37)), dim=-1))
    monkeypatch.setattr(ops, "cases", lambda *args, **kwargs: [case, another])
    real = ops.measure

    def measure(case, *rest, **more):
        if case is another:
            raise KeyboardInterrupt
        return real(case, *rest, **more)

    monkeypatch.setattr(ops, "measure", measure)
    assert tune.main(["softmax", "--seconds", "0"]) == 130
    assert list(json.loads(_tuning.user_path(GPU).read_text())["ladders"]["softmax.forward"]) == [CLASS]


@pytest.mark.emulator
def test_a_table_from_a_record(card, capsys, tmp_path) -> None:
    path = tmp_path / "ops.json"
    facts = {"environment": {"gpu": {"name": GPU}}, "sources": _tuning.source_hash(), "multiprocessors": [90, 4]}
    with records.Record(path, "ops", **facts) as record:
        for row in rows("4x37", **{"rule": 1.0, "01_naive": 0.5, "02_warp_row": 2.0}):
            del row["ladder_of"]
            record.add(row)
    assert tune.main(["--record", str(path)]) == 0
    assert json.loads(_tuning.user_path(GPU).read_text())["ladders"] == {
        "softmax.forward": {CLASS: {"rung": "01_naive", "over_rule": pytest.approx(2.0, rel=0.02), "cases": 1}}
    }
    data = json.loads(path.read_text())
    for change, message in (
        ({"sources": "old"}, "measured with other kernels"), ({"environment": {}}, "not measured on a GPU"), ({"rehearsal": True}, "not measured"),
        ({"tuned": 3}, "its rule's rows ran what a table named"), ({"multiprocessors": None}, "how many multiprocessors"),
    ):  # fmt: skip
        path.write_text(json.dumps(data | change))
        assert tune.main(["--record", str(path)]) == 2
        assert message in capsys.readouterr().err
    assert tune.main(["--record", str(tmp_path / "none.json")]) == 2


@pytest.mark.emulator
def test_a_rehearsal_runs_everything_and_writes_no_table(tmp_path) -> None:
    env = {**os.environ, "PYTHONPATH": str(records.ROOT)}
    folder = cache_folder("tuned")
    before = sorted(folder.glob("*"))
    command = [sys.executable, "-m", "bench", "tune", "softmax.forward", "--rehearse", "--seconds", "0", "--out", str(tmp_path / "r.json")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=records.ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was measured, no table is written" in done.stdout
    assert sorted(folder.glob("*")) == before
    data = records.load(tmp_path / "r.json")
    assert {r["status"] for r in data["rows"]} <= {"checked", "skipped"} and not any("ms" in r or "samples" in r for r in data["rows"])
