// mbarrier and bulk copies (sm_90): barriers that lie in shared memory and count arrivals and bytes.
//
// A phase is over when all arrivals and all announced bytes have come. Bytes come late here: a copy happens when somebody waits for its
// phase, so that code which forgot to wait finds the destination unwritten.
#include "runtime.h"
#include <unordered_map>

struct BulkCopy { void* to; const void* from; u32 bytes; };
struct MBarrier {
    u32 expected, pending;              // arrivals of a phase, and those still to come
    u64 phase;
    int64_t bytes;                      // announced and not yet come
    std::vector<BulkCopy> copies;       // on their way
    Knowledge collecting, completed;    // what those who arrived knew: of the running phase, and of the last one that is over
};
static std::unordered_map<address_t, MBarrier> mbarriers[64];   // of each worker's block
static u64 mbarrier_block[64];

static MBarrier* find_mbarrier(Worker* w, const void* address, u64 pc, bool create) {
    address_t at = (address_t)address;
    auto& mine = mbarriers[w->number & 63];
    u64& serial = mbarrier_block[w->number & 63];
    if (serial != w->block_serial) mine.clear(), serial = w->block_serial;
    if (at - w->shared_base >= w->shared_size) fatal(w, FAULT_BARRIER, pc, "an mbarrier must lie in shared memory");
    if (at % 8) fatal(w, FAULT_MISALIGNED, pc, "an mbarrier takes 8 bytes at a multiple of 8", at, 8, ACCESS_WRITE);
    auto found = mine.find(at);
    if (found != mine.end()) return &found->second;
    if (!create) fatal(w, FAULT_BARRIER, pc, "this mbarrier was not initialised (mbarrier_init by one thread, then a barrier of the block)");
    return &mine[at];
}
static u32 place_of(Worker* w, const void* address) { return (u32)((address_t)address - w->shared_base); }
static bool has_waiters(Worker* w, u32 place) {
    for (u32 i = 0; i < w->thread_count; i++)
        if (w->threads[i].waiting == AT_MBARRIER && w->threads[i].mask == place) return true;
    return false;
}
static void finish_phase(Worker* w, MBarrier* b, u32 place) {
    for (BulkCopy& copy : b->copies) {
        memcpy(copy.to, copy.from, copy.bytes);
        if (w->sanitizer) sanitizer_mark_shared(w, (address_t)copy.to, copy.bytes);
    }
    b->copies.clear();
    b->phase++, b->pending = b->expected, b->bytes = 0;
    if (w->sanitizer) join(b->completed, b->collecting), b->collecting.reset();
    w->idle = 0;
    for (u32 i = 0; i < w->thread_count; i++) {
        Thread& t = w->threads[i];
        if (t.waiting == AT_MBARRIER && t.mask == place) t.waiting = RUNS, make_ready(w, t.warp, 1u << t.lane);
    }
}
static int64_t missing_bytes(const MBarrier& b) {
    int64_t missing = b.bytes;
    for (const BulkCopy& copy : b.copies) missing -= copy.bytes;
    return missing;
}
static bool complete(const MBarrier* b, bool with_copies) { return b->pending == 0 && missing_bytes(*b) == 0 && (with_copies || b->copies.empty()); }
// Ends the phase if it can end: at once where nothing is on its way, otherwise when somebody waits.
static void advance(Worker* w, MBarrier* b, u32 place) {
    if (complete(b, false) || (complete(b, true) && has_waiters(w, place))) finish_phase(w, b, place);
}
EXPORT void gpudl_emu_mbarrier_init(void* address, unsigned count) {
    Worker* w = worker;
    u64 pc = CALLER;
    if (!count || count > (1 << 20) - 1) fatal(w, FAULT_BARRIER, pc, "an mbarrier expects 1 to 1048575 arrivals");
    MBarrier* b = find_mbarrier(w, address, pc, true);
    if (w->sanitizer) check_range((address_t)address, 8, ACCESS_WRITE, pc);
    *b = MBarrier{count, count, 0, 0, {}, {}, {}};
}
EXPORT u64 gpudl_emu_mbarrier_arrive(void* address, unsigned bytes, unsigned arrivals) {
    Worker* w = worker;
    u64 pc = CALLER;
    MBarrier* b = find_mbarrier(w, address, pc, false);
    if (w->sanitizer) check_range((address_t)address, 8, ACCESS_READ, pc);
    if (arrivals > b->pending && complete(b, true)) finish_phase(w, b, place_of(w, address));       // the copies came, though nobody waited
    u64 phase = b->phase;
    if (arrivals > b->pending) fatal(w, FAULT_BARRIER, pc, "more threads arrive in one phase of this mbarrier than it was initialised for");
    b->bytes += bytes, b->pending -= arrivals;
    if (w->sanitizer && arrivals) join(b->collecting, publish(w));
    advance(w, b, place_of(w, address));
    return phase;
}
// Waits until the phase of this parity is over.
EXPORT void gpudl_emu_mbarrier_wait(void* address, unsigned parity) {
    Worker* w = worker;
    u64 pc = CALLER;
    MBarrier* b = find_mbarrier(w, address, pc, false);
    if (w->sanitizer) check_range((address_t)address, 8, ACCESS_READ, pc);
    if ((b->phase & 1) == (parity & 1) && complete(b, true)) finish_phase(w, b, place_of(w, address));
    while ((b->phase & 1) == (parity & 1)) {
        Thread* self = w->current;
        self->waiting = AT_MBARRIER, self->pc = pc, self->mask = place_of(w, address);
        block_current(w);
    }
    if (w->sanitizer) learn(w, b->completed);
}
bool explain_mbarrier(Worker* w, const Thread* t, char* text, size_t size) {
    const MBarrier& b = mbarriers[w->number & 63][w->shared_base + t->mask];
    snprintf(text, size, "waits for phase %llu of an mbarrier that will not end: %u of %u arrivals and %lld bytes are missing", (unsigned long long)b.phase, b.pending,
             b.expected, (long long)missing_bytes(b));
    return b.pending == 0;
}
EXPORT void gpudl_emu_bulk_load(void* shared, const void* global, unsigned bytes, void* address) {
    Worker* w = worker;
    u64 pc = CALLER;
    MBarrier* b = find_mbarrier(w, address, pc, false);
    if (bytes % 16 || (address_t)shared % 16 || (address_t)global % 16)
        fatal(w, FAULT_MISALIGNED, pc, "a bulk copy moves a multiple of 16 bytes between addresses that are multiples of 16", (address_t)shared, 16, ACCESS_WRITE);
    if (w->sanitizer) {
        if ((address_t)shared - w->shared_base >= w->shared_size) fatal(w, FAULT_BOUNDS, pc, "the destination of a bulk copy must be shared memory", (address_t)shared, bytes, ACCESS_WRITE);
        Profile* profile = w->profile;
        w->profile = nullptr;                                   // one thread's request for all of it: not a warp's access pattern
        for (u32 i = 0; i < bytes; i += 16) {
            check<16>((address_t)global + i, ACCESS_READ, pc);
            check<16>((address_t)shared + i, ACCESS_WRITE, pc);
        }
        w->profile = profile;
        sanitizer_unmark_shared(w, (address_t)shared, bytes);
        join(b->collecting, publish(w));                        // whoever waits knows of the copy
    }
    b->copies.push_back({shared, global, bytes});
    advance(w, b, place_of(w, address));
}
