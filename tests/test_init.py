"""nn.init: the laws and bounds of starting values, repeatability, errors. (tests/against_torch compares them with PyTorch's.)"""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.nn import init


def drawn(name, shape=(300, 200), seed=0, **kwargs):
    gpudl.manual_seed(seed)
    t = gpudl.empty(*shape)
    assert getattr(init, name)(t, **kwargs) is t
    return t.numpy().astype(np.float64)


def check_moments(x, mean, std, sigmas=6):
    """Mean and standard deviation within six standard errors (those of a normal law; a uniform one has smaller)."""
    n = x.size
    assert abs(x.mean() - mean) <= sigmas * std / math.sqrt(n)
    assert abs(x.std() - std) <= sigmas * std / math.sqrt(2 * n)


FAN_IN, FAN_OUT = 200, 300


@pytest.mark.parametrize(
    "name, kwargs, bound",
    [
        ("uniform_", dict(a=-2.0, b=2.0), 2.0),
        ("xavier_uniform_", {}, math.sqrt(6 / 500)),
        ("xavier_uniform_", dict(gain=3.0), 3 * math.sqrt(6 / 500)),
        ("kaiming_uniform_", {}, math.sqrt(6 / FAN_IN)),
        ("kaiming_uniform_", dict(mode="fan_out", nonlinearity="relu"), math.sqrt(6 / FAN_OUT)),
        ("kaiming_uniform_", dict(a=math.sqrt(5)), 1 / math.sqrt(FAN_IN)),
    ],
)
def test_uniform_laws(name, kwargs, bound):
    x = drawn(name, **kwargs)
    assert abs(x).max() <= bound * (1 + 1e-6) and x.max() >= 0.999 * bound and x.min() <= -0.999 * bound
    check_moments(x, 0, bound / math.sqrt(3))


@pytest.mark.parametrize(
    "name, kwargs, mean, std",
    [
        ("normal_", dict(mean=1.5, std=0.2), 1.5, 0.2),
        ("xavier_normal_", {}, 0, math.sqrt(2 / 500)),
        ("kaiming_normal_", dict(nonlinearity="relu"), 0, math.sqrt(2 / FAN_IN)),
        ("kaiming_normal_", dict(mode="fan_out", nonlinearity="linear"), 0, math.sqrt(1 / FAN_OUT)),
    ],
)
def test_normal_laws(name, kwargs, mean, std):
    check_moments(drawn(name, **kwargs), mean, std)


def test_fans_count_the_kernel():
    x = drawn("kaiming_uniform_", (8, 6, 5, 3), a=math.sqrt(5))
    assert 0.9 / math.sqrt(6 * 15) <= abs(x).max() <= (1 + 1e-6) / math.sqrt(6 * 15)


def test_trunc_normal():
    x = drawn("trunc_normal_", mean=1.0, std=2.0, a=-1.0, b=2.0)
    assert x.min() >= -1 and x.max() <= 2
    alpha, beta = (-1 - 1) / 2, (2 - 1) / 2  # of the standard normal
    density = lambda v: math.exp(-v * v / 2) / math.sqrt(2 * math.pi)
    mass = (math.erf(beta / math.sqrt(2)) - math.erf(alpha / math.sqrt(2))) / 2
    shift = (density(alpha) - density(beta)) / mass
    var = 1 + (alpha * density(alpha) - beta * density(beta)) / mass - shift**2
    check_moments(x, 1 + 2 * shift, 2 * math.sqrt(var))
    far = drawn("trunc_normal_", std=1.0, a=-50.0, b=50.0)  # hardly truncated: a normal law, without infinities
    check_moments(far, 0, 1)


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (30, 30), (20, 3, 5)])
def test_orthogonal(shape):
    x = drawn("orthogonal_", shape, gain=3.0).reshape(shape[0], -1) / 3
    gram = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)


def test_constants():
    assert (drawn("constant_", val=0.25) == 0.25).all() and (drawn("ones_") == 1).all() and (drawn("zeros_") == 0).all()
    assert (drawn("eye_", (3, 5)) == np.eye(3, 5)).all()


def test_dirac_passes_its_input_through():
    w = gpudl.empty(4, 4, 3, 3)
    init.dirac_(w)
    x = gpudl.randn(2, 4, 5, 6)
    np.testing.assert_allclose(nn.functional.conv2d(x, w, padding=1).numpy(), x.numpy(), rtol=1e-6)
    w = gpudl.empty(4, 2, 3, 3)
    init.dirac_(w, groups=2)
    np.testing.assert_allclose(nn.functional.conv2d(x, w, padding=1, groups=2).numpy(), x.numpy(), rtol=1e-6)


def test_sparse():
    x = drawn("sparse_", (50, 40), sparsity=0.31, std=0.5)
    assert ((x == 0).sum(0) == math.ceil(0.31 * 50)).all()
    check_moments(x[x != 0], 0, 0.5)


@pytest.mark.parametrize(
    "name, kwargs",
    [("uniform_", {}), ("normal_", {}), ("trunc_normal_", {}), ("xavier_normal_", {}), ("kaiming_uniform_", {}), ("orthogonal_", {}),
     ("sparse_", dict(sparsity=0.5))],
)  # fmt: skip
def test_seed_and_generator(name, kwargs):
    a, b, c = drawn(name, **kwargs), drawn(name, **kwargs), drawn(name, seed=1, **kwargs)
    assert (a == b).all() and not (a == c).all()
    own = []
    for _ in range(2):
        generator, t = gpudl.Generator(), gpudl.empty(300, 200)
        generator.manual_seed(5)
        gpudl.rand(3)  # the default generator is not touched by, nor touches, the given one
        getattr(init, name)(t, generator=generator, **kwargs)
        own.append(t.numpy())
    assert (own[0] == own[1]).all()


def test_one_seed_repeats_a_model():
    models = []
    for seed in (3, 3, 4):
        gpudl.manual_seed(seed)
        models.append(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 5), nn.Embedding(3, 4)).state_dict())
    assert all((models[0][k].numpy() == models[1][k].numpy()).all() for k in models[0])
    assert not any((models[0][k].numpy() == models[2][k].numpy()).all() for k in models[0])


@pytest.mark.parametrize("dtype", [gpudl.float64, gpudl.float16, gpudl.bfloat16])
@pytest.mark.parametrize("name", ["uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "kaiming_normal_", "orthogonal_", "eye_", "ones_"])
def test_every_dtype_and_a_parameter(name, dtype):
    p = nn.Parameter(gpudl.empty(6, 4, dtype=dtype))
    assert getattr(init, name)(p) is p
    assert p.dtype == dtype and p.requires_grad and p.is_leaf and np.isfinite(p.detach().numpy().astype(np.float64)).all()


def test_fans_of_empty_layers():
    layer = nn.Linear(0, 3)
    assert layer.weight.shape == (3, 0) and layer(gpudl.ones(2, 0)).shape == (2, 3)
    for name in ("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_"):
        getattr(init, name)(gpudl.empty(0, 3))


def test_gains():
    assert init.calculate_gain("linear") == init.calculate_gain("conv2d") == init.calculate_gain("sigmoid") == 1
    assert init.calculate_gain("tanh") == 5 / 3 and init.calculate_gain("relu") == math.sqrt(2) and init.calculate_gain("selu") == 0.75
    assert init.calculate_gain("leaky_relu", 0.5) == pytest.approx(math.sqrt(2 / 1.25))


def test_errors():
    one, two = gpudl.empty(3), gpudl.empty(3, 4)
    for name in ("xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_"):
        with pytest.raises(ValueError, match=rf"{name}: fan in and fan out need a tensor of 2 or more dimensions, this one is \(3,\)"):
            getattr(init, name)(one)
    for call, message in (
        (lambda: init.kaiming_normal_(two, mode="fan"), "mode 'fan' is not supported"),
        (lambda: init.calculate_gain("swish"), "unsupported nonlinearity 'swish'"),
        (lambda: init.calculate_gain("leaky_relu", True), "not a valid number"),
        (lambda: init.eye_(one), "only tensors with 2 dimensions"),
        (lambda: init.dirac_(two), "3, 4, or 5 dimensions"),
        (lambda: init.dirac_(gpudl.empty(3, 2, 3), groups=2), "cannot be divided by groups"),
        (lambda: init.orthogonal_(one), "2 or more dimensions"),
        (lambda: init.sparse_(one, 0.5), "only tensors with 2 dimensions"),
        (lambda: init.trunc_normal_(two, a=2.0, b=1.0), "a = 2.0 must be smaller than b = 1.0"),
        (lambda: init.trunc_normal_(two, std=0.0), "std must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
