// The emulator's runtime, seen from inside: fibers, warps, blocks, workers.
#pragma once
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>
#if !defined(__x86_64__) || defined(GPUDL_EMU_UCONTEXT)
#define GPUDL_EMU_UCONTEXT 1
#include <ucontext.h>
#endif

#define EXPORT extern "C" __attribute__((visibility("default")))
#define HOT __attribute__((always_inline)) inline
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

typedef uint32_t u32;
typedef uint64_t u64;
typedef uintptr_t address_t;
struct Index { u32 x, y, z; };

// ---- What Python hands over. Mirrored by ctypes in _launch.py; keep the two alike.
struct Fault {
    int kind;                           // FAULT_* below
    u32 block[3], other_block;          // linear index of the other block, or NO_BLOCK
    int thread, other_thread;           // linear in the block; -1 when there is none
    u64 address, pc, other_pc, size, base;      // base: of shared memory, when space is 2
    int access, other_access;           // ACCESS_* of either side
    int space;                          // of the address: 2 shared, 3 global, 4 the module's variables
    u64 count;                          // how often it was seen
    char text[200];
};
enum { FAULT_NONE, FAULT_RACE, FAULT_BOUNDS, FAULT_BARRIER, FAULT_DEADLOCK, FAULT_UNINITIALISED, FAULT_MISALIGNED, FAULT_SHUFFLE, FAULT_LIMIT,
       FAULT_TIMEOUT, FAULT_CONSTANT, FAULT_INDEX, FAULT_SHIFT, FAULT_CONVERSION, FAULT_DIVISION, FAULT_SIGNAL, FAULT_ASSERT, FAULT_ASYNC,
       FAULT_OVERFLOW, FAULT_INTERRUPT };
enum { ACCESS_NONE, ACCESS_READ, ACCESS_WRITE, ACCESS_ATOMIC };
constexpr u32 NO_BLOCK = ~0u;
constexpr int MAX_FAULTS = 32;

struct Module {                         // what the builder knows of one compiled file
    void* (*anchor)();                  // address of a thread-local object at anchor_offset of the module's block
    u64 anchor_offset, static_offset, static_bytes, dynamic_offset, dynamic_bytes;
    u64 text_begin, text_end, data_begin, data_end, constant_begin, constant_end;
    u64 image_begin, image_end;
    const u64* arrays;                  // offset and size of each static shared array
    u32 array_count, sanitized, shuffles, reserved;
};
struct Launch {
    void (*call)(void**);
    void** arguments;
    const Module* module;
    Index grid, block;
    u32 shared_bytes, order, seed, workers, profile, cooperative, traced_block, traced_warp;
    double timeout;
    u64 writable;                       // bit i: argument i points to memory that the kernel may write
    Fault faults[MAX_FAULTS];
    u32 fault_count, stopped;
    u64 barriers, switches;
    u64 output;                         // not 0: a kernel has printed
};
enum { ASCENDING, DESCENDING, RANDOM };

// ---- Contexts.
struct Context {
#ifdef GPUDL_EMU_UCONTEXT
    ucontext_t state;
#else
    void* stack;
#endif
};
struct Stack { char* low; char* top; Context start; };

// ---- One CUDA thread.
enum Waiting : uint8_t { RUNS, AT_BARRIER, AT_COLLECTIVE, EXITED, TOGETHER, AT_MBARRIER };        // TOGETHER: at __activemask
struct Acquired;                        // what a thread learned through atomics and fences (sanitizer.cpp)
struct AsyncCopy { void* to; const void* from; u32 bytes, source_bytes; u64 pc; };
struct alignas(64) Thread {             // one cache line: a thousand of them are walked at every barrier
    Context context;
    Stack* stack = nullptr;             // none before it starts
    Index index;
    uint16_t number;                    // linear in the block
    uint8_t warp, lane;
    Waiting waiting;
    uint8_t barrier;                    // which, while waiting at one
    bool fenced, copying;               // has executed a fence; has copies under way
    u32 mask;                           // the lanes it waits for; at an mbarrier, where that lies in shared memory
    u64 pc;                             // and where it waits
};
struct Baggage {                        // what few threads have
    std::vector<AsyncCopy> copies;      // cp.async: not yet waited for
    std::vector<u32> groups;            // ends of the committed groups in `copies`
    std::vector<address_t> looked;      // words of shared memory that it has read as volatile since its last fence
    std::shared_ptr<Acquired> acquired;
};

typedef void (*Combine)(void** records, u32 mask, u32 present);
struct Collective { u32 mask, arrived; int kind; Combine combine; u64 pc; void* records[32]; };
constexpr int WARPS = 32;
struct Warp {
    u32 ready;                          // lanes that can run now, those not yet started among them
    u32 alive;                          // lanes that have not exited
    u32 present;                        // lanes that the block has
    u32 turn;                           // the lane that ran last of those that poll
    std::vector<Collective> pending;
};
struct Barrier {
    int arrived = 0, expected = -1;
    int count = 0, both = 1, any = 0, result[3] = {0, 0, 0};
    u64 pc = 0;
    std::vector<u32> clocks;            // sanitizer: what the arrivals bring along
};

struct Sanitizer;
struct Profile;

struct Worker {
    Thread* current = nullptr;
    Launch* launch = nullptr;
    Index block;
    Context main;
    Thread* threads = nullptr;
    Baggage* baggage = nullptr;         // by thread number
    u32 thread_count = 0, warp_count = 0, alive = 0;
    u32 warps_ready = 0, wait_for_others = 0;                   // wait_for_others: threads at __activemask
    u32 order = 0;
    u64 random = 1;
    u64 switches = 0, switch_limit = 0, barriers = 0, idle = 0;
    Warp warps[WARPS];
    Barrier named[16];
    std::vector<Stack*> free_stacks, all_stacks;
    address_t shared_base = 0;          // of the running module's shared memory on this OS thread
    u64 shared_size = 0;
    Sanitizer* sanitizer = nullptr;     // set while a sanitized module runs
    Profile* profile = nullptr;
    u64 last_pc = 0;                    // of the last access that the sanitizer saw
    bool stop = false, in_kernel = false;
    u64 block_serial = 0;               // counts the blocks that it has run
    u32 number = 0, late = 0;           // late: how often the watchdog found this worker in the runtime's own code
};

extern __thread Worker* worker __attribute__((tls_model("initial-exec")));

// scheduler.cpp
[[noreturn]] void stop_launch(Worker* w);                       // leave the running kernel for good
void report(Worker* w, int kind, u64 pc, const char* text, u64 address = 0, u64 size = 0, int access = ACCESS_NONE);
[[noreturn]] void fatal(Worker* w, int kind, u64 pc, const char* text, u64 address = 0, u64 size = 0, int access = ACCESS_NONE);
Fault* add_fault(Worker* w, int kind, u64 pc);
void yield_thread(Worker* w);
bool explain_mbarrier(Worker* w, const Thread* t, char* text, size_t size);        // whether all have arrived
u32 linear_block(const Launch* launch, Index block);
const std::vector<Worker*>& all_workers();
address_t stacks_begin();
address_t stacks_end();

// memory.cpp
bool in_arena(address_t address);
EXPORT void* gpudl_emu_allocate(u64 size);
EXPORT void gpudl_emu_free(void* pointer);
void mark_allocation(address_t address);
extern address_t arena_base;
extern u64 arena_size;
extern uint8_t* arena_state;

// sanitizer.cpp
void sanitizer_begin_launch(Worker* w);
void sanitizer_end_launch(Worker* w);
void sanitizer_begin_block(Worker* w);
void sanitizer_barrier_arrive(Worker* w, Barrier& barrier, Thread* t, bool full);
void sanitizer_barrier_complete(Worker* w, Barrier& barrier, bool full);
void sanitizer_arrived(Worker* w, u32 warp);
void sanitizer_collective(Worker* w, u32 warp, u32 mask);
void sanitizer_exit(Worker* w, Thread* t);
void sanitizer_copy_issue(Worker* w, AsyncCopy& copy);
void sanitizer_copy_complete(Worker* w, AsyncCopy& copy);
void sanitizer_grid_barrier(Worker* w);
void sanitizer_fence(Worker* w);
void sanitizer_request_stop(Worker* w);
void sanitizer_forget(address_t address, u64 size);
extern bool rerunning;                                          // the launch runs again, for sanitizer_second_opinion
u64 undefined_value(u64 pc);
void note_undefined(Worker* w, u64 pc, const char* text);
void sanitizer_keep_for_undo(const Launch* launch);
void sanitizer_second_opinion(Launch* launch, const std::function<void()>& run);

// profile.cpp
void profile_begin_launch(Worker* w);
void profile_begin_block(Worker* w);
void profile_end_block(Worker* w);
void profile_flush(Worker* w, u32 warp);
void profile_access(Worker* w, int space, address_t address, u64 size, int access, u32 site, u32 missing = 0);
void profile_resolve(const std::vector<u64>& pcs);

#define CALLER ((u64)__builtin_return_address(0) - 1)
