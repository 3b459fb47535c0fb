// Fibers, warps and blocks: runs the threads of a CUDA grid on one or a few OS threads.
//
// A stack runs threads one after another for as long as none of them has to wait, so a kernel without barriers needs one
// stack and no switch at all. A thread that waits keeps its stack, and the next thread gets another.
#include "runtime.h"
#include <numeric>
#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <mutex>
#include <pthread.h>
#include <sched.h>
#include <set>
#include <sys/mman.h>
#include <unistd.h>
#include <thread>

__thread Worker* worker __attribute__((tls_model("initial-exec"))) = nullptr;
static std::atomic<int> interrupted{0};

// ---- Context switches.
#ifdef GPUDL_EMU_UCONTEXT
static HOT void switch_context(Context* from, Context* to) { swapcontext(&from->state, &to->state); }
static void prepare_context(Context* context, Stack* stack, void (*entry)()) {
    getcontext(&context->state);
    context->state.uc_stack.ss_sp = stack->low;
    context->state.uc_stack.ss_size = stack->top - stack->low;
    context->state.uc_link = nullptr;
    makecontext(&context->state, entry, 0);
}
#else
// Saves what the ABI wants kept, changes stacks, restores. Floating-point control words are the same everywhere.
asm(R"(
.text
.p2align 4
.type gpudl_switch, @function
gpudl_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size gpudl_switch, .-gpudl_switch
)");
extern "C" void gpudl_switch(void** save, void* load);
static HOT void switch_context(Context* from, Context* to) { gpudl_switch(&from->stack, to->stack); }
static void prepare_context(Context* context, Stack* stack, void (*entry)()) {
    void** top = (void**)stack->top;            // 16-byte aligned
    *--top = nullptr;                           // entry never returns; this slot keeps the ABI's alignment at its first instruction
    *--top = (void*)entry;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    context->stack = top;
}
#endif

// ---- Stacks: one reservation for all, so that "is this address a local variable" is one comparison. Each has a guard page.
constexpr size_t STACK = 128 << 10, MAX_STACKS = 1 << 14;
static const size_t PAGE = (size_t)sysconf(_SC_PAGESIZE);
static char* stack_region = nullptr;
static std::atomic<size_t> stacks_made{0};
address_t stacks_begin() { return (address_t)stack_region; }
address_t stacks_end() { return (address_t)stack_region + STACK * MAX_STACKS; }

static Stack* take_stack(Worker* w) {
    if (LIKELY(!w->free_stacks.empty())) {
        Stack* stack = w->free_stacks.back();
        w->free_stacks.pop_back();
        return stack;
    }
    size_t number = stacks_made++;
    if (number >= MAX_STACKS) { fprintf(stderr, "gpudl emulator: out of stacks\n"); abort(); }
    char* low = stack_region + number * STACK + PAGE;
    mprotect(low, STACK - PAGE, PROT_READ | PROT_WRITE);
    // Staggered tops: stacks at equal addresses modulo the page would all compete for the same sets of the first-level cache.
    auto stack = new Stack{low, low + STACK - PAGE - (number % 15) * 256, {}};
    w->all_stacks.push_back(stack);
    return stack;
}

// ---- Choosing who runs.
static HOT u32 xorshift(u64& state) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (u32)(state >> 32);
}
static HOT int choose(u32 bits, u32 order, u64& random) {
    if (order == ASCENDING) return __builtin_ctz(bits);
    if (order == DESCENDING) return 31 - __builtin_clz(bits);
    int skip = xorshift(random) % __builtin_popcount(bits);
    while (skip--) bits &= bits - 1;
    return __builtin_ctz(bits);
}
static HOT Thread* pick(Worker* w) {
    if (UNLIKELY(!w->warps_ready)) return nullptr;
    u32 number = w->current ? w->current->warp : WARPS;        // stay in the warp while it can run: its data is warm
    if (number >= WARPS || !w->warps[number].ready || w->order == RANDOM) number = choose(w->warps_ready, w->order, w->random);
    Warp& warp = w->warps[number];
    int lane = choose(warp.ready, w->order, w->random);
    if (!(warp.ready &= ~(1u << lane))) w->warps_ready &= ~(1u << number);
    return &w->threads[number * 32 + lane];
}
static HOT void make_ready(Worker* w, u32 warp, u32 lanes) {
    w->warps[warp].ready |= lanes;
    w->warps_ready |= 1u << warp;
}

static void runner();
static HOT void start_on_new_stack(Worker* w, Thread* t, Context* from) {
    Stack* stack = take_stack(w);
    t->stack = stack;
    prepare_context(&stack->start, stack, runner);
    switch_context(from, &stack->start);
}
static HOT void resume(Worker* w, Thread* self, Thread* next) {
    w->current = next;
    if (next == self) return;
    w->switches++;
#ifndef GPUDL_EMU_UCONTEXT
    const char* ahead = (const char*)next[next->number < w->thread_count - 2 ? 2 : 0].context.stack;      // whose turn probably comes after next
    __builtin_prefetch(ahead), __builtin_prefetch(ahead + 64), __builtin_prefetch(ahead + 128);
#endif
    if (next->stack) switch_context(&self->context, &next->context);
    else start_on_new_stack(w, next, &self->context);
}
static void explain_deadlock(Worker* w);

// Nothing else can run: of each warp, the lanes that have met at one __activemask go on, as the lanes that are active together there.
static __attribute__((noinline)) bool release_active(Worker* w) {
    bool any = false;
    for (u32 number = 0; w->wait_for_others && number < w->warp_count; number++) {
        u32 lanes = 0;
        u64 place = 0;
        for (u32 rest = w->warps[number].alive; rest; rest &= rest - 1) {
            Thread& t = w->threads[number * 32 + __builtin_ctz(rest)];
            if (t.waiting != TOGETHER || (lanes && t.pc != place)) continue;
            place = t.pc, lanes |= rest & -rest;
        }
        for (u32 rest = lanes; rest; rest &= rest - 1) {
            Thread& t = w->threads[number * 32 + __builtin_ctz(rest)];
            t.waiting = RUNS, t.mask = lanes, w->wait_for_others--;
        }
        if (lanes) make_ready(w, number, lanes), any = true;
    }
    return any;
}

// The running thread cannot go on now. Its state is set; someone else will make it ready.
static HOT void block_current(Worker* w) {
    Thread* self = w->current;
    Thread* next = pick(w);
    if (UNLIKELY(!next) && release_active(w)) next = pick(w);
    if (UNLIKELY(!next)) { explain_deadlock(w); stop_launch(w); }
    resume(w, self, next);
}

void yield_thread(Worker* w) {
    Thread* self = w->current;
    if (UNLIKELY(w->switch_limit && ++w->idle > w->switch_limit))
        fatal(w, FAULT_TIMEOUT, self->pc, "threads keep polling and nothing else can run: a spin lock that nobody releases, or a wait for a block that runs later");
    if (UNLIKELY((w->idle & 1023) == 1023)) {
        sched_yield();                                          // another worker's block may be the one that is waited for
        if (interrupted) stop_launch(w);
        release_active(w);                                      // perhaps it polls for what they will do
    }
    // To the back: any other ready thread goes first, another warp's by preference.
    u32 others = w->warps_ready & ~(1u << self->warp);
    if (others) {
        u32 rotated = self->warp == 31 ? 0 : others & ~((2u << self->warp) - 1);
        u32 number = __builtin_ctz(rotated ? rotated : others);
        Warp& warp = w->warps[number];
        u32 later = warp.turn >= 31 ? 0 : warp.ready & ~((2u << warp.turn) - 1);        // its lanes in turn: none of those that poll may starve the others
        int lane = w->order == RANDOM ? choose(warp.ready, w->order, w->random) : __builtin_ctz(later ? later : warp.ready);
        warp.turn = (u32)lane;
        if (!(warp.ready &= ~(1u << lane))) w->warps_ready &= ~(1u << number);
        make_ready(w, self->warp, 1u << self->lane);
        resume(w, self, &w->threads[number * 32 + lane]);
        return;
    }
    u32 mates = w->warps[self->warp].ready;
    if (!mates) return;
    u32 after = self->lane == 31 ? 0 : mates & ~((2u << self->lane) - 1);
    int lane = __builtin_ctz(after ? after : mates);
    w->warps[self->warp].ready &= ~(1u << lane);
    make_ready(w, self->warp, 1u << self->lane);
    resume(w, self, &w->threads[self->warp * 32 + lane]);
}

// ---- Faults.
u32 linear_block(const Launch* launch, Index block) { return (block.z * launch->grid.y + block.y) * launch->grid.x + block.x; }
static std::mutex fault_mutex;
Fault* add_fault(Worker* w, int kind, u64 pc) {
    std::lock_guard<std::mutex> lock(fault_mutex);
    Launch* launch = w->launch;
    if (launch->fault_count >= MAX_FAULTS) return nullptr;
    Fault* fault = &launch->faults[launch->fault_count++];
    memset(fault, 0, sizeof *fault);
    fault->kind = kind, fault->pc = pc, fault->count = 1;
    fault->block[0] = w->block.x, fault->block[1] = w->block.y, fault->block[2] = w->block.z;
    fault->thread = w->current ? w->current->number : -1;
    fault->other_thread = -1, fault->other_block = NO_BLOCK;
    return fault;
}
void report(Worker* w, int kind, u64 pc, const char* text, u64 address, u64 size, int access) {
    Launch* launch = w->launch;
    for (u32 i = 0; i < launch->fault_count; i++) {             // once for each place
        Fault& seen = launch->faults[i];
        if (seen.kind == kind && seen.pc == pc) { seen.count++; return; }
    }
    Fault* fault = add_fault(w, kind, pc);
    if (!fault) return;
    fault->address = address, fault->size = size, fault->access = access;
    snprintf(fault->text, sizeof fault->text, "%s", text);
}
void fatal(Worker* w, int kind, u64 pc, const char* text, u64 address, u64 size, int access) {
    report(w, kind, pc, text, address, size, access);
    stop_launch(w);
}
void stop_launch(Worker* w) {
    w->launch->stopped = 1;
    w->stop = true;
    Context abandoned;                                          // nobody comes back to these stacks
    switch_context(&abandoned, &w->main);
    __builtin_unreachable();
}

static void explain_deadlock(Worker* w) {
    Thread *barrier = nullptr, *collective = nullptr, *other = nullptr, *phase = nullptr;
    char text[200];
    u32 exited = 0;
    for (u32 i = 0; i < w->warp_count * 32; i++) {
        Thread& t = w->threads[i];
        if (!(w->warps[t.warp].present >> t.lane & 1)) continue;
        if (t.waiting == EXITED) exited++;
        else if (t.waiting == AT_MBARRIER) phase = phase && !explain_mbarrier(w, &t, text, sizeof text) ? phase : &t;      // rather one that lacks bytes
        else if (t.waiting == AT_COLLECTIVE) collective = collective ? collective : &t;
        else if (t.waiting == AT_BARRIER && !barrier) barrier = &t;
        else if (t.waiting == AT_BARRIER && t.barrier != barrier->barrier) other = &t;
    }
    if (phase) {
        explain_mbarrier(w, phase, text, sizeof text);
        Thread* second = barrier ? barrier : collective;
        Fault* fault = add_fault(w, FAULT_DEADLOCK, phase->pc);
        if (!fault) return;
        fault->thread = phase->number;
        if (second) fault->other_thread = second->number, fault->other_pc = second->pc;
        snprintf(fault->text, sizeof fault->text, "%s", text);
        return;
    }
    Thread *first = barrier ? barrier : collective, *second = barrier ? (collective ? collective : other) : nullptr;
    if (barrier && collective)
        snprintf(text, sizeof text, "thread %d waits at a block barrier while thread %d waits for its warp (mask 0x%08x)", barrier->number, collective->number, collective->mask);
    else if (barrier && other)
        snprintf(text, sizeof text, "thread %d waits at barrier %d while thread %d waits at barrier %d", barrier->number, barrier->barrier, other->number, other->barrier);
    else if (barrier)
        snprintf(text, sizeof text, "%d of %d threads arrived at barrier %d, %u had exited", w->named[barrier->barrier].arrived,
                 w->named[barrier->barrier].expected < 0 ? (int)w->thread_count : w->named[barrier->barrier].expected, barrier->barrier, exited);
    else
        snprintf(text, sizeof text, "lanes 0x%08x are waited for, and some of them wait elsewhere or have exited", collective ? collective->mask : 0);
    Fault* fault = add_fault(w, barrier && !collective && !other ? FAULT_BARRIER : !barrier ? FAULT_SHUFFLE : FAULT_DEADLOCK, first ? first->pc : 0);
    if (!fault) return;
    if (first) fault->thread = first->number;
    if (second) fault->other_thread = second->number, fault->other_pc = second->pc;
    snprintf(fault->text, sizeof fault->text, "%s", text);
}

// ---- Barriers.
static void complete_barrier(Worker* w, Barrier& barrier, u32 id) {
    bool full = barrier.expected < 0;
    w->barriers++;
    w->idle = 0;
    barrier.result[0] = barrier.count, barrier.result[1] = barrier.both, barrier.result[2] = barrier.any;
    barrier.arrived = 0, barrier.count = 0, barrier.both = 1, barrier.any = 0, barrier.pc = 0;
    if (w->sanitizer) sanitizer_barrier_complete(w, barrier, full);
    for (u32 number = 0; number < w->warp_count; number++) {
        Warp& warp = w->warps[number];
        u32 woken = 0;
        for (u32 lanes = warp.alive; lanes; lanes &= lanes - 1) {
            Thread& t = w->threads[number * 32 + __builtin_ctz(lanes)];
            if (t.waiting == AT_BARRIER && t.barrier == id) t.waiting = RUNS, woken |= lanes & -lanes;
        }
        if (woken) make_ready(w, number, woken);
    }
    barrier.expected = -1;
}
static void arrive(Worker* w, u32 id, int expected, u64 pc, bool waits, int predicate) {
    Thread* self = w->current;
    if (UNLIKELY(id > 15)) fatal(w, FAULT_BARRIER, pc, "a block has 16 barriers, 0 to 15");
    Barrier& barrier = w->named[id];
    if (w->sanitizer) {
        if (barrier.arrived && barrier.expected != expected) fatal(w, FAULT_BARRIER, pc, "threads disagree on how many take part in this barrier");
        if (expected < 0 && w->alive < w->thread_count) fatal(w, FAULT_BARRIER, pc, "some threads of the block had exited before this barrier");
        if (expected > 0 && expected % 32) fatal(w, FAULT_BARRIER, pc, "the number of threads at a named barrier must be a multiple of 32");
        if (barrier.arrived && barrier.pc != pc && expected < 0 && waits) {      // perhaps one line compiled twice: Python compares the lines
            Fault* fault = nullptr;
            for (u32 i = 0; i < w->launch->fault_count && !fault; i++)
                if (w->launch->faults[i].kind == FAULT_BARRIER && w->launch->faults[i].pc == pc && w->launch->faults[i].other_pc == barrier.pc) fault = &w->launch->faults[i];
            if (!fault && (fault = add_fault(w, FAULT_BARRIER, pc))) {
                fault->other_pc = barrier.pc, fault->other_thread = -1;
                for (u32 i = 0; i < w->warp_count * 32; i++)
                    if (w->threads[i].waiting == AT_BARRIER && w->threads[i].pc == barrier.pc) { fault->other_thread = w->threads[i].number; break; }
                snprintf(fault->text, sizeof fault->text, "threads of one block wait at different barriers");
            }
        }
    }
    barrier.expected = expected;
    barrier.pc = pc;
    barrier.arrived++;
    barrier.count += predicate != 0, barrier.both &= predicate != 0, barrier.any |= predicate != 0;
    if (w->sanitizer) sanitizer_barrier_arrive(w, barrier, self, expected < 0);
    self->pc = pc;
    if (waits) self->waiting = AT_BARRIER, self->barrier = (uint8_t)id;
    if (barrier.arrived >= (expected < 0 ? (int)w->alive : expected)) complete_barrier(w, barrier, id);
    if (waits) block_current(w);
}
EXPORT void gpudl_emu_barrier(unsigned id, int expected) { arrive(worker, id, expected, CALLER, true, 0); }
EXPORT int gpudl_emu_barrier_vote(int predicate, int operation) {
    Worker* w = worker;
    arrive(w, 0, -1, CALLER, true, predicate);
    return w->named[0].result[operation];
}

// ---- Warp collectives: every lane deposits a record, the last to arrive combines all of them.
static HOT void wake_collective(Worker* w, u32 warp, u32 lanes) {
    for (u32 rest = lanes; rest; rest &= rest - 1) w->threads[warp * 32 + __builtin_ctz(rest)].waiting = RUNS;
    make_ready(w, warp, lanes);
    w->idle = 0;
}
static void check_collective(Worker* w, u32 mask, int kind, u64 pc) {
    Thread* self = w->current;
    Warp& warp = w->warps[self->warp];
    char text[200];
    if (!(mask >> self->lane & 1)) {
        snprintf(text, sizeof text, "lane %d calls with mask 0x%08x, which does not name it", self->lane, mask);
        fatal(w, FAULT_SHUFFLE, pc, text);
    }
    if (mask & ~warp.alive) {
        snprintf(text, sizeof text, "mask 0x%08x names lanes 0x%08x, which %s", mask, mask & ~warp.alive,
                 mask & warp.present & ~warp.alive ? "have exited" : "this block does not have");
        fatal(w, FAULT_SHUFFLE, pc, text);
    }
    for (Collective& other : warp.pending) {
        if (other.mask == mask) {
            if (other.kind != kind) fatal(w, FAULT_SHUFFLE, pc, "lanes of one mask call different warp operations");
        } else if ((other.mask >> self->lane & 1) && (other.arrived & mask)) {
            snprintf(text, sizeof text, "lane %d calls with mask 0x%08x while lanes 0x%08x wait for it with mask 0x%08x", self->lane, mask, other.arrived, other.mask);
            fatal(w, FAULT_SHUFFLE, pc, text);
        }
    }
}
// True for the lane that completed the set.
static bool collective(Worker* w, u32 mask, int kind, Combine combine, void* record, u64 pc) {
    Thread* self = w->current;
    Warp& warp = w->warps[self->warp];
    if (w->sanitizer) check_collective(w, mask, kind, pc);
    Collective* mine = nullptr;
    for (Collective& other : warp.pending)
        if (other.mask == mask && !(other.arrived >> self->lane & 1)) { mine = &other; break; }
    if (!mine) {
        warp.pending.emplace_back();
        mine = &warp.pending.back();
        mine->mask = mask, mine->arrived = 0, mine->kind = kind, mine->combine = combine, mine->pc = pc;
    }
    mine->records[self->lane] = record;
    mine->arrived |= 1u << self->lane;
    u32 needed = (mask & warp.alive) | 1u << self->lane;
    if ((mine->arrived & needed) == needed) {
        u32 lanes = mine->arrived;
        if (combine) combine(mine->records, lanes, lanes);
        if (mine != &warp.pending.back()) *mine = warp.pending.back();
        warp.pending.pop_back();
        if (w->sanitizer && kind == 1) sanitizer_collective(w, self->warp, lanes);
        u32 others = lanes & ~(1u << self->lane);
        if (others) wake_collective(w, self->warp, others);
        return true;                                            // the last lane goes on; the others follow when it waits
    }
    self->waiting = AT_COLLECTIVE, self->pc = pc, self->mask = mask;
    block_current(w);
    return false;
}
enum { KIND_SYNCWARP = 1, KIND_SHUFFLE = 2, KIND_VOTE = 3, KIND_MATCH = 4, KIND_REDUCE = 5, KIND_ARRIVE = 6 };    // ptx.cuh uses 16 and up

// bar.arrive is one instruction of the whole warp: what a lane does behind it must not count as done before another lane's arrival.
EXPORT void gpudl_emu_barrier_arrive(unsigned id, int expected) {
    Worker* w = worker;
    u64 pc = CALLER;
    u32 number = w->current->warp, lanes = w->warps[number].alive;
    if (!collective(w, lanes, KIND_ARRIVE, nullptr, nullptr, pc)) return;
    for (u32 rest = lanes; rest; rest &= rest - 1) arrive(w, id, expected, pc, false, 0);
    if (w->sanitizer) sanitizer_arrived(w, number);
}

EXPORT void gpudl_emu_collective(unsigned mask, int kind, Combine combine, void* record) { collective(worker, mask, kind, combine, record, CALLER); }
EXPORT void gpudl_emu_syncwarp(unsigned mask) { collective(worker, mask, KIND_SYNCWARP, nullptr, nullptr, CALLER); }

struct Shuffle { u64 value, result, undefined; int lane, width, mode; };
static void combine_shuffle(void** records, u32 mask, u32) {
    for (u32 rest = mask; rest; rest &= rest - 1) {
        int lane = __builtin_ctz(rest), source = lane;
        Shuffle* r = (Shuffle*)records[lane];
        int first = lane & ~(r->width - 1), last = first + r->width - 1;
        if (r->mode == 0) source = first + (r->lane & (r->width - 1));
        else if (r->mode == 1) source = lane - r->lane < first ? lane : lane - r->lane;
        else if (r->mode == 2) source = lane + r->lane > last ? lane : lane + r->lane;
        else source = (lane ^ r->lane) > last ? lane : lane ^ r->lane;
        r->result = mask >> source & 1 ? ((Shuffle*)records[source])->value : r->undefined;
    }
}
EXPORT u64 gpudl_emu_shuffle(unsigned mask, u64 value, int lane, int width, int mode) {
    Shuffle record{value, value, 0xdeadbeefdeadbeefull, lane, width, mode};
    Worker* w = worker;
    u64 pc = CALLER;
    if (UNLIKELY(width <= 0 || width > 32 || (width & (width - 1)))) fatal(w, FAULT_SHUFFLE, pc, "the width of a shuffle must be a power of two up to 32");
    if (w->sanitizer && mode != 0 && (lane < 0 || lane > 31)) fatal(w, FAULT_SHUFFLE, pc, "the distance of a shuffle must be 0 to 31");
    if (w->sanitizer) {
        int self = w->current->lane, first = self & ~(width - 1), last = first + width - 1;
        int source = mode == 0 ? first + (lane & (width - 1)) : mode == 1 ? (self - lane < first ? self : self - lane)
                   : mode == 2 ? (self + lane > last ? self : self + lane) : ((self ^ lane) > last ? self : self ^ lane);
        if (!(mask >> source & 1)) {
            char text[200];
            snprintf(text, sizeof text, "lane %d reads from lane %d, which mask 0x%08x does not name", self, source, mask);
            note_undefined(w, pc, text);
            record.undefined = undefined_value(pc);
        }
    }
    collective(w, mask, KIND_SHUFFLE, combine_shuffle, &record, pc);
    return record.result;
}
struct Ballot { u64 value; u32 result; int operation; };
static void combine_vote(void** records, u32 mask, u32) {
    u32 votes = 0;
    for (u32 rest = mask; rest; rest &= rest - 1) votes |= ((Ballot*)records[__builtin_ctz(rest)])->value ? rest & -rest : 0;
    for (u32 rest = mask; rest; rest &= rest - 1) ((Ballot*)records[__builtin_ctz(rest)])->result = votes;
}
EXPORT unsigned gpudl_emu_vote(unsigned mask, unsigned predicate) {
    Ballot record{predicate, 0, 0};
    collective(worker, mask, KIND_VOTE, combine_vote, &record, CALLER);
    return record.result;
}
static void combine_match(void** records, u32 mask, u32) {
    for (u32 rest = mask; rest; rest &= rest - 1) {
        Ballot* mine = (Ballot*)records[__builtin_ctz(rest)];
        mine->result = 0;
        for (u32 other = mask; other; other &= other - 1) mine->result |= ((Ballot*)records[__builtin_ctz(other)])->value == mine->value ? other & -other : 0;
    }
}
EXPORT unsigned gpudl_emu_match(unsigned mask, u64 value) {
    Ballot record{value, 0, 0};
    collective(worker, mask, KIND_MATCH, combine_match, &record, CALLER);
    return record.result;
}
static void combine_reduce(void** records, u32 mask, u32) {
    Ballot* first = (Ballot*)records[__builtin_ctz(mask)];
    u32 sum = (u32)first->value;
    for (u32 rest = mask & (mask - 1); rest; rest &= rest - 1) {
        u32 v = (u32)((Ballot*)records[__builtin_ctz(rest)])->value;
        switch (first->operation) {
            case 0: sum += v; break;
            case 1: sum = std::min(sum, v); break;
            case 2: sum = (u32)std::min((int)sum, (int)v); break;
            case 3: sum = std::max(sum, v); break;
            case 4: sum = (u32)std::max((int)sum, (int)v); break;
            case 5: sum &= v; break;
            case 6: sum |= v; break;
            default: sum ^= v;
        }
    }
    for (u32 rest = mask; rest; rest &= rest - 1) ((Ballot*)records[__builtin_ctz(rest)])->result = sum;
}
EXPORT unsigned gpudl_emu_reduce(unsigned mask, unsigned value, int operation) {
    Ballot record{value, 0, operation};
    collective(worker, mask, KIND_REDUCE, combine_reduce, &record, CALLER);
    return record.result;
}
// Which lanes are active together is the hardware's choice; here, those that come to one place before anything else has to go on.
EXPORT unsigned gpudl_emu_activemask() {
    Worker* w = worker;
    Thread* self = w->current;
    self->waiting = TOGETHER, self->pc = CALLER;
    w->wait_for_others++;
    block_current(w);
    return self->mask;
}
EXPORT void gpudl_emu_yield() {
    Worker* w = worker;
    if (!w || !w->current) return;
    w->current->pc = CALLER;
    yield_thread(w);
}
EXPORT void gpudl_emu_fence(int scope) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (worker->sanitizer && scope >= 0) sanitizer_fence(worker);
}
EXPORT u64 gpudl_emu_clock() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * 1000000000ull + (u64)now.tv_nsec;
}
EXPORT void gpudl_emu_trap(const char* message) { fatal(worker, FAULT_ASSERT, CALLER, message); }

// ---- cp.async: the copy happens at the wait, so that code which forgot to wait reads stale memory.
static void finish_copies(Worker* w, Baggage* t, u32 count) {
    for (u32 i = 0; i < count; i++) {
        AsyncCopy& copy = t->copies[i];
        if (w->sanitizer) sanitizer_copy_complete(w, copy);
        memcpy(copy.to, copy.from, copy.source_bytes);
        memset((char*)copy.to + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
    }
    t->copies.erase(t->copies.begin(), t->copies.begin() + count);
}
EXPORT void gpudl_emu_copy_async(void* shared, const void* global, unsigned bytes, unsigned source_bytes) {
    Worker* w = worker;
    AsyncCopy copy{shared, global, bytes, source_bytes, CALLER};
    if (w->sanitizer) sanitizer_copy_issue(w, copy);
    w->current->copying = true;
    w->baggage[w->current->number].copies.push_back(copy);
}
EXPORT void gpudl_emu_copy_commit() {
    Baggage& mine = worker->baggage[worker->current->number];
    worker->current->copying = true;
    mine.groups.push_back((u32)mine.copies.size());
}
EXPORT void gpudl_emu_copy_wait(unsigned groups_left) {
    Baggage* t = &worker->baggage[worker->current->number];
    if (groups_left == ~0u) {                                   // wait_all: what was not committed too
        finish_copies(worker, t, (u32)t->copies.size());
        t->groups.clear();
        return;
    }
    if (t->groups.size() <= groups_left) return;
    u32 done = (u32)t->groups.size() - groups_left, count = t->groups[done - 1];
    finish_copies(worker, t, count);
    t->groups.erase(t->groups.begin(), t->groups.begin() + done);
    for (u32& end : t->groups) end -= count;
}

// ---- printf: kept until the launch ends, for Python to write where it writes. Calls of a kernel come here by the linker's --wrap.
static std::string output;
static std::mutex output_mutex;
static u64 output_lost = 0;
constexpr size_t MOST_OUTPUT = 1 << 20;                         // as much as CUDA keeps by default
EXPORT int __wrap_vprintf(const char* format, va_list arguments) {
    Worker* w = worker;
    if (!w || !w->launch) return vprintf(format, arguments);
    char text[1024];
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(text, sizeof text, format, arguments);
    std::string large;
    if (size >= (int)sizeof text) large.resize(size + 1), vsnprintf(&large[0], large.size(), format, again), large.pop_back();
    va_end(again);
    if (size < 0 || (w->launch->module->sanitized && rerunning)) return size;
    std::lock_guard<std::mutex> lock(output_mutex);
    if (output.size() + size > MOST_OUTPUT) output_lost++;
    else output.append(large.empty() ? text : large.c_str(), (size_t)size);
    w->launch->output = output.size() + output_lost;
    return size;
}
EXPORT int __wrap_printf(const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = __wrap_vprintf(format, arguments);
    va_end(arguments);
    return size;
}
EXPORT u64 gpudl_emu_output(char* to, u64 room, u64* lost) {    // room 0: how much there is
    if (!room) return output.size();
    memcpy(to, output.data(), std::min<u64>(room, output.size()));
    *lost = output_lost, output_lost = 0;
    output.clear();
    return room;
}
// The heap of kernels lies in device memory.
static std::set<address_t> heap;
EXPORT void* __wrap_malloc(size_t size) {
    if (!worker || !worker->launch) return malloc(size);
    void* pointer = gpudl_emu_allocate(size);
    {
        std::lock_guard<std::mutex> lock(output_mutex);
        heap.insert((address_t)pointer);
    }
    if (pointer && worker->sanitizer) sanitizer_forget((address_t)pointer, size);      // what another thread did to it before it freed it
    return pointer;
}
EXPORT void __wrap_free(void* pointer) {
    Worker* w = worker;
    if (!w || !w->launch) { free(pointer); return; }
    bool known = !pointer;
    {
        std::lock_guard<std::mutex> lock(output_mutex);
        known |= heap.erase((address_t)pointer) != 0;
    }
    if (!known) fatal(w, FAULT_BOUNDS, CALLER, "free of an address that malloc did not give, or that was freed before");
    gpudl_emu_free(pointer);
}
EXPORT int gpudl_emu_is_heap(u64 address) { return heap.count(address) != 0; }
EXPORT void* __wrap__Znwm(size_t size) { return __wrap_malloc(size); }
EXPORT void* __wrap__Znam(size_t size) { return __wrap_malloc(size); }
EXPORT void __wrap__ZdlPv(void* pointer) { __wrap_free(pointer); }
EXPORT void __wrap__ZdaPv(void* pointer) { __wrap_free(pointer); }
EXPORT void __wrap__ZdlPvm(void* pointer, size_t) { __wrap_free(pointer); }
EXPORT void __wrap__ZdaPvm(void* pointer, size_t) { __wrap_free(pointer); }

// ---- Who am I.
EXPORT __attribute__((const)) Index gpudl_emu_thread_index() { return worker->current->index; }
EXPORT __attribute__((const)) Index gpudl_emu_block_index() { return worker->block; }
EXPORT __attribute__((const)) Index gpudl_emu_block_dim() { return worker->launch->block; }
EXPORT __attribute__((const)) Index gpudl_emu_grid_dim() { return worker->launch->grid; }
EXPORT unsigned gpudl_emu_shared_address(const void* pointer) { return (unsigned)((address_t)pointer - worker->shared_base) + 1024; }
EXPORT void* gpudl_emu_shared_pointer(unsigned address) { return (void*)(worker->shared_base + address - 1024); }
EXPORT int gpudl_emu_space(const void* pointer) {
    address_t a = (address_t)pointer;
    if (a - worker->shared_base < worker->shared_size) return 2;
    if (a - stacks_begin() < stacks_end() - stacks_begin()) return 1;
    if (in_arena(a)) return 3;
    const Module* module = worker->launch->module;
    if (a >= module->constant_begin && a < module->constant_end) return 4;
    return a >= module->data_begin && a < module->data_end ? 3 : 0;
}

// ---- Running blocks.
static void exit_thread(Worker* w, Thread* t) {
    Warp& warp = w->warps[t->warp];
    t->waiting = EXITED;
    warp.alive &= ~(1u << t->lane);
    w->alive--;
    w->idle = 0;
    if (UNLIKELY(t->copying)) {
        Baggage* mine = &w->baggage[t->number];
        finish_copies(w, mine, (u32)mine->copies.size());
        mine->groups.clear();
    }
    if (w->sanitizer) sanitizer_exit(w, t);
    if (UNLIKELY(!warp.pending.empty())) {
        if (w->sanitizer) {
            for (Collective& pending : warp.pending)
                if (pending.mask >> t->lane & 1) {
                    char text[200];
                    snprintf(text, sizeof text, "lanes 0x%08x wait with mask 0x%08x for lane %d, which exited", pending.arrived, pending.mask, t->lane);
                    fatal(w, FAULT_SHUFFLE, pending.pc, text);
                }
        } else {                                                // as on a GPU: who has exited is not waited for
            for (size_t i = warp.pending.size(); i-- > 0;) {
                Collective& pending = warp.pending[i];
                if ((pending.arrived & warp.alive) != (pending.mask & warp.alive)) continue;
                Collective done = pending;
                warp.pending[i] = warp.pending.back();
                warp.pending.pop_back();
                if (done.kind >= 16) fatal(w, FAULT_SHUFFLE, done.pc, "a lane exited that takes part in a warp-wide instruction");
                if (done.combine) done.combine(done.records, done.arrived, done.arrived);
                wake_collective(w, t->warp, done.arrived);
            }
        }
    }
    Barrier& all = w->named[0];
    if (UNLIKELY(all.arrived && all.expected < 0 && w->alive)) {
        if (w->sanitizer) fatal(w, FAULT_BARRIER, all.pc, "a thread of the block exited while others wait at this barrier");
        if (all.arrived >= (int)w->alive) complete_barrier(w, all, 0);
    }
}

static void runner() {
    Worker* w = worker;
    Launch* launch = w->launch;
    Stack* stack = w->current->stack;
    for (;;) {
        Thread* t = w->current;
        t->stack = stack;
        launch->call(launch->arguments);
        exit_thread(w, t);
        Thread* next = pick(w);
        if (UNLIKELY(!next) && w->alive && release_active(w)) next = pick(w);
        Context abandoned;
        if (UNLIKELY(!next)) {
            if (w->alive) explain_deadlock(w), w->stop = true, launch->stopped = 1;
            w->free_stacks.push_back(stack);
            switch_context(&abandoned, &w->main);
        }
        w->current = next;
        if (!next->stack) continue;                             // it starts here, on this warm stack
        w->free_stacks.push_back(stack);                        // safe: nothing else runs before we are off it
        w->switches++;
        switch_context(&abandoned, &next->context);
    }
}

static void prepare_block(Worker* w, Launch* launch, Index block) {
    u32 count = w->thread_count;
    w->block = block, w->block_serial++;
    w->alive = count;
    w->current = nullptr;
    w->idle = 0;
    w->warps_ready = w->wait_for_others = 0;
    for (u32 number = 0; number < w->warp_count; number++) {
        Warp& warp = w->warps[number];
        u32 lanes = std::min(32u, count - number * 32);
        warp.present = warp.alive = lanes == 32 ? ~0u : (1u << lanes) - 1;
        warp.pending.clear();
        warp.ready = warp.turn = 0;
        make_ready(w, number, warp.alive);
    }
    for (Barrier& barrier : w->named) barrier.arrived = 0, barrier.expected = -1, barrier.count = 0, barrier.both = 1, barrier.any = 0, barrier.clocks.clear();
    for (u32 i = 0; i < count; i++) {
        Thread& t = w->threads[i];
        if (UNLIKELY(t.copying)) w->baggage[i].copies.clear(), w->baggage[i].groups.clear();
        t.stack = nullptr, t.waiting = RUNS, t.fenced = t.copying = false, t.pc = 0;
    }
    const Module* module = launch->module;
    char* base = (char*)w->shared_base;                         // a NaN in every word: shared memory starts out undefined
    if (module->static_bytes) memset(base + module->static_offset, 0xff, module->static_bytes);
    if (launch->shared_bytes && module->dynamic_bytes) memset(base + module->dynamic_offset, 0xff, std::min<u64>(launch->shared_bytes, module->dynamic_bytes));
    if (w->sanitizer) sanitizer_begin_block(w);
}
static void run_block(Worker* w) {
    Thread* first = pick(w);
    w->current = first;
    w->in_kernel = true;
    start_on_new_stack(w, first, &w->main);
    w->in_kernel = false;
    w->current = nullptr;
    if (UNLIKELY(w->stop)) w->free_stacks = w->all_stacks;      // whoever was stopped never comes back to its stack
}

static void prepare_worker(Worker* w, Launch* launch) {
    Index b = launch->block;
    u32 count = b.x * b.y * b.z;
    w->launch = launch;
    w->order = launch->order;
    w->random = 0x9e3779b97f4a7c15ull * (launch->seed + 1) + w->number;
    w->stop = false;
    w->late = 0;
    w->switches = w->barriers = 0;
    w->switch_limit = 1u << 22;
    if (!w->threads) {
        w->threads = new Thread[WARPS * 32];
        w->baggage = new Baggage[WARPS * 32];
        for (u32 i = 0; i < WARPS * 32; i++) w->threads[i].number = (uint16_t)i, w->threads[i].warp = (uint8_t)(i / 32), w->threads[i].lane = (uint8_t)(i % 32);
    }
    w->thread_count = count;
    w->warp_count = (count + 31) / 32;
    u32 i = 0;
    for (u32 z = 0; z < b.z; z++)
        for (u32 y = 0; y < b.y; y++)
            for (u32 x = 0; x < b.x; x++) w->threads[i++].index = {x, y, z};
    const Module* module = launch->module;
    w->shared_base = (address_t)module->anchor() - module->anchor_offset;
    w->shared_size = std::max(module->static_offset + module->static_bytes, module->dynamic_offset + module->dynamic_bytes);
}

static std::mutex launch_mutex;                                 // one launch at a time
static std::atomic<u64> next_block;
static std::vector<u32> shuffled;                               // in random order: the blocks of a grid that is not too large,
constexpr u64 MOST_SHUFFLED = 1 << 22;                          // or strides through it
static u64 stride, first_block;

static void run_blocks(Worker* w, Launch* launch) {
    u64 total = (u64)launch->grid.x * launch->grid.y * launch->grid.z;
    while (!launch->stopped && !interrupted) {
        u64 position = next_block++;
        if (position >= total) break;
        u64 number = launch->order == DESCENDING ? total - 1 - position : launch->order != RANDOM ? position
                     : total <= MOST_SHUFFLED ? shuffled[position] : (u64)(((unsigned __int128)position * stride + first_block) % total);
        Index block{(u32)(number % launch->grid.x), (u32)(number / launch->grid.x % launch->grid.y), (u32)(number / launch->grid.x / launch->grid.y)};
        prepare_block(w, launch, block);
        run_block(w);
    }
}

// ---- Signals: a faulty kernel ends its launch, not the process. Installed around a launch and put back, so that whoever
// owns them otherwise (faulthandler, Python) keeps them.
static struct sigaction old_actions[65];
static void leave_kernel() { stop_launch(worker); }
static void on_signal(int number, siginfo_t* info, void* state) {
    Worker* w = worker;
    if (!w || !w->in_kernel || !w->launch) {                    // not ours
        if (number == SIGURG) return;
        struct sigaction& old = old_actions[number];
        if (old.sa_flags & SA_SIGINFO && old.sa_sigaction) { old.sa_sigaction(number, info, state); return; }
        if (old.sa_handler == SIG_IGN) return;
        if (old.sa_handler != SIG_DFL) { old.sa_handler(number); return; }
        sigaction(number, &old, nullptr);
        raise(number);
        return;
    }
    u64 pc = 0;
    const Module* module = w->launch->module;
#if defined(__x86_64__)
    auto& registers = ((ucontext_t*)state)->uc_mcontext.gregs;
    pc = (u64)registers[REG_RIP];
#elif defined(__aarch64__)
    pc = (u64)((ucontext_t*)state)->uc_mcontext.pc;
#endif
    bool elsewhere = pc && (pc < module->text_begin || pc >= module->text_end);
    if (number == SIGURG && elsewhere && ++w->late < 20) {      // perhaps inside malloc: ask the kernel's next access to stop, or try again soon
        if (w->sanitizer) sanitizer_request_stop(w);
        return;
    }
    if (elsewhere) pc = w->sanitizer ? w->last_pc : w->current && w->current->pc ? w->current->pc : pc;
    address_t address = (address_t)info->si_addr;
    int kind = number == SIGFPE ? FAULT_DIVISION : number == SIGURG ? FAULT_TIMEOUT : FAULT_SIGNAL;
    char text[200];
    Thread* t = w->current;
    bool overflow = number == SIGSEGV && address >= stacks_begin() && address < stacks_end();
    if (overflow) kind = FAULT_OVERFLOW, snprintf(text, sizeof text, "the thread used up its local memory (%zu KB here)", STACK >> 10);
    else if (kind == FAULT_DIVISION) snprintf(text, sizeof text, "integer division by zero");
    else if (kind == FAULT_TIMEOUT) snprintf(text, sizeof text, "the launch ran for more than %g s", w->launch->timeout);
    else snprintf(text, sizeof text, "invalid address 0x%llx", (unsigned long long)address);
    Fault* fault = &w->launch->faults[w->launch->fault_count < MAX_FAULTS ? w->launch->fault_count++ : MAX_FAULTS - 1];
    memset(fault, 0, sizeof *fault);
    fault->kind = kind, fault->pc = pc, fault->address = address, fault->count = 1, fault->other_thread = -1, fault->other_block = NO_BLOCK;
    fault->block[0] = w->block.x, fault->block[1] = w->block.y, fault->block[2] = w->block.z;
    fault->thread = t ? t->number : -1;
    memcpy(fault->text, text, sizeof text);
#ifndef GPUDL_EMU_UCONTEXT
    registers[REG_RSP] = (long long)(((address_t)w->main.stack - 4096) & ~15ull) - 8;      // below the main context's frames
    registers[REG_RIP] = (long long)&leave_kernel;
#else
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    leave_kernel();
#endif
}
static void on_interrupt(int number, siginfo_t* info, void* state) {
    interrupted = 1;
    struct sigaction& old = old_actions[number];
    if (old.sa_flags & SA_SIGINFO && old.sa_sigaction) old.sa_sigaction(number, info, state);
    else if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) old.sa_handler(number);
}
static const int guarded[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static __thread bool alternate_ready = false;
static void use_alternate_stack() {
    if (alternate_ready) return;
    stack_t now;
    sigaltstack(nullptr, &now);
    if ((now.ss_flags & SS_DISABLE) || now.ss_size < (32 << 10)) {      // Python's faulthandler sets a small one
        stack_t mine{};
        mine.ss_size = 64 << 10;
        mine.ss_sp = mmap(nullptr, mine.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        sigaltstack(&mine, nullptr);
    }
    alternate_ready = true;
}
static void install_signals() {
    struct sigaction action{};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    action.sa_sigaction = on_signal;
    for (int number : guarded) sigaction(number, &action, &old_actions[number]);
    sigaction(SIGURG, &action, &old_actions[SIGURG]);
    struct sigaction current;
    sigaction(SIGINT, nullptr, &current);
    old_actions[SIGINT] = current;
    if (!(current.sa_flags & SA_SIGINFO) && current.sa_handler == SIG_IGN) return;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    action.sa_sigaction = on_interrupt;
    sigaction(SIGINT, &action, nullptr);
}
static void restore_signals() {
    for (int number : guarded) sigaction(number, &old_actions[number], nullptr);
    sigaction(SIGURG, &old_actions[SIGURG], nullptr);
    sigaction(SIGINT, &old_actions[SIGINT], nullptr);
}

// ---- The watchdog: one thread for the process. Launches that follow each other quickly do not wake it.
static struct Watch {
    typedef std::chrono::steady_clock clock;
    std::mutex mutex;
    std::condition_variable change;
    bool active = false, asleep = false, started = false;
    clock::time_point deadline, sleeps_until;
    std::vector<pthread_t> threads;
} * watchdog = new Watch;
static void watch() {
    Watch& g = *watchdog;
    std::unique_lock<std::mutex> lock(g.mutex);
    for (;;) {
        if (!g.active) {
            g.asleep = true;
            g.change.wait(lock);
            g.asleep = false;
            continue;
        }
        g.sleeps_until = std::min(g.deadline, Watch::clock::now() + std::chrono::milliseconds(100));
        g.change.wait_until(lock, g.sleeps_until);
        bool over = Watch::clock::now() >= g.deadline;
        if (!g.active || !(over || interrupted)) continue;     // Ctrl-C ends a block that never ends, too
        for (pthread_t thread : g.threads) pthread_kill(thread, SIGURG);
        if (over) g.deadline = Watch::clock::now() + std::chrono::milliseconds(100);
    }
}
static void watch_begin(double seconds) {
    Watch& g = *watchdog;
    std::lock_guard<std::mutex> lock(g.mutex);
    g.deadline = Watch::clock::now() + std::chrono::duration_cast<Watch::clock::duration>(std::chrono::duration<double>(seconds));
    g.active = true;
    g.threads.assign(1, pthread_self());
    if (!g.started) g.started = true, std::thread(watch).detach();
    else if (g.asleep || g.deadline < g.sleeps_until) g.change.notify_one();
}
static void watch_end() {
    std::lock_guard<std::mutex> lock(watchdog->mutex);
    watchdog->active = false;
}

// ---- Workers: the calling thread is the first; the others are kept for the next launch.
static std::vector<Worker*> workers;
const std::vector<Worker*>& all_workers() { return workers; }
struct Pool {
    std::mutex mutex;
    std::condition_variable change, finished;
    std::function<void(Worker*)> job;
    std::atomic<u64> serial{0};
    u32 wanted = 0;
    std::atomic<u32> active{0};
    std::vector<std::thread*> threads;
};
static Pool* pool = nullptr;
// Waits a little for what usually comes at once: sleeping and being woken takes longer than a small launch.
template <class CONDITION> static bool soon(CONDITION happened) {
    auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
    do {
        for (int i = 0; i < 64; i++) {
            if (happened()) return true;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
    } while (std::chrono::steady_clock::now() < until);
    return false;
}
static Worker* make_worker(u32 number) {
    while (workers.size() <= number) {
        auto w = new Worker;
        w->number = (u32)workers.size();
        workers.push_back(w);
    }
    return workers[number];
}
static void serve(u32 number) {
    use_alternate_stack();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    u64 seen = 0;
    std::unique_lock<std::mutex> lock(pool->mutex);
    for (;;) {
        while (pool->serial == seen || number > pool->wanted) {
            if (pool->serial != seen) seen = pool->serial;
            lock.unlock();
            bool called = soon([&] { return pool->serial != seen; });
            lock.lock();
            if (!called && pool->serial == seen) pool->change.wait(lock);
        }
        seen = pool->serial;
        auto job = pool->job;
        lock.unlock();
        worker = make_worker(number);
        job(worker);
        worker = nullptr;
        lock.lock();
        if (--pool->active == 0) pool->finished.notify_all();
    }
}
// Runs job on `count` workers, the calling thread among them.
static void run_workers(u32 count, const std::function<void(Worker*)>& job) {
    make_worker(count - 1);
    if (count > 1) {
        if (!pool) pool = new Pool;
        std::lock_guard<std::mutex> lock(pool->mutex);
        while (pool->threads.size() < count - 1) {
            u32 number = (u32)pool->threads.size() + 1;
            pool->threads.push_back(new std::thread(serve, number));
        }
        {
            std::lock_guard<std::mutex> watching(watchdog->mutex);
            for (u32 i = 0; i + 1 < count; i++) watchdog->threads.push_back(pool->threads[i]->native_handle());
        }
        pool->job = job, pool->wanted = count - 1, pool->active = count - 1, pool->serial++;
        pool->change.notify_all();
    }
    worker = workers[0];
    job(worker);
    worker = nullptr;
    if (count > 1 && !soon([] { return pool->active == 0; })) {
        std::unique_lock<std::mutex> lock(pool->mutex);
        while (pool->active) pool->finished.wait(lock);
    }
}

// ---- Cooperative launches: all blocks live at once, each on an OS thread of its own. Under the sanitizer they take turns,
// because the shadow is not made for two at a time; in fast mode they run as they like.
static struct Grid {
    std::mutex mutex;
    std::condition_variable change;
    u32 total = 0, arrived = 0, left = 0, turn = 0;
    u64 phase = 0;
    bool turns = false;
    std::vector<uint8_t> waits, done;
} grid_state;

static void next_turn(u32 from) {                               // the lock is held
    Grid& g = grid_state;
    for (u32 i = 1; i <= g.total; i++) {
        u32 candidate = (from + i) % g.total;
        if (!g.done[candidate] && !g.waits[candidate]) { g.turn = candidate; g.change.notify_all(); return; }
    }
}
EXPORT void gpudl_emu_grid_barrier() {
    Worker* w = worker;
    u64 pc = CALLER;
    if (!w->launch->cooperative) fatal(w, FAULT_BARRIER, pc, "a grid barrier needs a cooperative launch");
    arrive(w, 0, -1, pc, true, 0);
    if (w->current->number == 0) {
        Grid& g = grid_state;
        std::unique_lock<std::mutex> lock(g.mutex);
        u64 phase = g.phase;
        u32 me = linear_block(w->launch, w->block);
        if (g.left) { lock.unlock(); fatal(w, FAULT_BARRIER, pc, "a block of the grid ended without reaching this grid barrier"); }
        if (++g.arrived == g.total) {
            g.arrived = 0, g.phase++;
            std::fill(g.waits.begin(), g.waits.end(), 0);
            if (w->sanitizer) sanitizer_grid_barrier(w);
            g.change.notify_all();
        } else {
            g.waits[me] = 1;
            if (g.turns) next_turn(me);
            while (g.phase == phase && !w->launch->stopped && !interrupted) {
                g.change.wait_for(lock, std::chrono::milliseconds(50));
                if (g.left && g.phase == phase) break;
            }
            if (g.phase == phase) {
                bool left = g.left && !w->launch->stopped;
                lock.unlock();
                if (left) fatal(w, FAULT_BARRIER, pc, "a block of the grid ended without reaching this grid barrier");
                stop_launch(w);
            }
            while (g.turns && g.turn != me && !w->launch->stopped && !interrupted) g.change.wait_for(lock, std::chrono::milliseconds(50));
        }
    }
    arrive(w, 0, -1, pc, true, 0);
}
static void run_resident_block(Worker* w, Launch* launch) {
    Grid& g = grid_state;
    u32 me = w->number;
    if (g.turns) {
        std::unique_lock<std::mutex> lock(g.mutex);
        while (g.turn != me && !launch->stopped && !interrupted) g.change.wait_for(lock, std::chrono::milliseconds(50));
    }
    if (!launch->stopped && !interrupted) {
        Index block{me % launch->grid.x, me / launch->grid.x % launch->grid.y, me / launch->grid.x / launch->grid.y};
        prepare_block(w, launch, block);
        run_block(w);
    }
    std::unique_lock<std::mutex> lock(g.mutex);
    g.done[me] = 1, g.left++;
    if (g.turns) next_turn(me);
    g.change.notify_all();
}

EXPORT int gpudl_emu_launch(Launch* launch) {
    std::lock_guard<std::mutex> one(launch_mutex);
    static bool ready = [] {
        stack_region = (char*)mmap(nullptr, STACK * MAX_STACKS, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        return stack_region != MAP_FAILED;
    }();
    if (!ready) return 2;
    static bool forks = (pthread_atfork(nullptr, nullptr, [] { pool = nullptr, watchdog = new Watch; }), true);      // threads stay with the parent
    (void)forks;
    u64 total = (u64)launch->grid.x * launch->grid.y * launch->grid.z;
    u32 count = launch->cooperative ? (u32)total : (u32)std::min<u64>(std::max(1u, launch->workers), total);
    if (launch->module->sanitized && !launch->cooperative) count = 1;
    interrupted = 0;
    if (launch->order == RANDOM) {
        u64 state = 0x9e3779b97f4a7c15ull * (launch->seed + 1);
        shuffled.resize(total <= MOST_SHUFFLED ? total : 0);
        for (u64 i = 0; i < shuffled.size(); i++) shuffled[i] = (u32)i;
        for (u64 i = shuffled.size(); i > 1; i--) std::swap(shuffled[i - 1], shuffled[xorshift(state) % i]);
        first_block = xorshift(state) % total;
        do stride = xorshift(state) % total | 1; while (std::gcd(stride, total) != 1);
    }
    use_alternate_stack();
    install_signals();
    std::mutex sums;
    auto run = [&] {
        launch->fault_count = launch->stopped = 0;
        launch->barriers = launch->switches = 0;
        next_block = 0;
        if (launch->timeout > 0) watch_begin(launch->timeout);
        if (launch->cooperative) {
            grid_state.total = (u32)total, grid_state.arrived = grid_state.left = grid_state.turn = 0, grid_state.phase = 0;
            grid_state.turns = launch->module->sanitized;
            grid_state.waits.assign(total, 0), grid_state.done.assign(total, 0);
        }
        run_workers(count, [&](Worker* w) {
            prepare_worker(w, launch);
            if (launch->module->sanitized) sanitizer_begin_launch(w);
            if (launch->cooperative) run_resident_block(w, launch);
            else run_blocks(w, launch);
            if (w->sanitizer) sanitizer_end_launch(w);
            w->launch = nullptr;
            std::lock_guard<std::mutex> lock(sums);
            launch->barriers += w->barriers, launch->switches += w->switches;
        });
        if (interrupted) launch->stopped = 1;
    };
    launch->output = 0;
    sanitizer_keep_for_undo(launch);
    run();
    sanitizer_second_opinion(launch, run);
    if (launch->timeout > 0) watch_end();
    restore_signals();
    if (!launch->module->sanitized)                             // what a fast kernel wrote is not tracked: take its outputs as written
        for (u64 rest = launch->writable; rest; rest &= rest - 1) mark_allocation(*(address_t*)launch->arguments[__builtin_ctzll(rest)]);
    if (interrupted) { interrupted = 0; return 3; }
    return launch->fault_count ? 1 : 0;
}
EXPORT u64 gpudl_emu_sizes(int what) { return what == 0 ? sizeof(Launch) : what == 1 ? sizeof(Module) : sizeof(Fault); }
