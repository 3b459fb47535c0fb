#include "runtime.h"
void sanitizer_begin_launch(Worker*) {}
void sanitizer_end_launch(Worker*) {}
void sanitizer_begin_block(Worker*) {}
void sanitizer_barrier_arrive(Worker*, Barrier&, Thread*, bool) {}
void sanitizer_barrier_complete(Worker*, Barrier&, bool) {}
void sanitizer_collective(Worker*, u32, u32) {}
void sanitizer_exit(Worker*, Thread*) {}
void sanitizer_copy_issue(Worker*, AsyncCopy&) {}
void sanitizer_copy_complete(Worker*, AsyncCopy&) {}
void sanitizer_grid_barrier(Worker*) {}
void sanitizer_fence(Worker*) {}
EXPORT u64 gpudl_emu_atomic(void*, int, int, u64, u64) { return 0; }
