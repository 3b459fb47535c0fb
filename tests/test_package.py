"""The wheel holds what a user needs, and importing gpudl is light."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import gpudl

ROOT = Path(gpudl.__file__).resolve().parent.parent
HEAVY = ("numba", "cupy", "matplotlib", "sklearn", "scipy", "torch", "ssl", "safetensors")

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="these tests build the package from a checkout")


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    code = f"import hatchling.build as b; print(b.build_wheel({str(folder)!r}))"
    name = run(sys.executable, "-c", code, cwd=ROOT).splitlines()[-1]
    assert name == f"gpudl-{gpudl.__version__}-py3-none-any.whl"
    return folder / name


def test_wheel_contents(wheel):
    with zipfile.ZipFile(wheel) as z:
        names = set(z.namelist())
    for source, prefix in ((ROOT / "kernels", "gpudl/_kernels"), (ROOT / "gpudl", "gpudl")):
        for file in source.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and file.suffix not in (".pyc", ".so"):
                assert f"{prefix}/{file.relative_to(source).as_posix()}" in names, file
    assert not [n for n in names if not n.startswith(("gpudl/", f"gpudl-{gpudl.__version__}.dist-info/"))]
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_installed_elsewhere(wheel, tmp_path):
    """A fresh environment that sees this one's third-party packages, and gpudl from the wheel alone."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target")
    run(*pip, site, wheel, env=environment, cwd=tmp_path)
    import numpy

    # Behind the wheel's folder; `.pth` files, such as that of an editable gpudl, are not read from a folder named here.
    environment["PYTHONPATH"] = str(Path(numpy.__file__).parent.parent)
    code = """
import pathlib, sys
sys.path.sort(key=lambda p: p != sys.argv[1])
import gpudl
from gpudl import _nvrtc
from gpudl.kernels import FOLDER, ladder, ladders
assert pathlib.Path(gpudl.__file__).parent.parent == pathlib.Path(sys.argv[1]), gpudl.__file__
assert FOLDER == pathlib.Path(gpudl.__file__).parent / "_kernels"
rung = ladder("softmax.forward")["01_naive"]
assert "__global__" in rung.path.read_text() and rung.header["Computes"]
for each in ladders().values():
    for rung in each:
        assert rung.path.is_file(), rung.path
print(sorted(_nvrtc.compile_rung(ladder("softmax.forward")["01_naive"], "sm_80", {"T": gpudl.float32}).functions))
"""
    assert run(python, "-c", code, site, env=environment, cwd=tmp_path).strip() == "['softmax_fwd']"
    environment["PYTHONPATH"] = f"{site}{os.pathsep}{environment['PYTHONPATH']}"
    out = run(python, "-m", "gpudl", "info", env=environment, cwd=tmp_path)
    assert str(site / "gpudl" / "_kernels") in out


def test_checkout_needs_only_pythonpath(tmp_path):
    """-S -I would hide NumPy too: the environment's packages are named, its `.pth` files (an editable gpudl) are not read."""
    import numpy

    paths = f"{ROOT}{os.pathsep}{Path(numpy.__file__).parent.parent}"
    code = "import gpudl, gpudl.kernels as k; print(k.FOLDER); assert k.ladder('softmax.forward')['01_naive'].path.is_file()"
    out = run(sys.executable, "-S", "-c", code, env={**os.environ, "PYTHONPATH": paths}, cwd=tmp_path)
    assert Path(out.strip()) == ROOT / "kernels"


def test_import_is_light(tmp_path):
    code = f"import sys, gpudl; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(sys.executable, "-c", code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}).strip() == "[]"


def test_cpu_work_needs_nothing_heavy(tmp_path):
    """What a program without a GPU does at first imports neither CuPy nor matplotlib nor scikit-learn."""
    code = f"""
import sys, gpudl, numpy as np
from gpudl.data import DataLoader, TensorDataset
x = gpudl.tensor(np.ones((4, 3)), requires_grad=True)
for (batch,) in DataLoader(TensorDataset(np.ones((4, 3))), batch_size=2): pass
gpudl.softmax(x, 1).sum().backward()
print([m for m in {[m for m in HEAVY if m != "numba"]} if m in sys.modules])
"""
    assert run(sys.executable, "-c", code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}).strip() == "[]"


def test_metadata():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {d.split(">")[0].split("=")[0].strip() for d in project["dependencies"]}
    assert needed <= {"numpy", "numba", "ml_dtypes", "safetensors"}
    assert "numpy>=2" in project["dependencies"] and project["requires-python"] == ">=3.11"
    extras = project["optional-dependencies"]
    assert set(extras) >= {"cuda12", "cuda13", "examples", "test", "bench"}
    for cuda in ("12", "13"):
        assert any(d.startswith(f"cupy-cuda{cuda}x[ctk]") for d in extras[f"cuda{cuda}"])
        assert any(d.startswith(f"numba-cuda[cu{cuda}]") for d in extras[f"cuda{cuda}"])
    assert not [d for e in extras.values() for d in e if "torch" in d]


def test_no_torch_in_the_library():
    for file in (ROOT / "gpudl").rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            assert words[:2] not in (["import", "torch"], ["from", "torch"]), f"{file}: {line}"
