// The part of CUDA's cuda_bf16.h that kernels use, for the emulator.
#pragma once
#include "gpudl_halves.h"
GPUDL_HALF_TYPE(__nv_bfloat16, __nv_bfloat162, bfloat16, gpudl_widen_bfloat16, gpudl_narrow_bfloat16)
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;
