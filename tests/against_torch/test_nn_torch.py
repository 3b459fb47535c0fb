"""nn against PyTorch: repr, state_dict, forward, gradients, buffers, starting values, hooks; float64, so that agreement is close."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import gpudl
from gpudl import nn

torch = pytest.importorskip("torch")
TOLERANCE = 1e-11  # float64: eps is 2.2e-16, the sums here have up to a few hundred terms of size 1

LAYERS = [
    ("Identity", (), {}, (3, 4)),
    ("Linear", (5, 3), {}, (4, 5)),
    ("Linear", (5, 3), {"bias": False}, (2, 4, 5)),
    ("Conv2d", (3, 4, 3), {}, (2, 3, 7, 6)),
    ("Conv2d", (4, 6, (3, 2)), {"stride": 2, "padding": (1, 0), "dilation": (1, 2), "groups": 2, "bias": False}, (2, 4, 9, 8)),
    ("Conv2d", (2, 3, 3), {"padding": "same"}, (2, 2, 5, 6)),
    ("Conv2d", (2, 3, 3), {"padding": "valid"}, (2, 5, 6)),
    ("Conv2d", (2, 3, 3), {"padding": (1, 2), "padding_mode": "reflect"}, (2, 2, 5, 6)),
    ("Conv2d", (2, 4, (3, 2)), {"padding": "same", "padding_mode": "replicate", "groups": 2, "dilation": (1, 3)}, (2, 2, 5, 6)),
    ("Conv2d", (2, 3, 3), {"padding": (2, 1), "padding_mode": "circular", "stride": 2}, (2, 5, 6)),
    ("Conv2d", (2, 3, 3), {"padding": "valid", "padding_mode": "reflect", "bias": False}, (2, 2, 5, 6)),
    ("Conv1d", (3, 4, 3), {}, (2, 3, 7)),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 2, "dilation": 2, "groups": 2, "bias": False}, (2, 4, 9)),
    ("Conv1d", (2, 3, 4), {"padding": "same"}, (2, 7)),
    ("Conv1d", (2, 3, 4), {"padding": 2, "padding_mode": "reflect"}, (3, 2, 7)),
    ("Conv1d", (2, 3, 4), {"padding": "same", "padding_mode": "circular"}, (2, 7)),
    ("ConvTranspose1d", (3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (2, 3, 4)),
    ("ConvTranspose1d", (4, 2, 2), {"groups": 2, "bias": False, "dilation": 2}, (4, 5)),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 8)),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, (3, 8)),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 3, 7)),
    ("AdaptiveMaxPool1d", (3,), {}, (2, 3, 7)),
    ("LocalResponseNorm", (3,), {"alpha": 0.5, "beta": 0.6, "k": 2.0}, (2, 5, 3, 4)),
    ("LocalResponseNorm", (2,), {"alpha": 0.5}, (2, 4, 6)),
    ("ConvTranspose2d", (3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (2, 3, 4, 5)),
    ("ConvTranspose2d", (4, 2, (2, 3)), {"groups": 2, "bias": False, "dilation": 2}, (2, 4, 4, 5)),
    ("MaxPool2d", (2,), {}, (2, 3, 6, 7)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (2, 3, 6, 7)),
    ("MaxPool2d", ((3, 2),), {"dilation": (1, 2)}, (3, 6, 7)),
    ("AvgPool2d", (2,), {}, (2, 3, 6, 7)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}, (2, 3, 6, 7)),
    ("AvgPool2d", ((3, 2),), {"divisor_override": 5}, (2, 3, 6, 7)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 6, 7)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 7, 5)),
    ("AdaptiveMaxPool2d", ((3, None),), {}, (2, 3, 7, 5)),
    ("BatchNorm1d", (5,), {}, (4, 5)),
    ("BatchNorm1d", (5,), {"momentum": None, "eps": 1e-3}, (4, 5, 3)),
    ("BatchNorm2d", (3,), {}, (4, 3, 5, 2)),
    ("BatchNorm2d", (3,), {"affine": False, "momentum": 0.3}, (4, 3, 5, 2)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, (4, 3, 5, 2)),
    ("LayerNorm", (5,), {}, (3, 4, 5)),
    ("LayerNorm", ((4, 5),), {"elementwise_affine": False, "eps": 1e-3}, (3, 4, 5)),
    ("LayerNorm", (5,), {"bias": False}, (3, 5)),
    ("GroupNorm", (2, 6), {}, (3, 6, 4)),
    ("GroupNorm", (3, 6), {"affine": False}, (3, 6, 4, 2)),
    ("Dropout", (0.0,), {}, (3, 4)),
    ("Dropout1d", (0.0,), {}, (3, 4, 2)),
    ("Dropout2d", (0.5,), {}, None),
    ("ConstantPad1d", ((1, 2), 0.5), {}, (2, 3, 4)),
    ("ConstantPad2d", (1, 0.5), {}, (2, 3, 4)),
    ("ConstantPad3d", (1, -1.0), {}, (1, 2, 2, 3, 4)),
    ("ZeroPad1d", (2,), {}, (2, 3, 4)),
    ("ZeroPad2d", ((1, 0, -1, 2),), {}, (2, 3, 4, 5)),
    ("ZeroPad3d", (1,), {}, (1, 2, 2, 3, 4)),
    ("ReflectionPad1d", ((1, 3),), {}, (2, 3, 4)),
    ("ReflectionPad2d", (2,), {}, (2, 3, 4, 5)),
    ("ReplicationPad1d", (2,), {}, (3, 4)),
    ("ReplicationPad2d", ((1, 0, 3, 2),), {}, (2, 3, 4, 5)),
    ("ReplicationPad3d", (1,), {}, (1, 2, 2, 3, 4)),
    ("CircularPad1d", ((1, 2),), {}, (2, 3, 4)),
    ("CircularPad2d", (2,), {}, (2, 3, 4, 5)),
    ("Upsample", (), {"scale_factor": 2}, (2, 3, 4, 5)),
    ("Upsample", ((7, 3),), {"mode": "bilinear", "align_corners": True}, (2, 3, 4, 5)),
    ("UpsamplingNearest2d", ((7, 3),), {}, (2, 3, 4, 5)),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, (2, 3, 4, 5)),
    ("PixelShuffle", (2,), {}, (2, 8, 3, 4)),
    ("PixelUnshuffle", (2,), {}, (2, 3, 4, 6)),
    ("ChannelShuffle", (3,), {}, (2, 6, 3)),
    ("AlphaDropout", (0.0,), {}, (3, 4)),
    ("FeatureAlphaDropout", (0.0,), {}, (3, 4, 2)),
    ("Dropout3d", (0.0,), {}, (3, 4, 2, 2, 2)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("Flatten", (0, 1), {}, (2, 3, 4)),
    ("Unflatten", (1, (2, 3)), {}, (4, 6)),
    ("ReLU", (), {}, (3, 4)),
    ("ReLU", (True,), {}, None),
    ("ReLU6", (), {}, (3, 40)),
    ("LeakyReLU", (), {}, (3, 4)),
    ("LeakyReLU", (0.2,), {}, (3, 4)),
    ("ELU", (), {}, (3, 4)),
    ("ELU", (0.5, True), {}, None),
    ("CELU", (0.5,), {}, (3, 4)),
    ("SELU", (), {}, (3, 4)),
    ("GELU", (), {}, (3, 4)),
    ("GELU", ("tanh",), {}, (3, 4)),
    ("SiLU", (), {}, (3, 4)),
    ("Mish", (), {}, (3, 4)),
    ("Sigmoid", (), {}, (3, 4)),
    ("LogSigmoid", (), {}, (3, 4)),
    ("Tanh", (), {}, (3, 4)),
    ("Softsign", (), {}, (3, 4)),
    ("Softplus", (), {}, (3, 4)),
    ("Softplus", (2.0, 1.5), {}, (3, 4)),
    ("Hardtanh", (), {}, (3, 4)),
    ("Hardtanh", (-0.5, 0.7), {}, (3, 4)),
    ("Hardsigmoid", (), {}, (3, 4)),
    ("Hardswish", (), {}, (3, 4)),
    ("PReLU", (), {}, (3, 4)),
    ("PReLU", (4, 0.1), {}, (3, 4, 2)),
    ("Softmax", (1,), {}, (3, 4)),
    ("Softmax", (), {}, None),
    ("LogSoftmax", (-1,), {}, (3, 4)),
    ("Softmin", (0,), {}, (3, 4)),
]
LOSSES = [
    ("CrossEntropyLoss", {}, "classes"),
    ("CrossEntropyLoss", {"ignore_index": 1, "label_smoothing": 0.1, "reduction": "sum"}, "classes"),
    ("CrossEntropyLoss", {"weight": [0.5, 2.0, 1.0]}, "classes"),
    ("NLLLoss", {"reduction": "none"}, "classes"),
    ("MSELoss", {}, "real"),
    ("MSELoss", {"reduction": "sum"}, "real"),
    ("L1Loss", {}, "real"),
    ("SmoothL1Loss", {"beta": 0.5}, "real"),
    ("HuberLoss", {"delta": 0.7}, "real"),
    ("BCELoss", {}, "probability"),
    ("BCEWithLogitsLoss", {}, "binary"),
    ("BCEWithLogitsLoss", {"pos_weight": [2.0, 1.0, 0.5], "reduction": "none"}, "binary"),
    ("KLDivLoss", {"reduction": "batchmean"}, "distribution"),
]


def close(ours, theirs, tolerance=TOLERANCE):
    assert tuple(ours.shape) == tuple(theirs.shape)
    ours, theirs = ours.detach().numpy(), theirs.detach().numpy()
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def both(name, args, kwargs):
    ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    return ours.double(), theirs.double()


def ids(case):
    return "-".join([case[0], *map(str, case[1]), *(f"{k}={v}" for k, v in case[2].items())]) if len(case) == 4 else f"{case[0]}-{case[1]}"


@pytest.mark.parametrize("case", LAYERS, ids=ids)
def test_repr_and_state(case):
    name, args, kwargs, _ = case
    ours, theirs = both(name, args, kwargs)
    assert repr(ours) == repr(theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    for key in state:
        assert tuple(state[key].shape) == tuple(expected[key].shape) and str(state[key].dtype) == str(expected[key].dtype).removeprefix("torch.")
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", [c for c in LAYERS if c[3] is not None], ids=ids)
def test_forward_and_gradients(case, training):
    name, args, kwargs, shape = case
    rng = np.random.default_rng(0)
    ours, theirs = both(name, args, kwargs)
    for p in theirs.parameters():
        p.data = torch.from_numpy(rng.normal(size=tuple(p.shape)))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    ours.train(training), theirs.train(training)
    for _ in range(2):  # twice: running statistics
        x = rng.normal(size=shape) * 2
        a, b = gpudl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = ours(a), theirs(b)
        close(y, z)
        dy = rng.normal(size=tuple(z.shape))
        y.backward(gpudl.tensor(dy)), z.backward(torch.tensor(dy))
        close(a.grad, b.grad, 1e-7 if name == "Hardsigmoid" else TOLERANCE)  # PyTorch's gradient there has 1/6 in float32
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad)
    for key, value in theirs.state_dict().items():
        close(ours.state_dict()[key], value)


@pytest.mark.parametrize("name, kwargs, target", LOSSES)
def test_losses(name, kwargs, target):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 3))
    t = {
        "classes": rng.integers(0, 3, size=6), "real": rng.normal(size=(6, 3)), "binary": rng.integers(0, 2, size=(6, 3)).astype(float),
        "probability": rng.integers(0, 2, size=(6, 3)).astype(float), "distribution": rng.dirichlet(np.ones(3), size=6),
    }[target]  # fmt: skip
    if target == "probability":
        x = rng.uniform(0.05, 0.95, size=(6, 3))
    given = {k: (gpudl.tensor(np.array(v)), torch.tensor(v, dtype=torch.float64)) if isinstance(v, list) else (v, v) for k, v in kwargs.items()}
    ours = getattr(nn, name)(**{k: v[0] for k, v in given.items()})
    theirs = getattr(torch.nn, name)(**{k: v[1] for k, v in given.items()})
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    a, b = gpudl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a, gpudl.tensor(t)), theirs(b, torch.tensor(t))
    close(y, z)
    dy = rng.normal(size=tuple(z.shape))
    y.backward(gpudl.tensor(dy)), z.backward(torch.tensor(dy))
    close(a.grad, b.grad)


def lenet(library):
    return library.Sequential(
        library.Conv2d(1, 4, 3, padding=1), library.BatchNorm2d(4), library.ReLU(), library.MaxPool2d(2),
        library.Conv2d(4, 6, 3), library.ReLU(), library.MaxPool2d(2), library.Flatten(),
        library.Linear(6 * 3 * 3, 10), library.Tanh(), library.Linear(10, 3),
    )  # fmt: skip


def test_a_network_learns_the_same():
    """Twenty steps of momentum from the same weights on the same data, fused ops and all."""
    rng = np.random.default_rng(2)
    ours, theirs = lenet(nn).double(), lenet(torch.nn).double()
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    optimizers = gpudl.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9), torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for _ in range(20):
        x, t = rng.normal(size=(8, 1, 16, 16)), rng.integers(0, 3, size=8)
        losses = nn.CrossEntropyLoss()(ours(gpudl.tensor(x)), gpudl.tensor(t)), torch.nn.CrossEntropyLoss()(theirs(torch.tensor(x)), torch.tensor(t))
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        np.testing.assert_allclose(losses[0].item(), losses[1].item(), rtol=1e-8)
    ours.eval(), theirs.eval()
    np.testing.assert_allclose(ours(gpudl.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "ConvTranspose2d", "BatchNorm2d", "LayerNorm", "GroupNorm", "PReLU", "Embedding"])
def test_starting_values(name):
    """Same law as PyTorch's: bounds, mean and standard deviation over many draws."""
    args = {
        "Linear": (300, 200), "Conv2d": (20, 30, 5), "ConvTranspose2d": (20, 30, 5), "BatchNorm2d": (5,), "LayerNorm": (5,), "GroupNorm": (2, 4),
        "PReLU": (5,), "Embedding": (300, 200),
    }[name]  # fmt: skip
    gpudl.manual_seed(0), torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        a, b = p.detach().numpy().astype(np.float64), q.detach().numpy().astype(np.float64)
        error = 6 * max(b.std(), 1e-30) / np.sqrt(b.size)  # six standard errors of a mean
        assert abs(a.mean() - b.mean()) <= 2 * error, key
        assert abs(a.std() - b.std()) <= 2 * error, key
        if name in ("Linear", "Conv2d", "ConvTranspose2d"):
            assert abs(a).max() <= (1 / np.sqrt(np.prod(ours.weight.shape[1:]))) * (1 + 1e-6)


INITS = [
    ("uniform_", (-1.0, 3.0)), ("normal_", (2.0, 0.5)), ("trunc_normal_", (0.0, 1.0, -0.5, 2.0)), ("constant_", (0.3,)), ("ones_", ()),
    ("zeros_", ()), ("xavier_uniform_", (1.7,)), ("xavier_normal_", (1.7,)), ("kaiming_uniform_", (0.1, "fan_out")),
    ("kaiming_normal_", (0, "fan_in", "relu")), ("orthogonal_", (2.0,)), ("eye_", ()),
]  # fmt: skip


@pytest.mark.parametrize("name, args", INITS)
def test_init_has_the_same_law(name, args):
    gpudl.manual_seed(1), torch.manual_seed(1)
    a, b = gpudl.empty(200, 300), torch.empty(200, 300)
    assert getattr(nn.init, name)(a, *args) is a
    getattr(torch.nn.init, name)(b, *args)
    a, b = a.numpy().astype(np.float64), b.numpy().astype(np.float64)
    error = 6 * b.std() / np.sqrt(b.size) + 1e-12
    assert abs(a.mean() - b.mean()) <= 2 * error and abs(a.std() - b.std()) <= 2 * error
    assert abs(a.min() - b.min()) <= 0.1 * (np.ptp(b) or 1e-6) and abs(a.max() - b.max()) <= 0.1 * (np.ptp(b) or 1e-6)


def test_dirac_and_gains():
    for shape, groups in (((4, 3, 3), 1), ((4, 2, 3, 5), 2), ((3, 3, 1, 2, 3), 1)):
        ours, theirs = gpudl.empty(*shape), torch.empty(*shape)
        nn.init.dirac_(ours, groups), torch.nn.init.dirac_(theirs, groups)
        assert (ours.numpy() == theirs.numpy()).all()
    for name in ("linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert nn.init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))


@pytest.mark.parametrize("name", [n for n in nn.functional.__all__ if hasattr(torch.nn.functional, n)])
def test_functional_signatures(name):
    """PyTorch's parameters, in its order and with its defaults; ours may leave out the deprecated and private ones."""
    try:
        theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters
    except ValueError:
        pytest.skip("a builtin without a signature")
    ours = inspect.signature(getattr(nn.functional, name)).parameters
    names = list(theirs)
    if names[:2] == ["args", "kwargs"]:
        pytest.skip("PyTorch shows no parameters")
    assert list(ours)[: len(names)] == names
    for n in names:
        if theirs[n].default is not inspect.Parameter.empty:
            assert ours[n].default == theirs[n].default, n


def test_hooks_see_what_pytorchs_see():
    rng = np.random.default_rng(3)
    x, log = rng.normal(size=(4, 5)), []
    start = {"0.weight": rng.normal(size=(3, 5)), "0.bias": rng.normal(size=3), "2.weight": rng.normal(size=(2, 3)), "2.bias": np.zeros(2)}
    for library, make in ((nn, gpudl.tensor), (torch.nn, torch.tensor)):
        net = library.Sequential(library.Linear(5, 3), library.ReLU(), library.Linear(3, 2)).double()
        net.load_state_dict({k: make(v) for k, v in start.items()})
        seen = []
        net[1].register_full_backward_hook(lambda m, gi, go, seen=seen: seen.append(("bwd", gi[0].numpy(), go[0].numpy())))
        net[1].register_forward_hook(lambda m, a, o, seen=seen: seen.append(("fwd", a[0].detach().numpy(), o.detach().numpy())))
        net(make(x)).sum().backward()
        log.append(seen)
    for ours, theirs in zip(*log, strict=True):
        assert ours[0] == theirs[0]
        for a, b in zip(ours[1:], theirs[1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)


def test_state_dicts_travel_both_ways():
    ours, theirs = lenet(nn), lenet(torch.nn)
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    x = np.random.default_rng(4).normal(size=(2, 1, 16, 16)).astype(np.float32)
    ours.eval(), theirs.eval()
    np.testing.assert_allclose(ours(gpudl.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_load_messages_agree():
    wrong = {"0.weight": np.zeros((3, 4), np.float32), "extra": np.zeros(1, np.float32)}
    with pytest.raises(RuntimeError) as ours:
        nn.Sequential(nn.Linear(5, 3)).load_state_dict(wrong)
    with pytest.raises(RuntimeError) as theirs:
        torch.nn.Sequential(torch.nn.Linear(5, 3)).load_state_dict({k: torch.tensor(v) for k, v in wrong.items()})
    said = [line.strip() for line in str(theirs.value).replace("torch.Size([3, 4])", "(3, 4)").replace("torch.Size([3, 5])", "(3, 5)").splitlines()]
    assert [line.strip() for line in str(ours.value).splitlines()] == said


def containers(library):
    class Block(library.Module):
        def __init__(self, width):
            super().__init__()
            self.inner = library.Sequential(library.Linear(width, width), library.ReLU())
            self.nothing = None
            self.register_parameter("scale", None)

        def extra_repr(self):
            return "one line\nanother"

    layers = library.ModuleList([Block(2), Block(2), library.Linear(2, 1), Block(3)])
    return library.ModuleDict({"layers": layers, "empty": library.ModuleList(), "deep": library.Sequential(library.Sequential(Block(1)))})


def test_containers_print_and_name_as_pytorchs():
    ours, theirs = containers(nn), containers(torch.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for walk in ("named_modules", "named_children", "named_parameters", "named_buffers"):
        assert [n for n, _ in getattr(ours, walk)()] == [n for n, _ in getattr(theirs, walk)()]


@pytest.mark.parametrize("tie", [False, True])
def test_tied_parameters(tie):
    made = []
    for library in (nn, torch.nn):
        net = library.Sequential(library.Linear(3, 3), library.Linear(3, 3))
        if tie:
            net[1].weight = net[0].weight
        made.append(([n for n, _ in net.named_parameters()], list(net.state_dict()), len(list(net.parameters()))))
    assert made[0] == made[1]


@pytest.mark.parametrize("name", sorted(n for n in dir(nn) if isinstance(getattr(nn, n), type) and hasattr(torch.nn, n)))
def test_constructor_signatures(name):
    """PyTorch's parameters with its defaults, in its order; those that gpudl lacks are refused by name, never ignored."""
    ours = inspect.signature(getattr(nn, name).__init__).parameters
    theirs = inspect.signature(getattr(torch.nn, name).__init__).parameters
    if any(p.kind is p.VAR_POSITIONAL for p in theirs.values()) or name in ("Embedding", "Module", "Parameter", "Unflatten"):
        pytest.skip("takes anything")
    deprecated = ("min_value", "max_value")  # Hardtanh's old names
    assert list(ours) == [n for n in theirs if n not in deprecated]
    for n, p in ours.items():
        assert p.default == theirs[n].default, n


@pytest.mark.parametrize("layer, args, shape", [("Linear", (3, 2), (5, 3)), ("Conv2d", (3, 4, 2), (2, 3, 5, 4))])
@pytest.mark.parametrize("dim", [0, 1, -1, None])
@pytest.mark.parametrize("new", [False, True])
def test_weight_norm(layer: str, args: tuple, shape: tuple, dim: int | None, new: bool) -> None:
    """state_dict, repr, outputs, gradients and two steps of SGD; loading each other's state, and the older form's into the newer."""
    rng = np.random.default_rng(0)
    ours, theirs = getattr(nn, layer)(*args).double(), getattr(torch.nn, layer)(*args).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    wrap = lambda lib: lib.nn.utils.parametrizations.weight_norm if new else lib.nn.utils.weight_norm
    wrap(gpudl)(ours, dim=dim), wrap(torch)(theirs, dim=dim)
    x, dy = rng.normal(size=shape), None
    optimizers = gpudl.optim.SGD(ours.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(3):
        mine, want = ours.state_dict(), theirs.state_dict()
        assert list(mine) == list(want) and repr(ours) == repr(theirs)
        for k in want:
            np.testing.assert_allclose(mine[k].numpy(), want[k].numpy(), rtol=TOLERANCE, atol=TOLERANCE)
        a, b = ours(gpudl.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=TOLERANCE, atol=TOLERANCE)
        dy = rng.normal(size=b.shape)
        for optimizer, y, lib in zip(optimizers, (a, b), (gpudl, torch), strict=True):
            optimizer.zero_grad()
            y.backward(lib.tensor(dy))
            optimizer.step()
    names = [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_parameters()] == names
    if new:
        gpudl.nn.utils.parametrize.remove_parametrizations(ours, "weight")
        torch.nn.utils.parametrize.remove_parametrizations(theirs, "weight")
        assert type(ours) is getattr(nn, layer)
        older = gpudl.nn.utils.weight_norm(getattr(nn, layer)(*args), dim=dim)
        newer = wrap(gpudl)(getattr(nn, layer)(*args), dim=dim)
        newer.load_state_dict(older.state_dict())
        x32 = gpudl.tensor(x, dtype=gpudl.float32)
        assert newer(x32).tolist() == older(x32).tolist()
    else:
        gpudl.nn.utils.remove_weight_norm(ours), torch.nn.utils.remove_weight_norm(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=TOLERANCE, atol=TOLERANCE)


def test_parametrizations() -> None:
    results = []
    for lib in (gpudl, torch):
        P = lib.nn.utils.parametrize

        class Symmetric(lib.nn.Module):
            def forward(self, X):
                return X.triu() + X.triu(1).mT

            def right_inverse(self, A):
                return A.triu()

        class Twice(lib.nn.Module):
            def forward(self, X):
                return 2 * X

            def right_inverse(self, A):
                return A / 2

        layer = lib.nn.Linear(3, 3).double()
        original = layer.weight
        P.register_parametrization(layer, "weight", Symmetric())
        assert layer.parametrizations.weight.original is original
        P.register_parametrization(layer, "weight", Twice())
        layer.weight = lib.tensor(np.array([[1.0, 2.0, 3.0], [2.0, 5.0, 6.0], [3.0, 6.0, 9.0]]))
        layer.bias.data.zero_()
        with P.cached():
            assert layer.weight is layer.weight
        assert layer.weight is not layer.weight and P.is_parametrized(layer, "weight") and not P.is_parametrized(layer, "bias")
        y = layer(lib.tensor(np.eye(3)))
        (y * y).sum().backward()
        facts = [repr(layer), list(layer.state_dict()), y.tolist(), original.tolist(), original.grad.tolist()]
        with pytest.raises(ValueError):
            P.register_parametrization(layer, "weight", lib.nn.Flatten(0))
        with pytest.raises(ValueError):
            P.register_parametrization(layer, "nothing", Twice())
        with pytest.raises(ValueError):
            P.remove_parametrizations(layer, "bias")
        P.remove_parametrizations(layer, "weight")
        assert type(layer) is lib.nn.Linear and layer.weight is original and not P.is_parametrized(layer)
        results.append([*facts, repr(layer), list(layer.state_dict()), layer.weight.tolist()])
    assert results[0] == results[1]


def test_distances() -> None:
    rng = np.random.default_rng(0)
    for name, args, shapes in [
        ("cosine_similarity", (), ((4, 5), (4, 5))), ("cosine_similarity", (-1,), ((3, 1, 5), (4, 5))), ("cosine_similarity", (0, 10.0), ((4, 5), (4, 5))),
        ("pairwise_distance", (), ((4, 5), (4, 5))), ("pairwise_distance", (1.0, 0.1, True), ((4, 5), (1, 5))), ("pairwise_distance", (3.0,), ((5,), (5,))),
    ]:  # fmt: skip
        data = [rng.normal(size=s) for s in shapes]
        out = []
        for lib in (gpudl, torch):
            leaves = [lib.tensor(d, requires_grad=True) for d in data]
            y = getattr(lib.nn.functional, name)(*leaves, *args)
            dy = lib.tensor(np.random.default_rng(1).normal(size=tuple(y.shape)))
            out.append([t.detach().numpy() for t in (y, *lib.autograd.grad(y, leaves, dy))])
        for a, b in zip(*out, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
    assert repr(nn.CosineSimilarity()) == repr(torch.nn.CosineSimilarity()) and repr(nn.PairwiseDistance()) == repr(torch.nn.PairwiseDistance())


@pytest.mark.parametrize("name, shape", [("alpha_dropout", (200, 300)), ("feature_alpha_dropout", (200, 300, 2))])
def test_alpha_dropout_takes_pytorchs_two_values(name: str, shape: tuple) -> None:
    """The two lines (kept and dropped) that an input can lie on are PyTorch's, and mean and variance stay."""
    x = np.random.default_rng(0).normal(size=shape)
    for p in (0.2, 0.7):
        gpudl.manual_seed(0)
        got = getattr(nn.functional, name)(gpudl.tensor(x), p, training=True).numpy()
        want = getattr(torch.nn.functional, name)(torch.tensor(x), p, training=True).numpy()
        values, counts = np.unique(want.round(9), return_counts=True)
        dropped = values[counts.argmax()]  # of normals none repeats
        kept = ~np.isclose(want, dropped, atol=1e-8)
        slope, shift = np.polyfit(x[kept], want[kept], 1)
        mine = np.isclose(got, dropped, atol=1e-8)
        np.testing.assert_allclose(got[~mine], slope * x[~mine] + shift, rtol=1e-9, atol=1e-9)
        assert abs(mine.mean() - p) <= 4 * np.sqrt(p * (1 - p) / (shape[0] * shape[1]))
        assert abs(got.mean()) <= 0.03 and abs(got.std() - 1) <= 0.03
        if len(shape) == 3:
            assert (mine == mine[..., :1]).all()
    assert (getattr(nn.functional, name)(gpudl.tensor(x), 1.0, training=True).numpy() == 0).all()
