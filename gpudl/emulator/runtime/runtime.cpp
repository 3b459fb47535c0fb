// The runtime as one translation unit.
#include "scheduler.cpp"
#include "memory.cpp"
#include "sanitizer.cpp"
#include "profile.cpp"
#include "arithmetic.cpp"
#include "async.cpp"
