"""gpudl: deep learning on handwritten CUDA kernels. The public names, re-exported one by one, and nothing else."""

from math import e, inf, nan, pi  # noqa: F401

from numpy import dtype

import gpudl._tensor  # isort: skip  # noqa: F401  (first: the engine and the ops are written in terms of its class)
from gpudl import autograd, cuda, data, kernels, nn, ops, optim, utils
from gpudl._creation import (
    arange,
    as_tensor,
    asarray,
    empty,
    empty_like,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    get_default_device,
    linspace,
    ones,
    ones_like,
    set_default_device,
    tensor,
    zeros,
    zeros_like,
)
from gpudl._determinism import (
    are_deterministic_algorithms_enabled,
    get_deterministic_debug_mode,
    is_deterministic_algorithms_warn_only_enabled,
    set_deterministic_debug_mode,
    use_deterministic_algorithms,
)
from gpudl._device import device
from gpudl._dtypes import (
    bfloat16,
    bool_,
    can_cast,
    double,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    result_type,
    set_default_dtype,
    short,
    uint8,
)
from gpudl._dtypes import (
    bool_ as bool,
)
from gpudl._dtypes import (
    float32 as float,
)
from gpudl._dtypes import (
    int32 as int,
)
from gpudl._errors import BoundsError, DeviceError, DtypeError, KernelError, ShapeError
from gpudl._precision import get_float32_matmul_precision, set_float32_matmul_precision
from gpudl._random import (
    Generator,
    bernoulli,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    seed,
    set_rng_state,
)
from gpudl._serialization import load, save
from gpudl._tensor import Size, Tensor
from gpudl._version import __version__
from gpudl.autograd import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from gpudl.ops.activation import celu, prelu, relu, selu
from gpudl.ops.compose import (
    addcdiv,
    addcmul,
    allclose,
    atan,
    clamp_max,
    clamp_min,
    cumprod,
    equal,
    exp2,
    float_power,
    frac,
    heaviside,
    hypot,
    is_floating_point,
    is_tensor,
    isclose,
    isneginf,
    isposinf,
    lerp,
    logaddexp,
    logcumsumexp,
    logit,
    median,
    nan_to_num,
    nanmean,
    nansum,
    numel,
    tan,
    trace,
    unique,
    unique_consecutive,
    xlogy,
)
from gpudl.ops.compose import (
    atan as arctan,
)
from gpudl.ops.conv2d import conv2d, conv_transpose2d
from gpudl.ops.copy import clone
from gpudl.ops.einsum import einsum
from gpudl.ops.elementwise import (
    abs,
    add,
    atan2,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    ceil,
    clamp,
    clip,
    cos,
    div,
    eq,
    erf,
    exp,
    expm1,
    floor,
    floor_divide,
    fmod,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    log,
    log1p,
    log2,
    log10,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    masked_fill,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    positive,
    pow,
    reciprocal,
    remainder,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    sub,
    tanh,
    trunc,
    where,
)
from gpudl.ops.elementwise import (
    abs as absolute,
)
from gpudl.ops.elementwise import (
    atan2 as arctan2,
)
from gpudl.ops.elementwise import (
    div as divide,
)
from gpudl.ops.elementwise import (
    div as true_divide,
)
from gpudl.ops.elementwise import (
    ge as greater_equal,
)
from gpudl.ops.elementwise import (
    gt as greater,
)
from gpudl.ops.elementwise import (
    le as less_equal,
)
from gpudl.ops.elementwise import (
    lt as less,
)
from gpudl.ops.elementwise import (
    mul as multiply,
)
from gpudl.ops.elementwise import (
    ne as not_equal,
)
from gpudl.ops.elementwise import (
    neg as negative,
)
from gpudl.ops.elementwise import (
    sub as subtract,
)
from gpudl.ops.elementwise import (
    trunc as fix,
)
from gpudl.ops.index import (
    argsort,
    cat,
    chunk,
    concat,
    concatenate,
    diag,
    diagonal,
    flip,
    gather,
    hstack,
    index_add,
    index_copy,
    index_select,
    masked_select,
    meshgrid,
    msort,
    narrow,
    nonzero,
    repeat_interleave,
    roll,
    scatter,
    scatter_add,
    select,
    sort,
    split,
    stack,
    take_along_dim,
    tile,
    topk,
    tril,
    triu,
    unbind,
    vstack,
)
from gpudl.ops.index import (
    vstack as row_stack,
)
from gpudl.ops.log_softmax import log_softmax
from gpudl.ops.matmul import addmm, bmm, dot, matmul, mm, mv, outer
from gpudl.ops.matmul import (
    outer as ger,
)
from gpudl.ops.one_d import adaptive_avg_pool1d, adaptive_max_pool1d, avg_pool1d, conv1d, conv_transpose1d, max_pool1d
from gpudl.ops.products import (
    addbmm,
    addmv,
    addr,
    baddbmm,
    block_diag,
    cdist,
    corrcoef,
    cov,
    cross,
    dist,
    inner,
    kron,
    tensordot,
    vdot,
)
from gpudl.ops.rearrange import (
    argwhere,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    bincount,
    broadcast_shapes,
    broadcast_tensors,
    cartesian_prod,
    column_stack,
    diag_embed,
    diagflat,
    diff,
    dstack,
    fliplr,
    flipud,
    histc,
    hsplit,
    index_fill,
    index_put,
    kthvalue,
    quantile,
    rot90,
    take,
    tensor_split,
    tril_indices,
    triu_indices,
    vsplit,
)
from gpudl.ops.reduce import (
    all,
    amax,
    amin,
    aminmax,
    any,
    argmax,
    argmin,
    count_nonzero,
    cumsum,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    std,
    std_mean,
    sum,
    var,
    var_mean,
)
from gpudl.ops.softmax import softmax
from gpudl.ops.view import (
    broadcast_to,
    flatten,
    moveaxis,
    movedim,
    permute,
    ravel,
    reshape,
    squeeze,
    swapaxes,
    swapdims,
    t,
    transpose,
    unflatten,
    unsqueeze,
)
