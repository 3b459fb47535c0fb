"""CUDA's mathematical functions and intrinsics: each compiles (also under NVRTC, where it is installed), and those that are ours give right values."""

import math
import re
from fractions import Fraction

import numpy as np
import pytest

from gpudl import emulator

pytestmark = pytest.mark.emulator

U, LL, ULL = "unsigned", "long long", "unsigned long long"
ROUNDINGS = ("rd", "rn", "ru", "rz")
COMPARISONS = ("eq", "ne", "ge", "gt", "le", "lt")


def reals():
    """`result name(arguments)` of the functions for float and double."""
    one = """acos acosh asin asinh atan atanh cbrt ceil cos cosh cospi cyl_bessel_i0 cyl_bessel_i1 erf erfc erfcinv erfcx erfinv exp exp10 exp2
        expm1 fabs floor j0 j1
        lgamma log log10 log1p log2 logb nearbyint normcdf normcdfinv rcbrt rint round rsqrt sin sinh sinpi sqrt tan tanh tgamma trunc y0 y1""".split()
    two = "atan2 copysign fdim fmax fmin fmod hypot nextafter pow remainder rhypot".split()
    for t, f in (("double", ""), ("float", "f")):
        yield from (f"{t} {n}{f}({t})" for n in one)
        yield from (f"{t} {n}{f}({t},{t})" for n in two)
        yield from (f"{t} {n}{f}({t},{t},{t})" for n in ("fma", "norm3d", "rnorm3d"))
        yield from (f"{t} {n}{f}({t},{t},{t},{t})" for n in ("norm4d", "rnorm4d"))
        yield from (f"int {n}({t})" for n in (f"ilogb{f}", "isfinite", "isinf", "isnan", "signbit"))
        yield from (f"long {n}{f}({t})" for n in ("lrint", "lround"))
        yield from (f"{LL} {n}{f}({t})" for n in ("llrint", "llround"))
        yield from (f"{t} {n}{f}(int,{t})" for n in ("jn", "yn"))
        yield from (f"{t} {n}{f}({t},int)" for n in ("ldexp", "scalbn"))
        yield from (f"{t} {n}{f}(int,const {t}*)" for n in ("norm", "rnorm"))
        yield from (f"{t} scalbln{f}({t},long)", f"{t} frexp{f}({t},int*)", f"{t} modf{f}({t},{t}*)", f"{t} remquo{f}({t},{t},int*)")
        yield from (f"void {n}{f}({t},{t}*,{t}*)" for n in ("sincos", "sincospi"))
        yield from (f"{t} {n}({t},{t})" for n in ("max", "min"))
        yield f"{t} abs({t})"
    yield from (f"float {n}(float)" for n in one if "bessel" not in n)  # overloads
    yield from (f"float {n}(float,float)" for n in two if n != "rhypot")
    yield from ("float fma(float,float,float)", "float fdividef(float,float)", "float pow(float,int)", "double pow(double,int)")


def intrinsics():
    yield from (f"float __{n}f(float)" for n in "cos exp10 exp log10 log2 log sin tan".split())
    yield from ("float __powf(float,float)", "float __saturatef(float)", "float __fdividef(float,float)", "void __sincosf(float,float*,float*)",
                "float __frsqrt_rn(float)", "double __int2double_rn(int)", f"double __uint2double_rn({U})")  # fmt: skip
    for r in ROUNDINGS:
        for t, d in (("float", "f"), ("double", "d")):
            yield from (f"{t} __{d}{n}_{r}({t},{t})" for n in ("add", "sub", "mul", "div"))
            yield from (f"{t} __{d}{n}_{r}({t})" for n in ("rcp", "sqrt"))
        yield from (f"float __fmaf_{r}(float,float,float)", f"float __fmaf_ieee_{r}(float,float,float)", f"double __fma_{r}(double,double,double)")
        yield f"float __double2float_{r}(double)"
        for n, t in (("int", "int"), ("uint", U), ("ll", LL), ("ull", ULL)):
            yield from (f"{t} __double2{n}_{r}(double)", f"{t} __float2{n}_{r}(float)", f"float __{n}2float_{r}({t})")
        yield from (f"double __ll2double_{r}({LL})", f"double __ull2double_{r}({ULL})")
    yield from ("int __double2hiint(double)", "int __double2loint(double)", "double __hiloint2double(int,int)", f"{LL} __double_as_longlong(double)",
                f"double __longlong_as_double({LL})", "int __float_as_int(float)", f"{U} __float_as_uint(float)", "float __int_as_float(int)",
                f"float __uint_as_float({U})")  # fmt: skip
    yield from (f"{U} __brev({U})", f"{ULL} __brevll({ULL})", f"{U} __byte_perm({U},{U},{U})", "int __clz(int)", f"int __clzll({LL})", "int __ffs(int)",
                f"int __ffsll({LL})", f"{U} __fns({U},{U},int)", f"int __popc({U})", f"int __popcll({ULL})")  # fmt: skip
    yield from (f"{U} __funnelshift_{n}({U},{U},{U})" for n in ("l", "lc", "r", "rc"))
    yield from (f"int __{n}(int,int)" for n in ("hadd", "rhadd", "mul24", "mulhi"))
    yield from (f"{U} __u{n}({U},{U})" for n in ("hadd", "rhadd", "mul24", "mulhi"))
    yield from (f"{LL} __mul64hi({LL},{LL})", f"{ULL} __umul64hi({ULL},{ULL})", f"{U} __sad(int,int,{U})", f"{U} __usad({U},{U},{U})")
    yield from (f"{t} __{n}({t},{t},{t})" for n in ("dp4a", "dp2a_lo", "dp2a_hi") for t in ("int", U))
    yield from ("int abs(int)", "long labs(long)", f"{LL} llabs({LL})")
    for n in ("max", "min"):
        yield from (f"{t} {n}({t},{t})" for t in ("int", U, "long", "unsigned long", LL, ULL))
        yield from (f"{LL} ll{n}({LL},{LL})", f"{ULL} ull{n}({ULL},{ULL})", f"{U} u{n}({U},{U})")
    for n in (2, 4):
        yield from (f"{U} __{name}{n}({U})" for name in ("vabs", "vabsss", "vneg", "vnegss"))
        yield from (f"{U} __{name}{n}({U},{U})" for name in PARTS if name not in ("vabs", "vabsss", "vneg", "vnegss"))


def halves(word, t):
    """Those of cuda_fp16.h (word half) and cuda_bf16.h (word bfloat16)."""
    t2 = f"{t}2"
    plain = ("", "_rn", "_sat")
    yield from (f"{t} __{n}{v}({t},{t})" for n in ("hadd", "hsub", "hmul") for v in plain)
    yield from (f"{t2} __{n}2{v}({t2},{t2})" for n in ("hadd", "hsub", "hmul") for v in plain)
    yield from (f"{t} __{n}({t},{t})" for n in ("hdiv", "hmax", "hmax_nan", "hmin", "hmin_nan"))
    yield from (f"{t2} __{n}({t2},{t2})" for n in ("h2div", "hmax2", "hmax2_nan", "hmin2", "hmin2_nan"))
    yield from (f"{t} __hfma{v}({t},{t},{t})" for v in ("", "_relu", "_sat"))
    yield from (f"{t2} __hfma2{v}({t2},{t2},{t2})" for v in ("", "_relu", "_sat"))
    yield from (f"{t} __habs({t})", f"{t} __hneg({t})", f"{t2} __habs2({t2})", f"{t2} __hneg2({t2})", f"int __hisinf({t})", f"bool __hisnan({t})",
                f"{t2} __hisnan2({t2})", f"{t2} __hcmadd({t2},{t2},{t2})")  # fmt: skip
    for c in [c + u for c in COMPARISONS for u in ("", "u")]:
        yield from (f"bool __h{c}({t},{t})", f"bool __hb{c}2({t2},{t2})", f"{U} __h{c}2_mask({t2},{t2})", f"{t2} __h{c}2({t2},{t2})")
    yield from (f"{t} __float2{word}{r}(float)" for r in ("", "_rd", "_rn", "_ru", "_rz"))
    yield from (f"{t} __double2{word}(double)", f"float __{word}2float({t})", f"{t2} __float2{word}2_rn(float)", f"{t2} __floats2{word}2_rn(float,float)",
                f"{t2} __float22{word}2_rn(float2)", f"float2 __{word}22float2({t2})", f"{t2} __{word}2{word}2({t})", f"{t2} __halves2{word}2({t},{t})",
                f"{t} __low2{word}({t2})", f"{t} __high2{word}({t2})", f"{t2} __low2{word}2({t2})", f"{t2} __high2{word}2({t2})", f"float __low2float({t2})",
                f"float __high2float({t2})", f"{t2} __lows2{word}2({t2},{t2})", f"{t2} __highs2{word}2({t2},{t2})", f"{t2} __lowhigh2highlow({t2})",
                f"{t2} make_{word}2({t},{t})", f"short __{word}_as_short({t})", f"unsigned short __{word}_as_ushort({t})", f"{t} __short_as_{word}(short)",
                f"{t} __ushort_as_{word}(unsigned short)")  # fmt: skip
    for n, i in (("int", "int"), ("uint", U), ("ll", LL), ("ull", ULL), ("short", "short"), ("ushort", "unsigned short")):
        for r in ROUNDINGS:
            yield from (f"{i} __{word}2{n}_{r}({t})", f"{t} __{n}2{word}_{r}({i})")
    for n in "ceil cos exp exp10 exp2 floor log log10 log2 rcp rint rsqrt sin sqrt trunc".split():
        yield from (f"{t} h{n}({t})", f"{t2} h2{n}({t2})")


HEAD = """
template <class A> __device__ A take(const double* x, int k) { return (A)x[k]; }
template <class A> __device__ void put(double* y, int i, A v) { y[i] = (double)v; }
"""
HALF_HEAD = """#include <cuda_fp16.h>
#include <cuda_bf16.h>
""" + HEAD + """
template <> __device__ float2 take<float2>(const double* x, int k) { return make_float2((float)x[k], (float)x[k]); }
template <> __device__ __half take<__half>(const double* x, int k) { return __float2half((float)x[k]); }
template <> __device__ __half2 take<__half2>(const double* x, int k) { return __floats2half2_rn((float)x[k], (float)x[k]); }
template <> __device__ __nv_bfloat16 take<__nv_bfloat16>(const double* x, int k) { return __float2bfloat16((float)x[k]); }
template <> __device__ __nv_bfloat162 take<__nv_bfloat162>(const double* x, int k) { return __floats2bfloat162_rn((float)x[k], (float)x[k]); }
template <> __device__ void put<float2>(double* y, int i, float2 v) { y[i] = v.x; }
template <> __device__ void put<__half>(double* y, int i, __half v) { y[i] = __half2float(v); }
template <> __device__ void put<__half2>(double* y, int i, __half2 v) { y[i] = __low2float(v); }
template <> __device__ void put<__nv_bfloat16>(double* y, int i, __nv_bfloat16 v) { y[i] = __bfloat162float(v); }
template <> __device__ void put<__nv_bfloat162>(double* y, int i, __nv_bfloat162 v) { y[i] = __low2float(v); }
"""  # fmt: skip


def program(head, signatures, wide=1):
    """A kernel that calls each function with arguments from row threadIdx.x of x (as many as `wide` says), results in rows of y."""
    lines = [head, f'extern "C" __global__ void k(const double* rows, double* y) {{ const double* x = rows + {wide} * threadIdx.x;',
             f"y += {len(signatures)} * threadIdx.x;"]  # fmt: skip
    for i, signature in enumerate(signatures):
        result, name, types = re.fullmatch(r"(.+?) ?\b(\w+)\((.*)\)", signature).groups()
        before, arguments = "", []
        for k, t in enumerate(types.split(",")):
            if t.startswith("const "):
                before += f"{t[6:-1]} p{k}[3] = {{({t[6:-1]})x[0], ({t[6:-1]})x[1], ({t[6:-1]})x[2]}}; "
                arguments.append(f"p{k}")
            elif t.endswith("*"):
                before += f"{t[:-1]} p{k}; "
                arguments.append(f"&p{k}")
            else:
                arguments.append(f"take<{t}>(x, {k})")
        call = f"{name}({', '.join(arguments)})"
        value = f"{call}; put(y, {i}, {arguments[1][1:]})" if result == "void" else f"put(y, {i}, ({result}){call})"
        lines.append(f"    {{ {before}{value}; }}")
    return "\n".join([*lines, "}", ""])


def evaluate(signatures, rows, head=HEAD):
    rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
    y = np.zeros((len(rows), len(signatures)))
    module = emulator.compile(program(head, signatures, rows.shape[1]), sanitize=False)
    module.get_function("k")(1, len(rows), (rows, y))
    return y


def parts(x, bits, signed):
    x = (np.asarray(x, np.int64)[..., None] >> np.arange(0, 32, bits)) & ((1 << bits) - 1)
    return np.where(x >= 1 << (bits - 1), x - (1 << bits), x) if signed else x


# name -> (the parts are signed, what becomes of them; low and high are the limits of a part)
PARTS = {
    "vabs": (True, lambda a, b, low, high: abs(a)),
    "vabsss": (True, lambda a, b, low, high: np.minimum(abs(a), high)),
    "vneg": (True, lambda a, b, low, high: -a),
    "vnegss": (True, lambda a, b, low, high: np.minimum(-a, high)),
    "vabsdiffs": (True, lambda a, b, low, high: abs(a - b)),
    "vabsdiffu": (False, lambda a, b, low, high: abs(a - b)),
    "vadd": (True, lambda a, b, low, high: a + b),
    "vaddss": (True, lambda a, b, low, high: np.clip(a + b, low, high)),
    "vaddus": (False, lambda a, b, low, high: np.clip(a + b, low, high)),
    "vsub": (True, lambda a, b, low, high: a - b),
    "vsubss": (True, lambda a, b, low, high: np.clip(a - b, low, high)),
    "vsubus": (False, lambda a, b, low, high: np.clip(a - b, low, high)),
    "vavgs": (True, lambda a, b, low, high: (a + b) // 2 + ((a + b) // 2 >= 0) * ((a + b) % 2)),  # ties up from 0, as NVRTC's PTX does it
    "vavgu": (False, lambda a, b, low, high: (a + b + 1) // 2),
    "vhaddu": (False, lambda a, b, low, high: (a + b) // 2),
    "vmaxs": (True, lambda a, b, low, high: np.maximum(a, b)),
    "vmaxu": (False, lambda a, b, low, high: np.maximum(a, b)),
    "vmins": (True, lambda a, b, low, high: np.minimum(a, b)),
    "vminu": (False, lambda a, b, low, high: np.minimum(a, b)),
    "vsads": (True, lambda a, b, low, high: abs(a - b).sum(-1)),
    "vsadu": (False, lambda a, b, low, high: abs(a - b).sum(-1)),
}
for _name, _u in (("equal", "eq"), ("not_equal", "ne"), ("greater_equal", "ge"), ("greater", "gt"), ("less_equal", "le"), ("less", "lt")):
    for _s in ("",) if _u in ("eq", "ne") else ("s", "u"):
        _compare = lambda a, b, low, high, name=_name: getattr(np, name)(a, b).astype(np.int64)
        PARTS[f"vset{_u}{_s}"] = (_s != "u", _compare)
        PARTS[f"vcmp{_u}{_s}"] = (_s != "u", lambda a, b, low, high, f=_compare: -f(a, b, low, high))

LISTS = {
    "reals": (HEAD, list(reals())),
    "intrinsics": (HEAD, list(intrinsics())),
    "half": (HALF_HEAD, list(halves("half", "__half"))),
    "bfloat16": (HALF_HEAD, list(halves("bfloat16", "__nv_bfloat16"))),
}


@pytest.mark.parametrize("name", LISTS)
def test_every_function_compiles(name):
    head, signatures = LISTS[name]
    assert len(signatures) > 190
    y = evaluate(signatures, [[0.5] * 4], head)
    missing = [s for s, v in zip(signatures, y[0], strict=True) if np.isnan(v) and "acosh" not in s and " nan" not in s]
    assert not [s for s in missing if not re.search(r"__(int|uint|longlong)_as_|hiloint", s)], missing


@pytest.mark.parametrize("name", ["reals", "intrinsics"])
def test_nvrtc_knows_the_same_functions(name):
    from gpudl import _nvrtc

    try:
        _nvrtc.compile(program(*LISTS[name], wide=4), f"{name}.cu", "sm_80")
    except _nvrtc.NvrtcMissing as error:
        pytest.skip(str(error))


def test_values_of_functions_that_the_c_library_lacks():
    special = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(-30, 60, 181), [-1e-5, 0, 1e-9, 24.9, 25.1, 500, 700]])
    names = ["erfcx", "cyl_bessel_i0", "cyl_bessel_i1", "normcdf", "rcbrt", "rsqrt"]
    got = evaluate([f"double {n}(double)" for n in names], x).T
    with np.errstate(all="ignore"):
        want = [special.erfcx(x), special.i0(x), special.i1(x), special.ndtr(x), 1 / np.cbrt(x), x**-0.5]
    for name, g, w in zip(names, got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=2e-14 if name != "normcdf" else 1e-13, atol=1e-300, err_msg=name)
    p = np.array([0, 1e-300, 1e-30, 1e-5, 0.02, 0.3, 0.5, 0.50001, 0.9, 0.99, 1 - 1e-10, 1, 1.5])
    got = evaluate([f"double {n}(double)" for n in ("normcdfinv", "erfinv", "erfcinv")], p).T
    with np.errstate(all="ignore"):
        for name, g, w in zip(("normcdfinv", "erfinv", "erfcinv"), got, (special.ndtri(p), special.erfinv(p), special.erfcinv(p)), strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-13, atol=1e-15, err_msg=name)
    rows = np.random.default_rng(0).normal(size=(20, 4))
    got = evaluate(["double norm3d(double,double,double)", "double rnorm4d(double,double,double,double)", "float rhypotf(float,float)",
                    "double norm(int,const double*)"], np.column_stack([np.full(20, 3.0), rows[:, 1:]])).T  # fmt: skip
    full = np.column_stack([np.full(20, 3.0), rows[:, 1:]])
    norm = lambda n: np.sqrt((full[:, :n] ** 2).sum(1))
    for g, w, tolerance in zip(got, (norm(3), 1 / norm(4), 1 / norm(2), norm(3)), (1e-14, 1e-14, 1e-6, 1e-14), strict=True):
        np.testing.assert_allclose(g, w, rtol=tolerance)


def directed(exact, nearest, smaller, mode):
    """The neighbours of an exact value: which of them a direction picks."""
    if nearest == exact:
        return nearest
    below, above = (nearest, smaller(nearest, math.inf)) if nearest < exact else (smaller(nearest, -math.inf), nearest)
    return {"rd": below, "ru": above, "rz": below if exact > 0 else above, "rn": nearest}[mode]


def test_rounding_in_each_direction():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(40, 3)) * 10.0 ** rng.integers(-3, 4, (40, 3))
    rows = rows.astype(np.float32).astype(np.float64)
    operations = {"add": lambda a, b, c: a + b, "sub": lambda a, b, c: a - b, "mul": lambda a, b, c: a * b,
                  "div": lambda a, b, c: a / b, "rcp": lambda a, b, c: 1 / a}  # fmt: skip
    for mode in ROUNDINGS:
        signatures = [f"{t} __{d}{n}_{mode}({t}{'' if n == 'rcp' else ',' + t})" for t, d in (("float", "f"), ("double", "d")) for n in operations]
        signatures += [f"float __fmaf_{mode}(float,float,float)", f"double __fma_{mode}(double,double,double)", f"float __double2float_{mode}(double)"]
        got = evaluate(signatures, rows)
        for row, values in zip(rows, got, strict=True):
            exact = [Fraction(v) for v in row]
            results = [f(*exact) for f in operations.values()] * 2 + [exact[0] * exact[1] + exact[2]] * 2 + [exact[0]]
            for signature, want, value in zip(signatures, results, values, strict=True):
                single = signature.startswith("float")
                nearest = float(np.float32(float(want))) if single else float(want)
                after = lambda v, to: float(np.nextafter(np.float32(v), np.float32(to)))
                candidates = directed(want, nearest, after if single else math.nextafter, mode)
                assert value == candidates, (signature, row)
        big = evaluate([f"float __ll2float_{mode}(long long)", f"float __int2float_{mode}(int)"], [[16777217.0], [-16777219.0]])
        for row, exact in zip(big, (16777217, -16777219), strict=True):
            assert (row == directed(exact, float(np.float32(exact)), lambda v, to: float(np.nextafter(np.float32(v), np.float32(to))), mode)).all()


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_round_once_in_each_direction(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype, word, t = (np.dtype(np.float16), "half", "__half") if name == "float16" else (np.dtype(ml_dtypes.bfloat16), "bfloat16", "__nv_bfloat16")
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(size=300) * 10.0 ** rng.integers(-6, 5, 300), [65519, 65520, 70000, -70000, 1e-8, -1e-8, 0.1, 3]]).astype(np.float32)
    got = evaluate([f"{t} __float2{word}_{mode}(float)" for mode in ROUNDINGS], x, HALF_HEAD)
    with np.errstate(invalid="ignore"):
        table = np.sort(np.unique(np.arange(65536, dtype=np.uint16).view(dtype).astype(np.float64)))
    table = table[~np.isnan(table)]
    for value, row in zip(x.astype(np.float64), got, strict=True):
        below, above = table[table <= value].max(), table[table >= value].min()
        assert (row[0], row[2], row[3]) == (below, above, below if value > 0 else above), value
        with np.errstate(over="ignore"):
            assert row[1] == float(np.float32(value).astype(dtype))
    rows = np.array([[1.0, 2**-12, 0], [2049, 1, 0], [-3, 0.5, 0.25], [math.nan, 1, 2]])
    y = evaluate([f"{t} __hadd({t},{t})", f"{t} __hadd_sat({t},{t})", f"{t} __hfma_relu({t},{t},{t})", f"{t} __hmax_nan({t},{t})",
                  f"bool __hlt({t},{t})", f"bool __hltu({t},{t})", f"{t} hrcp({t})"], rows, HALF_HEAD)  # fmt: skip
    rounded = lambda v: float(np.float64(v).astype(dtype))
    a, b = (np.array([rounded(v) for v in rows[:, i]]) for i in (0, 1))
    np.testing.assert_array_equal(y[:, 0], [rounded(v) for v in a + b])
    np.testing.assert_array_equal(y[:, 1], [1, 1, 0, 0])
    assert y[2, 2] == 0 and np.isnan(y[3, 2]) and np.isnan(y[3, 3]) and y[1, 3] == a[1]
    np.testing.assert_array_equal(y[:, 4], [0, 0, 1, 0])
    np.testing.assert_array_equal(y[:, 5], [0, 0, 1, 1])
    np.testing.assert_array_equal(y[:3, 6], [rounded(1 / v) for v in a[:3]])


def test_parts_of_words():
    rng = np.random.default_rng(3)
    edges = np.array([0, 0x80808080, 0x7F7F7F7F, 0x80007FFF, 0xFFFFFFFF, 0x01FF7F80])
    x = np.concatenate([rng.integers(0, 2**32, (60, 2)), np.stack(np.meshgrid(edges, edges), -1).reshape(-1, 2)])
    for count, bits in ((2, 16), (4, 8)):
        signatures = [f"{U} __{n}{count}({U}{'' if n in ('vabs', 'vabsss', 'vneg', 'vnegss') else ',' + U})" for n in PARTS]
        got = evaluate(signatures, x)
        for column, (name, (signed, f)) in enumerate(PARTS.items()):
            low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
            want = f(parts(x[:, 0], bits, signed), parts(x[:, 1], bits, signed), low, high)
            if want.ndim == 2:
                want = ((want & ((1 << bits) - 1)) << np.arange(0, 32, bits)).sum(-1)
            np.testing.assert_array_equal(got[:, column], want, err_msg=name)


def test_integers():
    rows = [[0x80000001, 0x0F0F0F0F, 5], [3, 0xFFFFFFFF, 40], [0xFFFF0000, 0x12345678, 31]]
    names = [f"{U} __funnelshift_{n}({U},{U},{U})" for n in ("l", "lc", "r", "rc")] + [f"{U} __uhadd({U},{U})", f"{U} __urhadd({U},{U})",
             f"{U} __usad({U},{U},{U})", f"{U} __dp4a({U},{U},{U})", f"{U} __dp2a_lo({U},{U},{U})", f"{U} __dp2a_hi({U},{U},{U})"]  # fmt: skip
    got = evaluate(names, rows)
    for (a, b, n), row in zip(rows, got, strict=True):
        both = b << 32 | a
        byte = lambda v, i: v >> 8 * i & 255
        word = lambda v, i: v >> 16 * i & 65535
        want = [(both << n % 32) >> 32, (both << min(n, 32)) >> 32, both >> n % 32, both >> min(n, 32), (a + b) // 2, (a + b + 1) // 2, abs(a - b) + n,
                sum(byte(a, i) * byte(b, i) for i in range(4)) + n, sum(word(a, i) * byte(b, i) for i in range(2)) + n,
                sum(word(a, i) * byte(b, i + 2) for i in range(2)) + n]  # fmt: skip
        np.testing.assert_array_equal(row, [w % 2**32 for w in want])
    got = evaluate([f"{U} __fns({U},{U},int)"], [[0b10110, 0, 2], [0b10110, 4, -2], [0b10110, 1, 0], [0b10110, 0, 0], [0b10110, 3, 5]])
    np.testing.assert_array_equal(got[:, 0], [2, 2, 1, 2**32 - 1, 2**32 - 1])
    got = evaluate(["int __hadd(int,int)", "int __rhadd(int,int)", "int __mul24(int,int)", f"{U} __sad(int,int,{U})"], [[-3, 2, 7], [2**31 - 1, 2**31 - 1, 0]])
    np.testing.assert_array_equal(got[0], [-1, 0, -6, 12])
    assert got[1, 0] == got[1, 1] == 2**31 - 1 and got[1, 2] == 1
