"""The examples run from beginning to end on a little data: what they print, what they draw, that they repeat."""

from __future__ import annotations

import gzip
import re
import runpy
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

import gpudl

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")
FOLDER = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run an example as a script; gives what it printed and its folder of pictures."""

    def go(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments), "--output", str(tmp_path / "new" / "folder")])
        runpy.run_path(str(FOLDER / name), run_name="__main__")
        return capsys.readouterr(), tmp_path / "new" / "folder"

    yield go
    import matplotlib.pyplot as plt

    plt.close("all")


def check_picture(path, said):
    """A PNG of some size that is not one flat colour, and the output says where it lies."""
    import matplotlib.image

    pixels = matplotlib.image.imread(path)
    assert pixels.shape[0] > 200 and pixels.shape[1] > 400 and pixels.std() > 0.01
    assert str(path.resolve()) in said


def accuracies(said):
    return [float(x) / 100 for x in re.findall(r"accuracy\s+(\d+\.?\d*)%", said)]


def test_xor(run):
    (said, bar), out = run("xor.py", "--epochs", 600)
    check_picture(out / "xor.png", said)
    linear, network = [line for line in said.splitlines() if "training: loss" in line]
    assert linear.startswith("logistic regression") and network.startswith("2-2-1 network")
    assert max(accuracies(linear)) < 0.8, "a line cannot separate the classes"
    assert min(accuracies(network)) > 0.95
    assert "epoch" in bar and "100%" in bar


def test_xor_without_activation_fails(run):
    (said, _), _ = run("xor.py", "--epochs", 200, "--activation", "none", "--hidden", 8, "--starts", 1)
    assert max(accuracies(said.splitlines()[-2])) < 0.8 and "8-1 network" in said


def test_half_moons(run):
    (said, bar), out = run("half_moons.py", "--epochs", 30)
    check_picture(out / "half_moons.png", said)
    train, validation, test = accuracies(said)
    assert min(train, validation, test) > 0.9 and "epoch" in bar


@pytest.mark.parametrize(
    "options",
    [
        "--activation none --hidden 4 4",
        "--weight-decay 0.01 --dropout 0.5 --hidden 8",
        "--optimizer momentum --lr 0.1 --batch-norm --residual --hidden 8 8 8 --activation tanh",
        "--optimizer sgd --hidden",
        "--epochs 0",
        "--last",
    ],
)
def test_half_moons_options(run, options):
    (said, _), out = run("half_moons.py", "--epochs", 2, "--train", 50, *options.split())
    check_picture(out / "half_moons.png", said)
    assert len(accuracies(said)) == 3


def test_digits(run):
    (said, bar), out = run("digits.py", "--epochs", 2, "--train", 300)
    check_picture(out / "digits_curves.png", said)
    check_picture(out / "digits_mistakes.png", said)
    assert re.search(r"train +300 images.*\n *validation +359 images.*\n *test +360 images", said)
    assert len(accuracies(said)) == 3 and all(0.1 < a <= 1 for a in accuracies(said)) and "epoch" in bar


def test_digits_repeats_with_its_seed(run):
    results = [run("digits.py", "--epochs", 1, "--train", 128, "--seed", seed)[0].out for seed in (1, 1, 2)]
    lines = [[line for line in said.splitlines() if "images" in line and "accuracy" in line] for said in results]
    assert lines[0] == lines[1] != lines[2]


@pytest.fixture
def little_mnist(tmp_path, monkeypatch):
    """Images whose class shows as a bright column, in MNIST's files but fewer."""
    sizes = {True: 600, False: 200}
    monkeypatch.setattr(gpudl.data.MNIST, "sizes", sizes)
    monkeypatch.setattr(gpudl.data.MNIST, "sha256", {})
    monkeypatch.setenv("GPUDL_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    rng = np.random.default_rng(0)
    for train, part in ((True, "train"), (False, "t10k")):
        labels = rng.integers(0, 10, size=sizes[train]).astype(np.uint8)
        images = rng.integers(0, 40, size=(sizes[train], 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 2 * label + 4 : 2 * label + 6] = 255
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape)
            (tmp_path / "mnist" / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))


def test_mnist(run, little_mnist):
    (said, bar), out = run("mnist.py", "--epochs", 2)
    check_picture(out / "mnist_curves.png", said)
    check_picture(out / "mnist_mistakes.png", said)
    assert "validation      50 images" in said and "test           200 images" in said and "batch" in bar
    assert len(re.findall(r"^epoch +\d", said, re.M)) == 2


def test_mnist_options(run, little_mnist):
    (said, _), _ = run("mnist.py", "--epochs", 1, "--optimizer", "momentum", "--batch-norm", "--dropout", 0, "--weight-decay", 1e-4, "--train", 100)
    assert "BatchNorm2d(16" in said and "test" in said


@pytest.mark.parametrize("name", sorted(p.name for p in FOLDER.glob("*.py")))
def test_help_names_the_common_options(run, name, capsys):
    with pytest.raises(SystemExit) as info:
        run(name, "--help")
    assert info.value.code == 0
    said = capsys.readouterr().out
    assert all(option in said for option in ("--device", "--seed", "--epochs", "--output"))


def test_an_unknown_device_says_what_there_is(run):
    with pytest.raises(gpudl.DeviceError, match="gpudl has 'cpu', 'cuda'"):
        run("half_moons.py", "--device", "gpu", "--epochs", 1)


@pytest.mark.emulator
@pytest.mark.parametrize(
    "example",
    [
        "half_moons.py --epochs 1 --train 40 --hidden 4 --batch-norm --dropout 0.1 --weight-decay 0.01",
        "xor.py --epochs 5 --starts 1",
        "digits.py --epochs 1 --train 64 --batch-size 16",
    ],
)
def test_on_the_kernel_path(run, example):
    name, *options = example.split()
    (said, _), _ = run(name, "--device", "emulator", *options)
    assert len(accuracies(said)) >= 3


@pytest.mark.parametrize("name", sorted(p.name for p in FOLDER.glob("*.py")))
def test_a_folder_that_cannot_be_made_is_noticed_first(name, monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", [name, "--output", str(tmp_path / "file" / "out")])
    with pytest.raises(OSError, match="file"):
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert "epoch" not in capsys.readouterr().err  # before any training
