"""gpudl: deep learning on handwritten CUDA kernels. The public names, re-exported one by one, and nothing else."""

import gpudl._tensor  # isort: skip  # noqa: F401  (first: the engine and the ops are written in terms of its class)
from gpudl import autograd, data, kernels, nn, ops, optim, utils
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
from gpudl._device import device
from gpudl._dtypes import (
    bfloat16,
    bool_,
    can_cast,
    double,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
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
from gpudl._errors import DeviceError, DtypeError, KernelError, ShapeError
from gpudl._serialization import load, save
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
from gpudl._tensor import Size, Tensor
from gpudl._version import __version__
from gpudl.autograd import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from gpudl.ops.activation import celu, prelu, relu, selu
from gpudl.ops.conv2d import conv2d, conv_transpose2d
from gpudl.ops.copy import clone
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
    div as divide,
)
from gpudl.ops.elementwise import (
    div as true_divide,
)
from gpudl.ops.elementwise import (
    mul as multiply,
)
from gpudl.ops.elementwise import (
    sub as subtract,
)
from gpudl.ops.log_softmax import log_softmax
from gpudl.ops.matmul import addmm, bmm, dot, matmul, mm, mv, outer
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
