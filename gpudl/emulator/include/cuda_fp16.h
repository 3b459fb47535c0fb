// The part of CUDA's cuda_fp16.h that kernels use, for the emulator (own types: g++ 11 has no _Float16 on x86-64).
#pragma once
#include "gpudl_halves.h"
GPUDL_HALF_TYPE(__half, __half2, half, gpudl_widen_half, gpudl_narrow_half)
typedef __half half;
typedef __half2 half2;
