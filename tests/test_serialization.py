"""save and load: what goes in comes out, a failed save leaves the old file, a bad file is named."""

import collections
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap

import ml_dtypes
import numpy as np
import pytest

import gpudl
from gpudl import _files, _serialization
from gpudl._serialization import CheckpointError

RNG = np.random.default_rng(0)
FLOATS = [gpudl.float64, gpudl.float32, gpudl.float16, gpudl.bfloat16]
DTYPES = [*FLOATS, gpudl.int64, gpudl.int32, gpudl.int16, gpudl.int8, gpudl.uint8, np.dtype(bool)]


def round_trip(obj):
    file = io.BytesIO()
    gpudl.save(obj, file)
    file.seek(0)
    return gpudl.load(file)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3, 4)], ids=str)
def test_every_dtype_and_shape(dtype, shape, tmp_path):
    array = np.asarray(RNG.normal(size=shape) * 3).astype(dtype)
    path = tmp_path / "x.safetensors"
    gpudl.save({"x": gpudl.from_numpy(array)}, path)
    x = gpudl.load(path)["x"]
    assert isinstance(x, gpudl.Tensor) and x.dtype == dtype and tuple(x.shape) == shape and not x.requires_grad
    assert x.numpy().tobytes() == array.tobytes()  # bit for bit


def test_special_values_bit_for_bit():
    array = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324])
    assert round_trip(gpudl.from_numpy(array)).numpy().tobytes() == array.tobytes()


def test_views_and_strides():
    base = gpudl.from_numpy(np.arange(24.0).reshape(4, 6))
    array = np.arange(24.0).reshape(4, 6)
    out = round_trip([gpudl.from_numpy(array.T), gpudl.from_numpy(array[::-2, 1::3]), array[:, ::-1], base])
    for got, want in zip(out, [array.T, array[::-2, 1::3], array[:, ::-1], array], strict=True):
        np.testing.assert_array_equal(np.asarray(got), want)


def test_plain_values():
    tree = {
        "epoch": 3, "lr": 0.1 + 0.2, "name": "ünïcode \n", "none": None, "flag": True, "big": 2**70,
        "inf": float("inf"), "nan": float("nan"), "betas": (0.9, 0.999), "list": [1, [2, (3,)], {}],
        "state": {0: {"step": 1}, 1: {"step": 2}}, "": "empty key", "dict": {"tensor": "t"},
    }  # fmt: skip
    out = round_trip(tree)
    assert np.isnan(out.pop("nan")) and np.isnan(tree.pop("nan"))
    assert out == tree and type(out["betas"]) is tuple and type(out["flag"]) is bool and list(out) == list(tree)
    for value in (None, 3, "x", [], (), {}):
        assert round_trip(value) == value


def test_arrays_and_scalars_stay_numpy():
    out = round_trip({"a": np.arange(3, dtype=np.uint16), "s": np.float32(2.5), "b": ml_dtypes.bfloat16(1.5)})
    assert type(out["a"]) is np.ndarray and out["a"].dtype == np.uint16
    assert type(out["s"]) is np.float32 and out["s"] == 2.5
    assert out["b"].dtype == ml_dtypes.bfloat16 and out["b"] == 1.5
    out["a"][0] = 7  # writable


def test_one_tensor_twice_is_stored_once_and_loaded_as_one():
    x = gpudl.tensor(np.ones((100, 100)))
    file = io.BytesIO()
    gpudl.save({"encoder": x, "decoder": [x]}, file)
    assert len(file.getvalue()) < 2 * 80_000
    file.seek(0)
    out = gpudl.load(file)
    assert out["encoder"] is out["decoder"][0]


def test_names_that_collide():
    a, b = gpudl.tensor([1.0]), gpudl.tensor([2.0])
    out = round_trip({"a.b": a, "a": {"b": b}})
    assert out["a.b"].tolist() == [1.0] and out["a"]["b"].tolist() == [2.0]


def test_requires_grad_and_parameters():
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    p, frozen = gpudl.nn.Parameter(gpudl.tensor([3.0])), gpudl.nn.Parameter(gpudl.tensor([4.0]), requires_grad=False)
    out = round_trip({"x": x, "y": x * 2, "p": p, "frozen": frozen})
    assert out["x"].requires_grad and out["x"].is_leaf and out["y"].is_leaf
    assert type(out["p"]) is gpudl.nn.Parameter and out["p"].requires_grad
    assert type(out["frozen"]) is gpudl.nn.Parameter and not out["frozen"].requires_grad


def test_model_and_optimiser_resume_exactly(tmp_path):
    """Five steps at once equal two steps, save, load into new objects, three steps: bit for bit."""
    from gpudl import nn

    def make():
        gpudl.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
        return model, gpudl.optim.Adam(model.parameters(), lr=0.05)

    x, y = gpudl.tensor(RNG.normal(size=(8, 3)).astype(np.float32)), gpudl.tensor(RNG.integers(0, 2, 8))

    def train(model, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    model, optimizer = make()
    train(model, optimizer, 5)
    half, half_optimizer = make()
    train(half, half_optimizer, 2)
    path = tmp_path / "checkpoint.safetensors"
    gpudl.save({"model": half.state_dict(), "optimizer": half_optimizer.state_dict(), "epoch": 2}, path)
    resumed, resumed_optimizer = make()
    checkpoint = gpudl.load(path)
    resumed.load_state_dict(checkpoint["model"])
    resumed_optimizer.load_state_dict(checkpoint["optimizer"])
    train(resumed, resumed_optimizer, 3)
    for (name, a), (_, b) in zip(model.state_dict().items(), resumed.state_dict().items(), strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes(), name


def test_checkpoint_of_another_model(tmp_path):
    from gpudl import nn

    gpudl.save(nn.Sequential(nn.Linear(2, 3)).state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(RuntimeError, match=r"(?s)(?=.*1\.weight)(?=.*1\.bias)"):
        nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).load_state_dict(gpudl.load(tmp_path / "m.safetensors"))


def test_ordered_dict_is_a_dict():
    assert round_trip(collections.OrderedDict(a=1)) == {"a": 1}


def test_other_programs_read_ours_and_we_theirs(tmp_path):
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "m.safetensors"
    gpudl.save({"model": {"conv.weight": gpudl.tensor([[1.0, 2.0]])}, "epoch": 1}, path)
    theirs = load_file(path)
    assert list(theirs) == ["model.conv.weight"] and theirs["model.conv.weight"].tolist() == [[1.0, 2.0]]
    save_file({"w": np.arange(4, dtype=np.int32)}, path)
    ours = gpudl.load(path)
    assert list(ours) == ["w"] and isinstance(ours["w"], gpudl.Tensor) and ours["w"].tolist() == [0, 1, 2, 3]


def test_map_location(tmp_path):
    gpudl.save([gpudl.tensor([1.0])], tmp_path / "x")
    assert gpudl.load(tmp_path / "x", map_location="cpu")[0].device.type == "cpu"
    with pytest.raises(RuntimeError, match="'nonsense' is not known"):
        gpudl.load(tmp_path / "x", map_location="nonsense")


# ---------------------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"model": {"f": [1, len]}}, r"save: model\.f\.1 is a builtin_function_or_method; save takes tensors"),
        (object(), r"save: the object is a object"),
        ({"a": {(1, 2): 3}}, r"save: a has the key \(1, 2\); keys must be strings or numbers"),
        ({"a": np.array([1j])}, r"save: a has dtype complex128"),
        ({"a": np.array(["x"])}, r"save: a has dtype <U1"),
        ({"a": {1, 2}}, r"save: a is a set"),
    ],
)
def test_what_cannot_be_saved(obj, message, tmp_path):
    path = tmp_path / "x.safetensors"
    gpudl.save(1, path)
    with pytest.raises(TypeError, match=message):
        gpudl.save(obj, path)
    assert gpudl.load(path) == 1 and os.listdir(tmp_path) == ["x.safetensors"]


def test_a_module_is_not_a_state_dict(tmp_path):
    with pytest.raises(TypeError, match=r"is a Linear; .*\.state_dict\(\)"):
        gpudl.save(gpudl.nn.Linear(1, 1), tmp_path / "x")


def good_bytes():
    file = io.BytesIO()
    gpudl.save({"w": gpudl.tensor(np.arange(50.0)), "epoch": 1}, file)
    return file.getvalue()


@pytest.mark.parametrize("damage", [
    lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b[:5], lambda b: b"", lambda b: b"hello world " * 9,
    lambda b: b[:9] + b"\xff" * 20 + b[29:], lambda b: b + b"\0", lambda b: b"\xff" * 8 + b[8:],
])  # fmt: skip
def test_damaged_file(damage, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(damage(good_bytes()))
    message = r"load: .*bad\.safetensors is not a whole safetensors file \(\d+ bytes; .*save or copy it again"
    with pytest.raises(CheckpointError, match=message):
        gpudl.load(path)


def test_damaged_description(tmp_path):
    from safetensors.numpy import save_file

    for text in ('{"tensor": "gone", "requires_grad": false}', "{", '{"unknown": 1}'):
        save_file({"w": np.ones(2)}, tmp_path / "x", metadata={"gpudl": text})
        with pytest.raises(CheckpointError, match="description of the contents is damaged"):
            gpudl.load(tmp_path / "x")


def test_pickles_are_not_loaded(tmp_path):
    (tmp_path / "x").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(CheckpointError, match="looks like a file of torch.save"):
        gpudl.load(tmp_path / "x")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="load: cannot read .*nothing: No such file"):
        gpudl.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="save: cannot write .*nofolder.*: the folder does not exist; make it first"):
        gpudl.save(1, tmp_path / "nofolder" / "x")
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        gpudl.save(1, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="save: cannot write"):
        gpudl.save(1, tmp_path / "file" / "x")


def test_unwritable_folder(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_files.tempfile, "mkstemp", refuse)  # file modes do not stop root, under which CI may run
    with pytest.raises(PermissionError, match="save: cannot write .*x: Permission denied"):
        gpudl.save(1, tmp_path / "x")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch, error, where):
    path = tmp_path / "x.safetensors"
    gpudl.save({"epoch": 1}, path)

    def fail(*_):
        raise error

    if where == "write":
        real = os.fdopen
        monkeypatch.setattr(_files.os, "fdopen", lambda *a: _Failing(real(*a), fail))
    else:
        monkeypatch.setattr(_files.os, where, fail)
    kind, message = (KeyboardInterrupt, None) if error is KeyboardInterrupt else (OSError, "x.safetensors: No space left")
    with pytest.raises(kind, match=message):
        gpudl.save({"epoch": 2}, path)
    monkeypatch.undo()
    assert gpudl.load(path) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["x.safetensors"]


class _Failing:
    """A file whose write fails after half the bytes."""

    def __init__(self, file, fail):
        self.file, self.fail = file, fail

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[: len(content) // 2])
        self.fail()


def test_ctrl_c_again_and_again(tmp_path):
    """A process that saves in a loop is interrupted by a real SIGINT: the file is whole, and no other file is left."""
    path = tmp_path / "x.safetensors"
    code = textwrap.dedent(f"""
        import signal, numpy as np, gpudl
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background is started with it ignored
        for i in range(10**9):
            gpudl.save({{"i": i, "x": np.full(300_000, float(i))}}, {str(path)!r})
            if i == 1: print("ready", flush=True)
    """)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    out = gpudl.load(path)
    assert (out["x"] == out["i"]).all() and os.listdir(tmp_path) == ["x.safetensors"]


def test_new_files_have_ordinary_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        gpudl.save(1, tmp_path / "x")
        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640
        os.chmod(tmp_path / "x", 0o600)
        gpudl.save(2, tmp_path / "x")
        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(old)


def test_the_description_is_plain_json(tmp_path):
    content = good_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"][_serialization._KEY])["dict"][1] == ["epoch", 1]
