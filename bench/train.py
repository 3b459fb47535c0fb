"""python -m bench train: one training step of whole models, and the time to 99% on MNIST.

Every contestant starts from the same weights and takes the same batches; before the clock runs their losses over three steps must agree, else the
model has no speed. On a GPU each library runs eagerly and as one CUDA graph of the whole step.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import clocks, ops, records, stats
from gpudl import kernels

AGREE = 2e-4  # relative difference of losses over three steps: float32 sums in another order, through many layers
RATE = 1e-3  # learning rate: small, since training itself doubles differences of the last bit many times over


# ------------------------------------------------------------------------------------------------------------------------ the models
def lenet(nn: Any) -> Any:
    """LeCun et al. 1998, with ReLU and max pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def small_cnn(nn: Any) -> Any:
    """Two 3x3 convolutions with batch normalisation: the network of many MNIST tutorials."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def mlp(nn: Any) -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def resnet18(nn: Any) -> Any:
    """He et al. 2016, arXiv:1512.03385, in its CIFAR form: a 3x3 stem of stride 1 and no max pooling."""

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, planes_in: int, planes: int, stride: int):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(planes_in, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
            self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes)
            same = stride == 1 and planes_in == planes
            self.skip = nn.Identity() if same else nn.Sequential(nn.Conv2d(planes_in, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            y = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(y)) + self.skip(x))

    layers: list[Any] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    planes = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(planes, width, stride), Block(width, width, 1)]
        planes = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


MODELS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {  # model, input, batches: CPU, GPU
    "lenet": (lenet, (1, 28, 28), (64, 256), (64, 256, 512, 8192)),
    "mlp": (mlp, (1, 28, 28), (128,), (128, 1024)),
    "small_cnn": (small_cnn, (1, 28, 28), (64,), (64, 512)),
    "resnet18": (resnet18, (3, 32, 32), (16,), (128,)),
}


def weights(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Uniform in 1/sqrt(fan_in) for matrices and filters; 1-d parameters are left as the layers make them (both libraries alike)."""
    rng = np.random.default_rng(1)
    return [rng.uniform(-1, 1, s).astype(np.float32) * float(np.prod(s[1:])) ** -0.5 for s in shapes]


def data(shape: tuple[int, ...], batch: int, count: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(rng.random((batch, *shape), np.float32) * 2 - 1, rng.integers(0, 10, batch)) for _ in range(count)]


class Player:
    """name; step(i): one training step on batch i, which returns the loss as a device value; loss(value): that as a float."""

    keep: Any = None

    def __init__(self, name: str, step: Callable[[int], Any], loss: Callable[[Any], float]):
        self.name, self.step, self.loss = name, step, loss


def gpudl_player(make: Any, shape: tuple[int, ...], batch: int, device: str, graph: bool = False) -> Player:
    import gpudl
    from gpudl import nn, optim

    model = make(nn).to(device)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    with gpudl.no_grad():
        for p, w in zip(matrices, weights([tuple(p.shape) for p in matrices]), strict=True):
            p.copy_(gpudl.tensor(w))
        for p in model.parameters():
            if p.ndim == 1:
                p.fill_(0.0)
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.weight.fill_(1.0)
    optimizer = optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    batches = [(gpudl.tensor(x, device=device), gpudl.tensor(t, device=device)) for x, t in data(shape, batch)]

    def step(i: int) -> Any:
        x, t = batches[i % len(batches)]
        optimizer.zero_grad(set_to_none=not graph)  # a graph needs the gradients to stay where they are
        loss = nn.functional.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        return loss

    if not graph:
        return Player("gpudl", step, lambda loss: float(loss.item()))
    import cupy

    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    x, t = (gpudl.tensor(v, device=device) for v in data(shape, batch)[0])  # the graph reads these; each step writes its batch there
    cupy.cuda.Device().synchronize()  # a non-blocking stream does not wait for what the default stream is still copying
    with stream, cupy.cuda.using_allocator(pool.malloc):
        batches, real = [(x, t)], batches
        state = [p.detach().clone() for p in model.parameters()]
        for _ in range(3):
            step(0)
        stream.synchronize()
        stream.begin_capture()
        try:
            loss = step(0)
        except BaseException:
            with contextlib.suppress(Exception):  # a capture left open would fail every synchronisation after it
                stream.end_capture()
            raise
        captured = stream.end_capture()
    with gpudl.no_grad():
        for p, s in zip(model.parameters(), state, strict=True):
            p.copy_(s)
        for group in optimizer.state.values():
            for value in group.values():
                if hasattr(value, "zero_"):
                    value.zero_()

    def replay(i: int) -> Any:
        new = real[i % len(real)]
        kernels.copy_into(x.device, x._array, new[0]._array)
        kernels.copy_into(t.device, t._array, new[1]._array)
        captured.launch()
        return loss

    player = Player("gpudl graph", replay, lambda loss: float(loss.item()))
    player.keep = (captured, pool, model, optimizer, step)  # the graph knows addresses alone
    return player


def torch_player(make: Any, shape: tuple[int, ...], batch: int, device: str, layout: str = "", graph: bool = False) -> Player:
    import torch
    from torch import nn

    from bench.contestants import Torch

    Torch(device).settings()
    model = make(nn)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    with torch.no_grad():
        for p, w in zip(matrices, weights([tuple(p.shape) for p in matrices]), strict=True):
            p.copy_(torch.from_numpy(w))
        for p in model.parameters():
            if p.ndim == 1:
                p.fill_(0.0)
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.weight.fill_(1.0)
    form = torch.channels_last if layout else torch.contiguous_format
    model = model.to(device).to(memory_format=form)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, **({"fused": True} if device != "cpu" else {}))
    batches = [(torch.from_numpy(x).to(device).to(memory_format=form), torch.from_numpy(t).to(device)) for x, t in data(shape, batch)]

    def step(i: int) -> Any:
        x, t = batches[i % len(batches)]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        return loss.detach()

    name = " ".join(w for w in ("torch", layout, "graph" if graph else "") if w)
    if not graph:
        return Player(name, step, lambda loss: float(loss.item()))
    saved = [v.clone() for v in model.state_dict().values()]
    x, t = (v.clone() for v in batches[0])
    real, batches = batches, [(x, t)]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(0)
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        loss = step(0)
    with torch.no_grad():
        for v, s in zip(model.state_dict().values(), saved, strict=True):
            v.copy_(s)
        for state in optimizer.state.values():
            state["momentum_buffer"].zero_()

    def replay(i: int) -> Any:
        x.copy_(real[i % len(real)][0])
        t.copy_(real[i % len(real)][1])
        captured.replay()
        return loss

    player = Player(name, replay, lambda loss: float(loss.item()))
    player.keep = (captured, model, optimizer, step)
    return player


# ----------------------------------------------------------------------------------------------------------------------------- measuring
def launched() -> int:
    return sum(k.launches for ladder in kernels.ladders().values() for k in ladder)


def players(name: str, batch: int, device: str, note: Callable[[str], None]) -> list[Player]:
    make, shape, *_ = MODELS[name]
    wanted: list[Callable[[], Player]] = [lambda: gpudl_player(make, shape, batch, device)]
    if device == "cuda":
        wanted.append(lambda: gpudl_player(make, shape, batch, device, graph=True))
    from bench.contestants import Torch

    if missing := Torch(device).missing():
        note(missing)
    else:
        wanted += [lambda: torch_player(make, shape, batch, device), lambda: torch_player(make, shape, batch, device, "channels_last")]
        if device == "cuda":
            wanted += [lambda: torch_player(make, shape, batch, device, graph=True), lambda: torch_player(make, shape, batch, device, "channels_last", True)]
    found = []
    for make_one in wanted:
        try:
            found.append(make_one())
        except Exception as error:
            note(f"{name} B={batch}: a contestant could not start: {ops._line(error)}")
    return found


def measure(name: str, batch: int, device: str, seconds: float, note: Callable[[str], None]) -> list[dict[str, Any]]:
    """Rows of one model at one batch size."""
    entries = players(name, batch, device, note)
    clock = ops.clock_for(device)
    rows: list[dict[str, Any]] = []
    losses: dict[str, list[float]] = {}
    for player in entries:
        row: dict[str, Any] = {"op": name, "model": name, "batch": batch, "device": device, "contestant": player.name,
                               "opponent": player.name.startswith("torch"), "precision": "ieee", "status": "ok"}  # fmt: skip
        rows.append(row)
        try:
            before = launched()
            losses[player.name] = [player.loss(player.step(i)) for i in range(3)]
            if player.name == "gpudl":
                row["launches_per_step"] = (launched() - before) / 3
        except Exception as error:
            row |= {"status": "failed", "reason": ops._line(error)}
    reference = losses.get("torch") or losses.get("gpudl")
    for row in rows:
        mine = losses.get(row["contestant"])
        if mine is None or reference is None:
            continue
        row["loss_difference"] = max((abs(a - b) / max(abs(b), 1e-9) for a, b in zip(mine, reference)), default=0.0)
        if not all(map(math.isfinite, mine)) or not row["loss_difference"] <= AGREE:
            row |= {"status": "wrong", "reason": f"losses {mine} where {reference} were expected"}
    good = [(row, player) for row, player in zip(rows, entries) if row["status"] == "ok"]
    if not good:
        return rows
    timed = []
    for _, player in good:
        counter = iter(range(3, 1 << 60))
        timed.append(clocks.Timed(lambda p=player, c=counter: p.step(next(c)), 1))  # type: ignore[misc]
    if clocks.REHEARSAL:
        for (row, _), t in zip(good, timed):
            t.once()
            row |= {"status": "checked", "reason": "not measured: a rehearsal without a GPU"}
        return rows
    samples = clocks.race(clock, [*timed, timed[0]], seconds)
    noise = stats.noise_floor(samples[0], samples[-1])
    for (row, player), values, t in zip(good, samples, timed):
        row |= {"ms": stats.summary(values)._asdict(), "samples": values, "noise_floor": noise if math.isfinite(noise) else None}
        if row["opponent"]:
            continue
        row["against"] = {r["contestant"]: stats.compare(values, s, noise)._asdict() for (r, _), s in zip(good, samples) if r["opponent"]}
        if device == "cuda":
            import cupy

            row["host_us"] = clocks.host_time(t.once, clock.synchronize, 10)
            row["peak_bytes"] = int(cupy.get_default_memory_pool().total_bytes())
            if row.get("launches_per_step"):
                row["host_us_per_launch"] = row["host_us"] / row["launches_per_step"]
        else:
            tracemalloc.start()
            player.step(1)
            row["peak_bytes"] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    return rows


def mnist(
    device: str, note: Callable[[str], None], target: float = 0.99, epochs: int = 12, batch: int = 128, train: Any = None, test: Any = None
) -> list[dict[str, Any]]:
    """Seconds of training (evaluation apart) until LeNet has `target` of the test images right, for gpudl and for PyTorch."""
    import gpudl
    from gpudl import nn, optim
    from gpudl.data import MNIST

    try:
        train = train or MNIST(train=True, download=False)
        test = test or MNIST(train=False, download=False)
    except Exception as error:
        note(f"time to {target:.0%} on MNIST: no files ({type(error).__name__}); set GPUDL_DATA to the folder that has them")
        return []
    sets = [((np.asarray(s.data, np.float32)[:, None] / 255 - 0.1307) / 0.3081, np.asarray(s.targets, np.int64)) for s in (train, test)]

    def run(library: str) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        if library == "gpudl":
            gpudl.manual_seed(0)
            model: Any = lenet(nn).to(device)
            optimizer: Any = optim.Adam(model.parameters(), lr=1e-3)
            (X, T), (Xt, Tt) = [(gpudl.tensor(x.astype(np.float32), device=device), gpudl.tensor(t, device=device)) for x, t in sets]
            loss_of, no_grad, index = nn.functional.cross_entropy, gpudl.no_grad, lambda i: gpudl.tensor(i, device=device)
            synchronize = gpudl.device(device).synchronize
        else:
            import torch

            torch.manual_seed(0)
            model = lenet(torch.nn).to(device)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **({"fused": True} if device != "cpu" else {}))
            (X, T), (Xt, Tt) = [(torch.from_numpy(x.astype(np.float32)).to(device), torch.from_numpy(t).to(device)) for x, t in sets]
            loss_of, no_grad, index = torch.nn.functional.cross_entropy, torch.no_grad, lambda i: torch.from_numpy(i).to(device)
            synchronize = torch.cuda.synchronize if device != "cpu" else lambda: None
        spent, curve = 0.0, []
        for _ in range(epochs):
            order = rng.permutation(len(sets[0][1]))
            start = time.perf_counter()
            for at in range(0, len(order) - batch + 1, batch):
                chosen = index(order[at : at + batch])
                optimizer.zero_grad()
                loss_of(model(X[chosen]), T[chosen]).backward()
                optimizer.step()
            synchronize()
            spent += time.perf_counter() - start
            with no_grad():
                right = sum(int((model(Xt[i : i + 1000]).argmax(1) == Tt[i : i + 1000]).sum().item()) for i in range(0, len(sets[1][1]), 1000))
            curve.append(right / len(sets[1][1]))
            if curve[-1] >= target:
                break
        return {"op": "mnist", "model": "lenet", "batch": batch, "device": device, "contestant": library, "opponent": library != "gpudl", "precision": "ieee",
                "status": "ok" if curve and curve[-1] >= target else "failed", "reason": "" if curve and curve[-1] >= target else f"{target:.0%} not reached",
                "seconds": spent, "epochs": len(curve), "accuracy": curve}  # fmt: skip

    rows = []
    for library in ("gpudl", "torch"):
        try:
            rows.append(run(library))
        except Exception as error:
            note(f"MNIST with {library}: {ops._line(error)}")
    return rows


def line(row: dict[str, Any]) -> str:
    head = f"{row['op']:10} B={row['batch']:<5} {row['contestant']:22}"
    if row["status"] not in ("ok",):
        return f"{head} {row['status']}: {row.get('reason', '')}"
    if row["op"] == "mnist":
        return f"{head} {row['accuracy'][-1]:.2%} after {row['seconds']:.2f} s of training, {row['epochs']} epochs"
    words = f"{ops.human(row['ms']['median']):>11} [{ops.human(row['ms']['p20'])}, {ops.human(row['ms']['p80'])}]"
    for name, unit in (("launches_per_step", "launches"), ("host_us_per_launch", "us of host time a launch")):
        if row.get(name):
            words += f"  {row[name]:.1f} {unit}"
    if row.get("peak_bytes"):
        words += f"  peak {row['peak_bytes'] / 2**20:.1f} MiB"
    return f"{head} {words}  " + ", ".join(f"{v['ratio']:.2f}x {n}{' (tie)' if v['word'] == 'tie' else ''}" for n, v in row.get("against", {}).items())


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m bench train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", nargs="*", help=f"of {', '.join(MODELS)}, and mnist for the time to 99%% alone; all models without one")
    p.add_argument("--device", default="", choices=["", "cpu", "cuda"])
    p.add_argument("--seconds", type=float, default=3.0, help="timing of one model at one batch size")
    p.add_argument("--budget", type=float, default=1e9, metavar="S")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--mnist", action="store_true", help="time to 99%% too (needs the files: GPUDL_DATA)")
    p.add_argument("--out", default="", metavar="FILE")
    options = p.parse_args(arguments)
    if wrong := [m for m in options.model if m not in MODELS and m != "mnist"]:
        print(f"bench train: no model {wrong[0]!r}; there are {', '.join(MODELS)} and mnist", file=sys.stderr)
        return 2
    device = options.device or ("cpu" if ops.have_gpu() else "cuda")
    if device == "cuda" and (problem := ops.have_gpu()):
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    if options.threads:
        ops.pin(options.threads)
    env = records.environment(device, options.threads or len(records.affinity()))
    machine = env.get("gpu", {}).get("name") if device == "cuda" else f"cpu-{env['cpu']}"
    path = options.out or records.results_path(machine or "gpu", "train")
    end = time.monotonic() + options.budget
    with records.Record(path, "train", environment=env, data=bool(os.environ.get("GPUDL_DATA"))) as record:

        def note(text: str) -> None:
            if text not in record.data.setdefault("missing", []):
                record.data["missing"].append(text)
                print(text)

        for name in [m for m in options.model if m != "mnist"] if options.model else MODELS:
            batches = (2,) if clocks.REHEARSAL else MODELS[name][3 if device == "cuda" else 2]
            if clocks.REHEARSAL and name == "resnet18":
                note("resnet18: too large to rehearse in the emulator")
                continue
            for batch in batches:
                if time.monotonic() > end:
                    record.add({"op": name, "batch": batch, "contestant": "gpudl", "status": "not measured", "reason": "the time budget was used up"})
                    continue
                for row in measure(name, batch, device, options.seconds, note):
                    record.add(row)
                    print(line(row), flush=True)
        if (options.mnist or "mnist" in options.model) and time.monotonic() < end:
            for row in mnist(device, note):
                record.add(row)
                print(line(row), flush=True)
    print(f"record: {path}")
    return ops.exit_code(record.data["rows"])
