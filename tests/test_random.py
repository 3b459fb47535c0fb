"""Random numbers: Philox's published vectors, the same numbers on every device and rung (ladders random.fill and random.seed), distributions.

Statistical bounds are at least five standard deviations of the estimate, on fixed seeds.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import gpudl
from gpudl import _dtypes
from gpudl._random import philox
from gpudl.nn import functional as F


@pytest.fixture(autouse=True)
def seeded() -> None:
    gpudl.manual_seed(1234)


# Salmon et al.'s Random123, file tests/kat_vectors: philox4x32, 10 rounds; counter, key, result.
@pytest.mark.parametrize(
    ("counter", "key", "want"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_known_answers(counter: str, key: str, want: str) -> None:
    c, k = ([int(w, 16) for w in text.split()] for text in (counter, key))
    got = philox(np.array([c[0] | c[1] << 32], np.uint64), c[2] | c[3] << 32, k[0] | k[1] << 32)
    assert " ".join(f"{w:08x}" for w in got[0]) == want


def test_uniforms_are_the_words_of_the_element() -> None:
    """Element i is word i % 4 of counter i // 4; the second draw is stream 1."""
    gpudl.manual_seed(7)
    for stream in range(2):
        words = philox(np.arange(3, dtype=np.uint64), stream, 7).reshape(-1)
        np.testing.assert_array_equal(gpudl.rand(11).numpy(), ((words >> 8) * 2.0**-24)[:11].astype(np.float32))


def test_a_shorter_draw_is_the_beginning_of_a_longer_one() -> None:
    for make in (gpudl.rand, gpudl.randn, lambda n: gpudl.randint(1000, (n,))):
        gpudl.manual_seed(3)
        long = make(50000).numpy()  # more than one chunk
        for n in (0, 1, 2, 3, 5, 4096, 40001):
            gpudl.manual_seed(3)
            np.testing.assert_array_equal(make(n).numpy(), long[:n])
    gpudl.manual_seed(3)
    np.testing.assert_array_equal(gpudl.rand(6, 7).numpy().reshape(-1), (gpudl.manual_seed(3), gpudl.rand(42).numpy())[1])


# ---------------------------------------------------------------------------------------------------------------------- the same everywhere
def draws(dtype: str, device: str) -> list[np.ndarray]:
    g = gpudl.Generator(device).manual_seed(99)
    made = [
        gpudl.rand(7, 13, dtype=dtype, generator=g),
        gpudl.empty(5, 3, dtype=dtype, device=device).uniform_(-3, 7.1, generator=g),
        gpudl.empty(5, 3, dtype=dtype, device=device).T.uniform_(0, 1e-3, generator=g),  # not contiguous
        gpudl.randint(-5, 1000, (17,), generator=g),
        gpudl.randint(0, 2**63 - 1, (9,), generator=g),
        gpudl.empty(33, dtype=gpudl.uint8, device=device).random_(generator=g),
        gpudl.randperm(31, generator=g),
        gpudl.bernoulli(gpudl.full((4, 5), 0.3, dtype=dtype, device=device), generator=g),
    ]
    return [np.ascontiguousarray(t.cpu().numpy()) for t in made]


@pytest.mark.emulator
@pytest.mark.parametrize("rung", ["01_naive", "02_whole", "03_vector"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_emulator_draws_the_same_bits(dtype: str, rung: str) -> None:
    assert {r.name for r in gpudl.kernels.ladder("random.fill")} == {"01_naive", "02_whole", "03_vector"}
    with gpudl.kernels.use("random.fill", rung), gpudl.kernels.emulation(sanitize=dtype == "float32"):
        for got, want in zip(draws(dtype, "emulator"), draws(dtype, "cpu"), strict=True):
            np.testing.assert_array_equal(got.view(np.uint8), want.view(np.uint8))


@pytest.mark.gpu
@pytest.mark.parametrize("rung", ["01_naive", "02_whole", "03_vector"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_a_gpu_draws_the_same_bits(dtype: str, rung: str) -> None:
    with gpudl.kernels.use("random.fill", rung):
        for got, want in zip(draws(dtype, "cuda"), draws(dtype, "cpu"), strict=True):
            np.testing.assert_array_equal(got.view(np.uint8), want.view(np.uint8))


def ulps(got: np.ndarray, want: np.ndarray) -> float:
    return float((np.abs(got.astype(np.float64) - want) / np.spacing(np.abs(want)).astype(np.float64)).max())


@pytest.mark.parametrize("device", [pytest.param("emulator", marks=pytest.mark.emulator), pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normals_agree_within_4_ulp(dtype: str, device: str) -> None:
    for rung in gpudl.kernels.ladder("random.fill"):
        with gpudl.kernels.use("random.fill", rung.name):
            want = gpudl.randn(20001, dtype=dtype, generator=gpudl.Generator().manual_seed(5)).numpy()
            got = gpudl.randn(20001, dtype=dtype, generator=gpudl.Generator(device).manual_seed(5)).cpu().numpy()
            assert ulps(got, want) <= 4


def test_normals_are_box_and_muller_to_4_ulp() -> None:
    """Against the same uniforms in NumPy's long double."""
    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("long double is no wider than double here")
    w = philox(np.arange(5000, dtype=np.uint64), 0, 5).astype(np.longdouble)
    two = np.longdouble(2)
    pi = np.longdouble("3.14159265358979323846264338327950288")
    u1, u2 = (w[:, 0::2] + 1) / two**32, w[:, 1::2] / two**32
    want = np.stack((np.sqrt(-2 * np.log(u1)) * np.cos(2 * pi * u2), np.sqrt(-2 * np.log(u1)) * np.sin(2 * pi * u2)), -1).reshape(-1)
    got = gpudl.randn(20000, generator=gpudl.Generator().manual_seed(5)).numpy()
    far = np.abs(want) > 1e-9  # at the exact zeros of cos and sin long double rounds 2 pi u as well
    assert far.mean() > 0.999 and ulps(got[far], want[far].astype(np.float32)) <= 1


# ----------------------------------------------------------------------------------------------------------------------------- generators
@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_state_and_seed(device: str) -> None:
    g = gpudl.Generator(device)
    assert g.manual_seed(42) is g and g.initial_seed() == 42 and g.device is gpudl.device(device)
    first = gpudl.rand(5, generator=g).tolist()
    state = g.get_state()
    assert state.dtype == gpudl.uint8 and state.device is gpudl.device("cpu")
    second = gpudl.rand(5, generator=g).tolist()
    assert first != second
    g.set_state(state)
    assert gpudl.rand(5, generator=g).tolist() == second
    copy = g.clone_state()
    assert gpudl.rand(3, generator=copy).tolist() == gpudl.rand(3, generator=g).tolist()
    g.manual_seed(42)
    assert gpudl.rand(5, generator=g).tolist() == first
    assert g.seed() != 42 and gpudl.rand(5, generator=g).tolist() != first
    g.manual_seed(-1)
    assert g.initial_seed() == 2**64 - 1
    other = gpudl.Generator("cpu")
    other.set_state(g.get_state())  # a state moves between devices
    assert gpudl.rand(4, generator=other).tolist() == gpudl.rand(4, generator=g).tolist()


@pytest.mark.emulator
def test_seed_and_draws_live_in_device_memory() -> None:
    """What a captured graph needs: the kernels read the seed and count the draws where they are, also after manual_seed (random.seed)."""
    g = gpudl.Generator("emulator").manual_seed(8)
    gpudl.rand(3, generator=g)
    memory = g.memory()
    assert memory.dtype == np.uint64 and memory.tolist() == [8, 1]
    gpudl.randn(3, generator=g)
    assert g.memory() is memory and memory.tolist() == [8, 2]
    with gpudl.kernels.emulation(sanitize=True):
        g.manual_seed(9)
    assert g.memory() is memory and memory.tolist() == [9, 0]


@pytest.mark.emulator
def test_manual_seed_reaches_every_device() -> None:
    results = []
    for _ in range(2):
        gpudl.manual_seed(77)
        results.append([gpudl.rand(4, device=d).tolist() + gpudl.randint(10, (3,), device=d).tolist() for d in ("cpu", "emulator")])
    assert results[0] == results[1] and results[0][0] == results[0][1]
    assert gpudl.initial_seed() == 77
    assert gpudl.default_generator("emulator").initial_seed() == 77


def test_generator_errors() -> None:
    with pytest.raises(TypeError, match=r"manual_seed: seed must be an integer, not float 1\.5"):
        gpudl.manual_seed(1.5)
    with pytest.raises(ValueError, match="does not fit into 64 bits"):
        gpudl.manual_seed(2**64)
    with pytest.raises(gpudl.DeviceError, match=r"rand: the generator is on emulator and the tensor on cpu"):
        gpudl.rand(2, generator=gpudl.Generator("emulator"), device="cpu")
    with pytest.raises(TypeError, match="rand: generator must be a gpudl.Generator, not Generator"):
        gpudl.rand(2, generator=np.random.default_rng(0), device="cpu")
    with pytest.raises(gpudl.ShapeError, match="get_state gives uint8"):
        gpudl.Generator().set_state(gpudl.ones(3))


# -------------------------------------------------------------------------------------------------------------------------- distributions
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_bounds_and_moments(dtype: str) -> None:
    n = 40000
    x = gpudl.rand(n, dtype=dtype).double().numpy()
    assert x.min() >= 0 and x.max() < 1
    assert abs(x.mean() - 0.5) <= 5 * math.sqrt(1 / 12 / n) + 2.0**-9
    assert abs(x.var() - 1 / 12) <= 5 * math.sqrt(1 / 180 / n) + 2.0**-9
    counts = np.histogram(x, 16, (0, 1))[0]
    assert ((counts - n / 16) ** 2 / (n / 16)).sum() < 15 + 5 * math.sqrt(30)  # chi squared, 15 degrees of freedom


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal_moments(dtype: str) -> None:
    n = 40000
    x = gpudl.normal(2.0, 3.0, (n,), dtype=dtype).double().numpy()
    z = (x - 2) / 3
    assert abs(z.mean()) <= 5 / math.sqrt(n) and abs(z.var() - 1) <= 5 * math.sqrt(2 / n)
    assert abs((z**3).mean()) <= 5 * math.sqrt(15 / n) and abs((z**4).mean() - 3) <= 5 * math.sqrt(96 / n)
    assert abs((z[0::2] * z[1::2]).mean()) <= 5 / math.sqrt(n / 2)  # the two of a pair
    assert (np.abs(z) < 1).mean() == pytest.approx(0.6827, abs=5 * math.sqrt(0.25 / n))


def test_randint() -> None:
    x = gpudl.randint(-3, 4, (70000,)).numpy()
    counts = np.bincount(x + 3, minlength=7)
    assert len(counts) == 7 and ((counts - 10000) ** 2 / 10000).sum() < 6 + 5 * math.sqrt(12)
    assert gpudl.randint(5, (2, 3)).shape == (2, 3) and gpudl.randint(high=5, size=(2,)).dtype == gpudl.int64
    assert gpudl.randint(0, 256, (4,), dtype=gpudl.uint8).dtype == gpudl.uint8 and gpudl.randint(3, (4,), dtype="float32").dtype == gpudl.float32
    assert gpudl.randint_like(gpudl.ones(3, dtype=gpudl.int32), 2, 5).dtype == gpudl.int32
    big = gpudl.randint(-(2**63), 2**63 - 1, (1000,)).numpy()
    assert (big < 0).any() and (big > 2**62).any()
    with pytest.raises(RuntimeError, match="randint: low 5 must be below high 5"):
        gpudl.randint(5, 5, (3,))
    with pytest.raises(RuntimeError, match=r"randint: \[0, 300\) does not fit into uint8, which holds 0 to 255"):
        gpudl.randint(300, (3,), dtype=gpudl.uint8)
    with pytest.raises(TypeError, match=r"randint: takes \(high, size\) or"):
        gpudl.randint(3)


def test_randperm() -> None:
    for n in (0, 1, 7, 1000):
        assert sorted(gpudl.randperm(n).tolist()) == list(range(n))
    assert gpudl.randperm(5, dtype=gpudl.int32).dtype == gpudl.int32
    places = np.array([gpudl.randperm(4).tolist().index(0) for _ in range(2000)])
    assert ((np.bincount(places, minlength=4) - 500) ** 2 / 500).sum() < 3 + 5 * math.sqrt(6)
    with pytest.raises(RuntimeError, match="randperm: n must not be negative"):
        gpudl.randperm(-1)


def test_bernoulli() -> None:
    n = 40000
    x = gpudl.bernoulli(gpudl.full((n,), 0.3))
    assert set(x.unique().tolist() if hasattr(x, "unique") else x.tolist()) == {0.0, 1.0}
    assert abs(x.numpy().mean() - 0.3) <= 5 * math.sqrt(0.21 / n)
    assert gpudl.bernoulli(gpudl.tensor([0.0, 1.0])).tolist() == [0, 1]
    assert gpudl.empty(3, dtype=gpudl.bool_).bernoulli_(1.0).tolist() == [True] * 3
    with pytest.raises(RuntimeError, match=r"bernoulli: a probability lies outside \[0, 1\]"):
        gpudl.bernoulli(gpudl.tensor([0.5, float("nan")]))
    with pytest.raises(RuntimeError, match="bernoulli_: p 2 is not a probability"):
        gpudl.empty(3).bernoulli_(2)


def test_multinomial() -> None:
    weights = gpudl.tensor([1.0, 0.0, 3.0])
    drawn = gpudl.multinomial(weights, 4000, replacement=True).numpy()
    assert set(drawn) == {0, 2} and abs((drawn == 2).mean() - 0.75) <= 5 * math.sqrt(0.1875 / 4000)
    first = np.array([gpudl.multinomial(weights, 2).tolist() for _ in range(1000)])
    assert (np.sort(first, 1) == [0, 2]).all() and abs((first[:, 0] == 2).mean() - 0.75) <= 5 * math.sqrt(0.1875 / 1000)
    assert gpudl.multinomial(gpudl.ones(5, 3), 2).shape == (5, 2)
    with pytest.raises(RuntimeError, match="4 samples without replacement from 3 categories"):
        gpudl.multinomial(weights, 4)
    with pytest.raises(RuntimeError, match="fewer categories of positive weight"):
        gpudl.multinomial(weights, 3)
    with pytest.raises(RuntimeError, match="weights must be finite"):
        gpudl.multinomial(gpudl.tensor([1.0, -1.0]), 1)


@pytest.mark.emulator
def test_multinomial_on_a_kernel_device() -> None:
    weights = gpudl.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, 1.0]])
    for replacement in (False, True):
        results = [gpudl.multinomial(weights.to(d), 2, replacement, generator=gpudl.Generator(d).manual_seed(1)).tolist() for d in ("cpu", "emulator")]
        assert results[0] == results[1]


def test_in_place_and_like() -> None:
    x = gpudl.ones(4, 5).T
    assert x.uniform_(2, 3) is x and (x >= 2).all() and (x < 3).all()
    assert (x.exponential_(2.0) >= 0).all() and x.random_(4).max() < 4 and x.normal_(0, 0).tolist() == [[0.0] * 4] * 5
    assert gpudl.rand_like(x).shape == (5, 4) and gpudl.randn_like(x, dtype=gpudl.float64).dtype == gpudl.float64
    leaf = gpudl.ones(3).requires_grad_()
    with pytest.raises(RuntimeError, match="uniform_: a leaf that requires a gradient cannot be changed in place"):
        leaf.uniform_()
    y = leaf * 2
    z = y * y
    y.uniform_()
    with pytest.raises(RuntimeError, match="was changed in place"):
        z.sum().backward()
    with pytest.raises(gpudl._errors.DtypeError, match="uniform_: dtype is int64"):
        gpudl.arange(3).uniform_()
    with pytest.raises(RuntimeError, match="uniform_: from 2 must not be above to 1"):
        gpudl.ones(3).uniform_(2, 1)
    with pytest.raises(RuntimeError, match="normal: std -1.0 must not be negative"):
        gpudl.normal(0.0, -1.0, (3,))
    assert gpudl.normal(gpudl.zeros(3), gpudl.tensor([0.0, 0.0, 0.0])).tolist() == [0, 0, 0]
    assert gpudl.rand(2, requires_grad=True).requires_grad
    with pytest.raises(gpudl.ShapeError, match="rand: negative size"):
        gpudl.rand(-1)


# ----------------------------------------------------------------------------------------------------------------------------- dropout
def test_dropout_keeps_the_mean_and_repeats_with_the_seed() -> None:
    x = gpudl.ones(200, 200).requires_grad_()
    y = F.dropout(x, 0.25)
    kept = (y != 0).numpy()
    assert abs(kept.mean() - 0.75) <= 5 * math.sqrt(0.1875 / kept.size)
    np.testing.assert_allclose(y.detach().numpy()[kept], 1 / 0.75, rtol=1e-6)
    y.backward(gpudl.ones(200, 200))
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
    gpudl.manual_seed(5)
    first = F.dropout(x, 0.5)
    second = F.dropout(x, 0.5)
    gpudl.manual_seed(5)
    assert (F.dropout(x, 0.5) == first).all() and not (second == first).all()


def test_dropout_at_the_ends_and_in_place() -> None:
    x = gpudl.randn(50)
    assert F.dropout(x, 0.0) is x and F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 1.0).tolist() == [0.0] * 50
    y = x * 1
    assert F.dropout(y, 0.5, inplace=True) is y and (y == 0).any()
    with pytest.raises(ValueError, match="dropout: the dropout probability must be between 0 and 1, not -0.1"):
        F.dropout(x, -0.1)


@pytest.mark.emulator
def test_dropout_draws_the_same_mask_on_every_device() -> None:
    x = np.random.default_rng(0).normal(size=(7, 61)).astype(np.float32)
    results = []
    for device in ("cpu", "emulator"):
        gpudl.manual_seed(11)
        results.append([F.dropout(gpudl.tensor(x, device=device), 0.3).cpu().numpy() for _ in range(2)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


def test_dtypes_and_a_fresh_seed() -> None:
    assert gpudl.rand(3).dtype == gpudl.get_default_dtype() and gpudl.rand(3, dtype="float16").dtype == _dtypes.float16
    assert gpudl.seed() == gpudl.initial_seed()
