// The emulator force-includes what kernels need; host code is not run, only its types are known.
#pragma once
typedef int cudaError_t;
typedef void* cudaStream_t;
typedef void* cudaEvent_t;
