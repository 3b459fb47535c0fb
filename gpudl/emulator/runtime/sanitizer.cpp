// The sanitizer: defines the hooks that g++ calls before each memory access of a file compiled with -fsanitize=thread.
//
// What happens-before what. A warp has a clock that ticks whenever some of its lanes synchronise; every access is stamped with
// block, thread and clock. Two accesses of one word collide unless the later thread already knew of the earlier clock:
//   __syncthreads        everything up to it is known to the whole block (`base`)
//   named barriers       a vector of clocks travels from the warps that arrive to the warps that wait (`known`)
//   __syncwarp           the lanes of its mask know of each other (`full`, or a matrix of lanes where the mask is partial)
//   __threadfence + atomic, or a volatile access to global memory
//                        what the releasing thread knew, kept with the address, joined by whoever reads it later (`Acquired`)
//   __threadfence_block + volatile store to shared memory
//                        the same, if the thread has not looked at that word since its fence: a flag, not v[t] += v[t + 16]
//   a grid barrier       forgets all stamps
// Shuffles and votes order nothing.
#include "runtime.h"
#include <algorithm>
#include <cmath>
#include <mutex>
#include <sys/mman.h>
#include <unordered_map>

// ---- Stamps: mask of bytes, kind, site, thread, block (modulo 2^14), clock.
typedef u64 Stamp;
constexpr int KIND = 4, SITE = 6, THREAD = 20, BLOCK = 30, CLOCK = 44;
constexpr u32 BLOCK_MASK = 0x3fff, LAST_CLOCK = (1u << 20) - 4;
constexpr int VOLATILE_READ = 0;                                // a kind that no ACCESS_* but NONE has: of shared memory, perhaps a thread that polls
static HOT u32 mask_of(Stamp s) { return s & 15; }
static HOT int kind_of(Stamp s) { return s >> KIND & 3; }
static HOT u32 site_of(Stamp s) { return s >> SITE & 0x3fff; }
static HOT u32 thread_of(Stamp s) { return s >> THREAD & 1023; }
static HOT u32 block_of(Stamp s) { return s >> BLOCK & BLOCK_MASK; }
static HOT u32 clock_of(Stamp s) { return (u32)(s >> CLOCK); }
static HOT bool same_thread(Stamp a, Stamp b) { return ((a ^ b) >> THREAD & 0xffffff) == 0; }

// Of each 4-byte word: the last write or atomic, and two other accesses. Two readers that do not know each other are kept from
// different warps or blocks where possible: then a write collides with at least one of them if it collides with any.
struct Cell { Stamp write, other[2]; };
constexpr int CHUNK = 8;                                        // cells are cleared lazily, 256 bytes of data at a time
struct Region {
    address_t base = 0;
    u64 size = 0;
    uint8_t* state = nullptr;
    Cell* cells = nullptr;
    u32* generations = nullptr;
    u32 generation = 1;
    int space = 0;
};
static Region global;

struct Acquired { std::unordered_map<u32, u32> clocks; };       // (block, warp) or (block, thread) -> clock known
static HOT u32 warp_key(u32 block, u32 warp) { return block << 11 | 1024 | warp; }
static HOT u32 thread_key(u32 block, u32 thread) { return block << 11 | thread; }
typedef std::shared_ptr<Acquired> Knowledge;
static std::unordered_map<address_t, Knowledge> released;       // by address of the atomic

struct Lanes { u32 known[32][32]; };
struct Sanitizer {
    Region shared, data;
    u32 base = 1, block = 0;
    u32 clock[WARPS], full[WARPS], known[WARPS][WARPS];
    std::unique_ptr<Lanes> lanes[WARPS];
    bool partial[WARPS];
    bool vectors = false;                                       // `known` says more than `base`
    bool acquired = false;                                      // some thread or the block has learned through atomics
    Knowledge of_block;
    std::vector<address_t> flags;                               // words of shared memory in `released`
    address_t poll_address = 0;
    u32 poll_thread = 0, poll_count = 0;
    address_t suspect = 0;                                      // a write that collides with a write: harmless if it changes nothing
    u64 suspect_value = 0, suspect_size = 0;
    Fault suspect_fault;
    struct { Thread* thread; u64 pc, size; address_t address; Stamp other; } seed;      // a plain read that collides with an atomic
    bool undo = false;                                          // pages of global memory are kept before their first change
    uint16_t* sites = nullptr;
    std::vector<u64>* site_pcs = nullptr;
    u64 text = 0, text_size = 0;
};
struct Sites { std::vector<uint16_t> table; std::vector<u64> pcs; std::vector<uint8_t> state; std::vector<Cell> cells; std::vector<u32> generations; };

static void map_shadow(Region& region, u64 words) {
    auto reserve = [](u64 bytes) { return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); };
    region.cells = (Cell*)reserve(words * sizeof(Cell));
    region.generations = (u32*)reserve((words >> (CHUNK - 2)) * 4 + 64);
    if (region.cells == MAP_FAILED || region.generations == MAP_FAILED) { fprintf(stderr, "gpudl emulator: no address space for the shadow\n"); abort(); }
}

// ---- Sites: a program counter's number.
static HOT u32 site(Sanitizer* s, u64 pc) {
    u64 offset = pc - s->text;
    if (UNLIKELY(offset >= s->text_size)) return 0;
    u32 number = s->sites[offset];
    if (LIKELY(number)) return number;
    if (s->site_pcs->size() >= 0x3fff) return 0x3fff;
    s->site_pcs->push_back(pc);
    return s->sites[offset] = (uint16_t)(s->site_pcs->size() - 1);
}

// ---- Faults.
static void describe(Worker* w, Fault* fault, address_t address, u64 size, int access) {
    fault->address = address, fault->size = size, fault->access = access;
    fault->space = address - w->shared_base < w->sanitizer->shared.size ? 2 : in_arena(address) ? 3 : 4;
    fault->base = w->shared_base;
}
static __attribute__((noinline)) void fault_at(Worker* w, int kind, u64 pc, address_t address, u64 size, int access, const char* text, bool last) {
    Launch* launch = w->launch;
    for (u32 i = 0; i < launch->fault_count; i++)
        if (launch->faults[i].kind == kind && launch->faults[i].pc == pc) {
            launch->faults[i].count++;
            if (last) stop_launch(w);
            return;
        }
    Fault* fault = add_fault(w, kind, pc);
    if (fault) {
        describe(w, fault, address, size, access);
        snprintf(fault->text, sizeof fault->text, "%s", text);
    }
    if (last) stop_launch(w);
}
static bool collides_again(Launch* launch, u64 pc, u64 other) {
    for (u32 i = 0; i < launch->fault_count; i++) {
        Fault& f = launch->faults[i];
        if (f.kind == FAULT_RACE && ((f.pc == pc && f.other_pc == other) || (f.pc == other && f.other_pc == pc))) { f.count++; return true; }
    }
    return false;
}
constexpr address_t STOP = 1;                                   // in place of a suspect: the watchdog wants the launch to end
constexpr address_t SEED = 2;                                   // in place of a suspect: a plain read waits for its compare-and-swap
static void race(Worker* w, u64 pc, address_t address, u64 size, int access, Stamp other);
void sanitizer_request_stop(Worker* w) { w->sanitizer->suspect = STOP; }
static __attribute__((noinline)) void settle_suspect(Worker* w, address_t next = 0) {
    Sanitizer* s = w->sanitizer;
    if (s->suspect == SEED) {                                   // the thread may look at other words until it swaps this one
        if (next && w->current == s->seed.thread && next != s->seed.address) return;
        Thread* current = w->current;
        w->current = s->seed.thread, s->seed.thread = nullptr;
        race(w, s->seed.pc, s->seed.address, s->seed.size, ACCESS_READ, s->seed.other);
        w->current = current, s->suspect = 0;
        return;
    }
    if (s->suspect == STOP) {
        s->suspect = 0;
        char text[200];
        snprintf(text, sizeof text, "the launch ran for more than %g s", w->launch->timeout);
        fatal(w, FAULT_TIMEOUT, w->last_pc, text);
    }
    u64 now = 0;
    memcpy(&now, (void*)s->suspect, s->suspect_size);
    s->suspect = 0;
    if (now == s->suspect_value || collides_again(w->launch, s->suspect_fault.pc, s->suspect_fault.other_pc)) return;
    Thread* current = w->current;
    Fault* fault = add_fault(w, FAULT_RACE, s->suspect_fault.pc);
    w->current = current;
    if (fault) *fault = s->suspect_fault;
}
static __attribute__((noinline, cold)) void race(Worker* w, u64 pc, address_t address, u64 size, int access, Stamp other) {
    Sanitizer* s = w->sanitizer;
    u64 other_pc = site_of(other) < s->site_pcs->size() ? (*s->site_pcs)[site_of(other)] : 0;
    Fault local, *fault = &local;
    if (access == ACCESS_READ && kind_of(other) == ACCESS_ATOMIC) {
        // old = *p; do ... while ((old = atomicCAS(p, old, ...)) != old): a stale first value costs one more turn and does no harm
        if (!s->suspect) { s->suspect = SEED, s->seed = {w->current, pc, size, address, other}; return; }
        if (s->suspect == SEED && s->seed.thread == w->current && s->seed.pc == pc) return;
        if (s->suspect == SEED && s->seed.thread) settle_suspect(w);
    }
    bool both_write = access == ACCESS_WRITE && kind_of(other) == ACCESS_WRITE && size <= 8;
    if (both_write && s->suspect) return;
    if (!both_write) {
        if (collides_again(w->launch, pc, other_pc)) return;
        if (!(fault = add_fault(w, FAULT_RACE, pc))) return;
    } else {
        memset(fault, 0, sizeof *fault);
        fault->kind = FAULT_RACE, fault->pc = pc, fault->count = 1, fault->thread = w->current->number;
        fault->block[0] = w->block.x, fault->block[1] = w->block.y, fault->block[2] = w->block.z;
    }
    describe(w, fault, address, size, access);
    fault->other_pc = other_pc, fault->other_access = kind_of(other) == VOLATILE_READ ? ACCESS_READ : kind_of(other), fault->other_thread = (int)thread_of(other);
    u32 mine = linear_block(w->launch, w->block);
    fault->other_block = (mine & ~BLOCK_MASK) | block_of(other);
    if (fault->other_block > mine && !w->launch->order && !w->launch->cooperative && fault->other_block >= BLOCK_MASK + 1) fault->other_block -= BLOCK_MASK + 1;
    if (both_write) {                                           // all threads that store one and the same flag do no harm: wait for the value
        s->suspect = address, s->suspect_size = size, s->suspect_value = 0, s->suspect_fault = local;
        memcpy(&s->suspect_value, (void*)address, size);
    }
}

// ---- Happens-before.
static __attribute__((noinline)) bool acquired_order(Worker* w, Sanitizer* s, Thread* t, Stamp other) {
    u32 block = block_of(other), thread = thread_of(other), clock = clock_of(other);
    for (Acquired* known : {w->baggage[t->number].acquired.get(), s->of_block.get()}) {
        if (!known) continue;
        auto found = known->clocks.find(thread_key(block, thread));
        if (found != known->clocks.end() && clock <= found->second) return true;
        found = known->clocks.find(warp_key(block, thread >> 5));
        if (found != known->clocks.end() && clock <= found->second) return true;
    }
    return false;
}
static HOT bool ordered(Sanitizer* s, Thread* t, Stamp mine, Stamp other) {
    if (same_thread(mine, other)) return true;
    if (block_of(other) == s->block) {
        u32 clock = clock_of(other), warp = thread_of(other) >> 5, own = t->warp;
        if (clock < s->base) return true;
        if (warp == own) {
            if (clock <= s->full[own]) return true;
            if (UNLIKELY(s->partial[own]) && clock <= s->lanes[own]->known[t->lane][thread_of(other) & 31]) return true;
        } else if (UNLIKELY(s->vectors) && clock <= s->known[own][warp]) return true;
    }
    return UNLIKELY(s->acquired) && acquired_order(worker, s, t, other);
}
static HOT bool overlaps(Stamp a, Stamp b) { return (a & b & 15) != 0; }

static __attribute__((noinline)) void keep_other(Sanitizer* s, Thread* t, Cell& cell, Stamp mine) {
    for (Stamp& slot : cell.other)
        if (slot && same_thread(slot, mine) && kind_of(slot) == kind_of(mine)) { slot = mine | (clock_of(slot) == clock_of(mine) ? mask_of(slot) : 0); return; }
    bool atomic = kind_of(mine) == ACCESS_ATOMIC;               // the other blocks' atomics must still meet a store that this block's are ordered after
    for (Stamp& slot : cell.other)
        if (!slot || (!(atomic && kind_of(slot) == ACCESS_WRITE) && ordered(s, t, mine, slot))) { slot = mine; return; }
    Stamp a = cell.other[0], b = cell.other[1];
    if (block_of(a) == block_of(b) ? block_of(a) != block_of(mine) || ((thread_of(a) ^ thread_of(b)) >> 5 == 0 && (thread_of(a) ^ thread_of(mine)) >> 5) : false) cell.other[1] = mine;
}
static HOT void check_word(Worker* w, Sanitizer* s, Region& region, address_t address, u64 whole, u64 size, u32 mask, int access, Stamp mine, u64 pc) {
    u64 word = whole >> 2;
    u32& generation = region.generations[whole >> CHUNK];
    if (UNLIKELY(generation != region.generation)) {
        memset(&region.cells[whole >> CHUNK << (CHUNK - 2)], 0, sizeof(Cell) << (CHUNK - 2));
        generation = region.generation;
    }
    Cell& cell = region.cells[word];
    Thread* t = w->current;
    mine |= mask;
    if (access == ACCESS_READ || access == VOLATILE_READ) {
        if (LIKELY(cell.other[0] == mine)) return;
        bool polls = access == VOLATILE_READ;
        if (UNLIKELY(cell.write && overlaps(cell.write, mine) && !(polls && kind_of(cell.write) == ACCESS_ATOMIC) && !ordered(s, t, mine, cell.write)))
            race(w, pc, address, size, ACCESS_READ, cell.write);
        Stamp first = cell.other[0], second = cell.other[1];
        if (UNLIKELY(!polls && (first | second) >> (KIND + 1) & 1))       // one of them is an atomic
            for (Stamp other : cell.other)
                if (kind_of(other) == ACCESS_ATOMIC && overlaps(other, mine) && !ordered(s, t, mine, other)) race(w, pc, address, size, access, other);
        // Two concurrent readers, of different warps of this block or of different blocks, are all that a later write needs to collide with.
        // Two of this thread's own warp are too, for the time being: another warp's reader would replace one of them.
        if (LIKELY(!s->vectors && !s->acquired && mask == 15 && clock_of(first) >= s->base && clock_of(second) >= s->base)) {
            u64 apart = (first ^ second) >> (THREAD + 5), away = (first ^ mine) >> (THREAD + 5);
            if (away >> 5 & BLOCK_MASK ? apart >> 5 & BLOCK_MASK : apart & 0x7ffff) return;
            u32 known = s->full[t->warp];
            if (!(away & 0x7ffff) && clock_of(first) > known && clock_of(second) > known && !s->partial[t->warp]) return;
        }
        keep_other(s, t, cell, mine);
        return;
    }
    bool atomic = access == ACCESS_ATOMIC;
    if (UNLIKELY(cell.write && overlaps(cell.write, mine) && !(atomic && kind_of(cell.write) == ACCESS_ATOMIC) && !ordered(s, t, mine, cell.write)))
        race(w, pc, address, size, access, cell.write);
    for (Stamp other : cell.other)
        if (other && overlaps(other, mine) && !(atomic && (kind_of(other) == ACCESS_ATOMIC || kind_of(other) == VOLATILE_READ)) && !ordered(s, t, mine, other)) {
            race(w, pc, address, size, access, other);
            break;
        }
    if (atomic) {
        if (UNLIKELY(kind_of(cell.write) == ACCESS_WRITE)) {    // counter = 0; atomicAdd(&counter, 1): the others' atomics must still meet the store
            if (region.space != 2 || clock_of(cell.write) >= s->base) keep_other(s, t, cell, cell.write);
        } else if (kind_of(cell.write) == ACCESS_ATOMIC && !same_thread(cell.write, mine) && !ordered(s, t, mine, cell.write)) keep_other(s, t, cell, cell.write);
    } else {
        for (Stamp& other : cell.other)
            if ((mask_of(other) & ~mask) == 0) other = 0;
    }
    cell.write = mine;
}

// ---- Undoing a launch, so that it can be run again with other undefined values (see sanitizer_second_opinion).
struct Page { u64 offset; std::vector<char> data, result; std::vector<uint8_t> state, state_after; };      // before, and after the first run
struct Undo {
    u32* marks = nullptr;                                       // of each page of the arena: the launch that saved it
    u32 launch = 0;
    std::vector<Page> pages;
    std::vector<char> variables, variables_after;               // the module's
    std::mutex mutex;
};
static Undo undo;
constexpr u64 UNDO_PAGE = 4096;
static __attribute__((noinline)) void save_page(u64 number) {
    std::lock_guard<std::mutex> lock(undo.mutex);
    if (undo.marks[number] == undo.launch) return;
    undo.marks[number] = undo.launch;
    undo.pages.emplace_back();
    Page& page = undo.pages.back();
    const char* data = (const char*)arena_base + number * UNDO_PAGE;
    const uint8_t* state = arena_state + number * UNDO_PAGE / 4;
    page.offset = number * UNDO_PAGE, page.data.assign(data, data + UNDO_PAGE), page.state.assign(state, state + UNDO_PAGE / 4);
}
static HOT void save_for_undo(u64 offset, u64 size) {
    u64 first = offset / UNDO_PAGE, last = (offset + size - 1) / UNDO_PAGE;
    if (UNLIKELY(undo.marks[first] != undo.launch)) save_page(first);
    if (UNLIKELY(last != first && undo.marks[last] != undo.launch)) save_page(last);
}

// ---- One access.
static const char* touch(Region& region, u64 offset, u64 size, int access) {        // the exact, slow look at the state
    bool missing = false;
    for (u64 i = offset; i < offset + size; i++) {
        uint8_t& state = region.state[i >> 2];
        if (!(state >> (i & 3) & 1)) return "bounds";
        if (access != ACCESS_WRITE) missing |= !(state >> (4 + (i & 3)) & 1);
        if (access == ACCESS_WRITE || access == ACCESS_ATOMIC) state |= 0x10 << (i & 3);
    }
    return missing ? "uninitialised" : nullptr;
}
static __attribute__((noinline)) void bad_state(Worker* w, Region& region, address_t address, u64 size, int access, u64 pc) {
    const char* problem = touch(region, address - region.base, size, access);
    if (access == VOLATILE_READ) access = ACCESS_READ;
    if (!problem) return;
    if (problem[0] == 'b') fault_at(w, FAULT_BOUNDS, pc, address, size, access, "", true);
    const char* text = "";
    if (region.space == 2)
        for (u32 i = 0; i < w->thread_count; i++)
            for (AsyncCopy& copy : w->baggage[i].copies)
                if (address < (address_t)copy.to + copy.bytes && address + size > (address_t)copy.to) text = "a cp.async into it has not been waited for";
    fault_at(w, FAULT_UNINITIALISED, pc, address, size, access, text, false);
    for (u64 i = address - region.base; i < address - region.base + size; i++) region.state[i >> 2] |= 0x10 << (i & 3);      // once is enough
}

static __attribute__((noinline, cold)) Region* other_region(Worker* w, address_t address, u64 size, int access, u64 pc) {
    const Module* m = w->launch->module;
    Sanitizer* s = w->sanitizer;
    if (address >= m->constant_begin && address < m->constant_end) {
        if (access != ACCESS_READ) fault_at(w, FAULT_CONSTANT, pc, address, size, access, "", true);
        return nullptr;
    }
    if (address - s->data.base < s->data.size) return &s->data;
    if (address >= m->image_begin && address < m->image_end && access == ACCESS_READ) return nullptr;      // constant tables
    fault_at(w, FAULT_BOUNDS, pc, address, size, access, "", true);
    return nullptr;
}

template <int SIZE> static HOT void check(address_t address, int access, u64 pc, bool is_volatile = false) {
    Worker* w = worker;
    if (UNLIKELY(!w || !w->sanitizer)) return;
    Sanitizer* s = w->sanitizer;
    if (UNLIKELY(s->suspect != 0)) settle_suspect(w, address);
    Region* region;
    if (address - s->shared.base < s->shared.size) region = &s->shared;
    else if (address - stacks_begin() < stacks_end() - stacks_begin()) return;
    else if (in_arena(address)) region = &global;
    else if (!(region = other_region(w, address, SIZE, access, pc))) return;
    w->last_pc = pc;
    u64 offset = address - region->base;
    if (UNLIKELY(is_volatile && region->space != 2)) access = ACCESS_ATOMIC;
    if (UNLIKELY(s->undo && region == &global && access >= ACCESS_WRITE)) save_for_undo(offset, SIZE);
    bool fine;
    if (UNLIKELY(SIZE < 4 ? (offset & 3) + SIZE > 4 : offset & 3)) fine = false;
    else if (SIZE < 4) fine = (region->state[offset >> 2] >> (offset & 3) & ((1 << SIZE) - 1) * 17) == ((1 << SIZE) - 1) * 17;
    else if (SIZE == 4) fine = region->state[offset >> 2] == 0xff;
    else if (SIZE == 8) { uint16_t v; memcpy(&v, &region->state[offset >> 2], 2); fine = v == 0xffff; }
    else { u32 v; memcpy(&v, &region->state[offset >> 2], 4); fine = v == ~0u; }
    if (UNLIKELY(!fine)) bad_state(w, *region, address, SIZE, is_volatile && access == ACCESS_ATOMIC ? ACCESS_WRITE : access, pc);
    Thread* t = w->current;
    u32 number = site(s, pc);
    Stamp mine = (u64)s->clock[t->warp] << CLOCK | (u64)s->block << BLOCK | (u64)t->number << THREAD | (u64)number << SITE | (u64)access << KIND;
    if (SIZE < 4) {
        check_word(w, s, *region, address, offset, SIZE, (((1 << SIZE) - 1) << (offset & 3)) & 15, access, mine, pc);
        if ((offset & 3) + SIZE > 4) check_word(w, s, *region, address, offset + SIZE - 1, SIZE, ((1 << SIZE) - 1) >> (4 - (offset & 3)), access, mine, pc);
    } else {
        for (int i = 0; i < SIZE; i += 4) check_word(w, s, *region, address, offset + i, SIZE, 15, access, mine, pc);
    }
    if (UNLIKELY(w->profile != nullptr)) profile_access(w, region->space, address, SIZE, access == VOLATILE_READ ? ACCESS_READ : access, number);
}
static void check_range(address_t address, u64 size, int access, u64 pc) {
    if (size == 16) return check<16>(address, access, pc);
    if (size == 8) return check<8>(address, access, pc);
    while (size >= 4 && address % 4 == 0) check<4>(address, access, pc), address += 4, size -= 4;
    while (size) check<1>(address, access, pc), address++, size--;
}

// ---- Knowledge that travels through atomics.
static void join(Knowledge& into, const Knowledge& from) {
    if (!from || into == from) return;
    if (!into) { into = from; return; }
    auto sum = std::make_shared<Acquired>(*into);
    for (auto& one : from->clocks) { u32& clock = sum->clocks[one.first]; clock = std::max(clock, one.second); }
    into = sum;
}
static void learn(Worker* w, const Knowledge& known) {
    if (known) join(w->baggage[w->current->number].acquired, known), w->sanitizer->acquired = true;
}
// What the running thread knows by now; what it does from here on is later.
static Knowledge publish(Worker* w) {
    Sanitizer* s = w->sanitizer;
    Thread* t = w->current;
    auto mine = std::make_shared<Acquired>();
    for (u32 warp = 0; warp < w->warp_count; warp++) {
        u32 clock = warp == t->warp ? s->full[warp] : s->known[t->warp][warp];
        mine->clocks[warp_key(s->block, warp)] = std::max(clock, s->base - 1);
    }
    mine->clocks[thread_key(s->block, t->number)] = s->clock[t->warp];
    Knowledge all = mine;
    join(all, w->baggage[t->number].acquired);
    join(all, s->of_block);
    s->clock[t->warp] = std::min(s->clock[t->warp] + 1, LAST_CLOCK);
    return all;
}
static void synchronise(Worker* w, address_t address, bool reads, bool writes) {
    Sanitizer* s = w->sanitizer;
    if (reads && !released.empty()) {
        auto found = released.find(address);
        if (found != released.end()) learn(w, found->second);
    }
    if (!writes || !w->current->fenced) return;
    if (address - s->shared.base < s->shared.size) s->flags.push_back(address);
    join(released[address], publish(w));
}
void sanitizer_fence(Worker* w) { w->current->fenced = true, w->baggage[w->current->number].looked.clear(); }
// Whether a volatile store to shared memory releases: behind a fence, and not to a word that its thread has read since then.
static bool raises_flag(Worker* w, address_t address) {
    auto& looked = w->baggage[w->current->number].looked;
    return w->current->fenced && std::find(looked.begin(), looked.end(), address) == looked.end();
}

static void poll(Worker* w, address_t address) {                // a thread that looks at one address again and again lets others run
    Sanitizer* s = w->sanitizer;
    if (s->poll_address == address && s->poll_thread == w->current->number) {
        if (++s->poll_count < 4) return;
    } else {
        s->poll_address = address, s->poll_thread = w->current->number, s->poll_count = 0;
        return;
    }
    s->poll_count = 0;
    yield_thread(w);
}
static void check_volatile(address_t address, int size, bool writes, u64 pc) {
    int access = writes ? ACCESS_WRITE : ACCESS_READ;
    Worker* w = worker;
    if (!w || !w->sanitizer) return;
    bool local = address - stacks_begin() < stacks_end() - stacks_begin();
    if (local) return;
    w->current->pc = pc;
    if (!writes) poll(w, address);
    bool shared = address - w->sanitizer->shared.base < w->sanitizer->shared.size;
    if (shared) {
        access = !writes ? VOLATILE_READ : raises_flag(w, address) ? ACCESS_ATOMIC : ACCESS_WRITE;
        auto& looked = w->baggage[w->current->number].looked;
        if (!writes && w->current->fenced && looked.size() < 64 && (looked.empty() || looked.back() != address)) looked.push_back(address);
    }
    switch (size) {
        case 1: check<1>(address, access, pc, true); break;
        case 2: check<2>(address, access, pc, true); break;
        case 4: check<4>(address, access, pc, true); break;
        case 8: check<8>(address, access, pc, true); break;
        default: check<16>(address, access, pc, true);
    }
    synchronise(w, address, !writes, shared ? access == ACCESS_ATOMIC : writes);
}

// ---- Atomics.
template <class WORD, class VALUE> static u64 rmw(void* address, int operation, u64 value, u64 compare, bool& changed) {
    WORD* word = (WORD*)address;
    WORD seen = __atomic_load_n(word, __ATOMIC_SEQ_CST), wanted;
    for (;;) {
        VALUE old, now, operand;
        memcpy(&old, &seen, sizeof old);
        WORD given = (WORD)value;
        memcpy(&operand, &given, sizeof operand);
        switch (operation & 15) {
            case 0: now = old; break;
            case 1: now = operand; break;
            case 2: now = seen == (WORD)compare ? operand : old; break;
            case 3: now = old + operand; break;
            case 4: now = old - operand; break;
            case 5: now = operand < old ? operand : old; break;
            case 6: now = old < operand ? operand : old; break;
            case 10: now = old >= operand ? VALUE(0) : VALUE(old + VALUE(1)); break;
            case 11: now = old == VALUE(0) || old > operand ? operand : VALUE(old - VALUE(1)); break;
            default: {
                u64 bits = (operation & 15) == 7 ? (u64)seen & value : (operation & 15) == 8 ? (u64)seen | value : (u64)seen ^ value;
                WORD low = (WORD)bits;
                memcpy(&now, &low, sizeof now);
            }
        }
        memcpy(&wanted, &now, sizeof now);
        if (__atomic_compare_exchange_n(word, &seen, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
    }
    changed = wanted != seen;
    return (u64)seen;
}
static void forget_seed(Worker* w, address_t address, int bytes) {      // the plain read that a compare-and-swap starts from
    Sanitizer* s = w->sanitizer;
    if (s->suspect == SEED && s->seed.address == address && s->seed.thread == w->current) s->suspect = 0;
    bool shared = address - s->shared.base < s->shared.size;
    if (!shared && !in_arena(address) && address - s->data.base >= s->data.size) return;
    Region& region = shared ? s->shared : in_arena(address) ? global : s->data;
    u64 offset = address - region.base;
    if (region.generations[offset >> CHUNK] != region.generation) return;
    Stamp mine = (u64)s->clock[w->current->warp] << CLOCK | (u64)s->block << BLOCK | (u64)w->current->number << THREAD;
    for (u64 word = offset >> 2; word <= (offset + bytes - 1) >> 2; word++)
        for (Stamp& other : region.cells[word].other)
            if (kind_of(other) == ACCESS_READ && same_thread(other, mine) && clock_of(other) == clock_of(mine)) other = 0;
}
static u64 atomic(void* address, int bytes, int operation, u64 value, u64 compare, u64 pc) {
    Worker* w = worker;
    address_t at = (address_t)address;
    bool watched = w && w->sanitizer;
    if (watched) {
        w->current->pc = pc;
        if ((operation & 15) == 2) forget_seed(w, at, bytes);
        if (at % bytes) fault_at(w, FAULT_MISALIGNED, pc, at, bytes, ACCESS_ATOMIC, "", true);
        if (bytes == 8) check<8>(at, ACCESS_ATOMIC, pc);
        else if (bytes == 4) check<4>(at, ACCESS_ATOMIC, pc);
        else if (bytes == 2) check<2>(at, ACCESS_ATOMIC, pc);
        else check<1>(at, ACCESS_ATOMIC, pc);
    }
    bool changed = false;
    u64 old;
    bool real = operation & 32, sign = operation & 16;
    if (bytes == 8) old = real ? rmw<u64, double>(address, operation, value, compare, changed) : sign ? rmw<u64, int64_t>(address, operation, value, compare, changed) : rmw<u64, u64>(address, operation, value, compare, changed);
    else if (bytes == 4) old = real ? rmw<u32, float>(address, operation, value, compare, changed) : sign ? rmw<u32, int32_t>(address, operation, value, compare, changed) : rmw<u32, u32>(address, operation, value, compare, changed);
    else if (bytes == 2) old = rmw<uint16_t, uint16_t>(address, operation, value, compare, changed);
    else old = rmw<uint8_t, uint8_t>(address, operation, value, compare, changed);
    if (watched) {
        bool failed = (operation & 15) == 2 && !changed;
        synchronise(w, at, true, !failed && (operation & 15) != 0);
        if (!changed && (operation & 15) != 5 && (operation & 15) != 6) yield_thread(w);
    }
    return old;
}
EXPORT u64 gpudl_emu_atomic(void* address, int bytes, int operation, u64 value, u64 compare) { return atomic(address, bytes, operation, value, compare, CALLER); }

// ---- Barriers and warps.
static void tick(Sanitizer* s, u32 warp) { if (s->clock[warp] < LAST_CLOCK) s->clock[warp]++; }
void sanitizer_arrived(Worker* w, u32 warp) { tick(w->sanitizer, warp); }
void sanitizer_barrier_arrive(Worker* w, Barrier& barrier, Thread* t, bool full) {
    Sanitizer* s = w->sanitizer;
    if (full) return;
    if (barrier.clocks.size() != WARPS) barrier.clocks.assign(WARPS, 0);
    for (u32 warp = 0; warp < w->warp_count; warp++) {
        u32 clock = warp == t->warp ? s->clock[warp] : s->known[t->warp][warp];
        barrier.clocks[warp] = std::max(barrier.clocks[warp], clock);
    }
    if (s->acquired) join(s->of_block, w->baggage[t->number].acquired);      // wider than the barrier: may miss a race, never invents one
}
void sanitizer_barrier_complete(Worker* w, Barrier& barrier, bool full) {
    Sanitizer* s = w->sanitizer;
    if (s->suspect) settle_suspect(w);
    if (full) {
        if (w->profile) profile_end_block(w);
        u32 last = 0;
        for (u32 warp = 0; warp < w->warp_count; warp++) last = std::max(last, s->clock[warp]);
        if (last + 1 >= LAST_CLOCK) {                           // everything of this block is ordered here: start counting again
            s->shared.generation++, global.generation++, s->data.generation++;
            last = 0;
        }
        s->base = last + 1;
        for (u32 warp = 0; warp < w->warp_count; warp++) s->clock[warp] = last + 1, s->full[warp] = last, s->partial[warp] = false;
        if (s->vectors) memset(s->known, 0, sizeof s->known), s->vectors = false;
        if (s->acquired)
            for (u32 i = 0; i < w->thread_count; i++)
                if (w->baggage[i].acquired) join(s->of_block, w->baggage[i].acquired), w->baggage[i].acquired.reset();
        return;
    }
    u32 id = (u32)(&barrier - w->named);
    for (u32 warp = 0; warp < w->warp_count; warp++) {
        bool waits = false;
        for (u32 lanes = w->warps[warp].alive; lanes && !waits; lanes &= lanes - 1) {
            Thread& t = w->threads[warp * 32 + __builtin_ctz(lanes)];
            waits = t.waiting == AT_BARRIER && t.barrier == id;
        }
        if (!waits) continue;
        for (u32 other = 0; other < w->warp_count; other++)
            if (other != warp) s->known[warp][other] = std::max(s->known[warp][other], barrier.clocks[other]);
        s->full[warp] = std::max(s->full[warp], std::min(barrier.clocks[warp], s->clock[warp]));
    }
    for (u32 warp = 0; warp < w->warp_count; warp++)
        if (barrier.clocks[warp] == s->clock[warp]) tick(s, warp);
    s->vectors = true;
    barrier.clocks.assign(WARPS, 0);
}
void sanitizer_collective(Worker* w, u32 warp, u32 mask) {
    Sanitizer* s = w->sanitizer;
    if (s->suspect) settle_suspect(w);
    u32 clock = s->clock[warp];
    if (mask == w->warps[warp].alive) {
        s->full[warp] = clock;
    } else {
        auto& lanes = s->lanes[warp];
        if (!lanes) lanes.reset(new Lanes);
        if (!s->partial[warp]) memset(lanes.get(), 0, sizeof(Lanes)), s->partial[warp] = true;
        u32 sum[32] = {};
        for (u32 rest = mask; rest; rest &= rest - 1)
            for (int lane = 0; lane < 32; lane++) sum[lane] = std::max(sum[lane], lanes->known[__builtin_ctz(rest)][lane]);
        for (u32 rest = mask; rest; rest &= rest - 1) sum[__builtin_ctz(rest)] = clock;
        for (u32 rest = mask; rest; rest &= rest - 1) memcpy(lanes->known[__builtin_ctz(rest)], sum, sizeof sum);
    }
    if (s->acquired) {
        Knowledge all;
        for (u32 rest = mask; rest; rest &= rest - 1) join(all, w->baggage[warp * 32 + __builtin_ctz(rest)].acquired);
        if (all) for (u32 rest = mask; rest; rest &= rest - 1) w->baggage[warp * 32 + __builtin_ctz(rest)].acquired = all;
    }
    tick(s, warp);
}
void sanitizer_exit(Worker* w, Thread* t) {
    if (w->sanitizer->suspect) settle_suspect(w);
    if (w->profile && !w->warps[t->warp].alive) profile_flush(w, t->warp);
}
void sanitizer_grid_barrier(Worker*) { global.generation++; released.clear(); for (Worker* other : all_workers()) if (other->sanitizer) other->sanitizer->data.generation = global.generation; }

// ---- cp.async: the destination counts as unwritten from the issue to the wait, and may change at any time in between.
void sanitizer_copy_issue(Worker* w, AsyncCopy& copy) {
    Sanitizer* s = w->sanitizer;
    address_t to = (address_t)copy.to, from = (address_t)copy.from;
    if (!(to - s->shared.base < s->shared.size)) fault_at(w, FAULT_BOUNDS, copy.pc, to, copy.bytes, ACCESS_WRITE, "the destination of cp.async must be shared memory", true);
    if (to % copy.bytes) fault_at(w, FAULT_MISALIGNED, copy.pc, to, copy.bytes, ACCESS_WRITE, "", true);
    if (from % copy.bytes && copy.source_bytes) fault_at(w, FAULT_MISALIGNED, copy.pc, from, copy.bytes, ACCESS_READ, "", true);
    Profile* profile = w->profile;
    w->profile = nullptr;                                       // one access, however many pieces are checked
    check_range(from, copy.source_bytes, ACCESS_READ, copy.pc);
    check_range(to, copy.bytes, ACCESS_WRITE, copy.pc);
    if ((w->profile = profile)) {
        u32 number = site(s, copy.pc);
        if (copy.source_bytes) profile_access(w, 3, from, copy.bytes, ACCESS_READ, number, copy.bytes - copy.source_bytes);
        profile_access(w, 2, to, copy.bytes, ACCESS_WRITE, number);
    }
    for (u64 i = to - s->shared.base; i < to - s->shared.base + copy.bytes; i++) s->shared.state[i >> 2] &= ~(0x10 << (i & 3));
}
void sanitizer_copy_complete(Worker* w, AsyncCopy& copy) {
    Profile* profile = w->profile;
    w->profile = nullptr;                                       // counted at the issue
    check_range((address_t)copy.to, copy.bytes, ACCESS_WRITE, copy.pc);
    w->profile = profile;
}

// ---- Launches and blocks.
static std::unordered_map<u64, std::unique_ptr<Sites>> sites_of;       // by where the library lies: it is never unloaded
static std::mutex sites_mutex;
void sanitizer_begin_launch(Worker* w) {
    const Module* m = w->launch->module;
    static std::unordered_map<Worker*, std::unique_ptr<Sanitizer>> kept;
    std::lock_guard<std::mutex> lock(sites_mutex);
    auto& mine = kept[w];
    if (!mine) mine.reset(new Sanitizer);
    Sanitizer* s = mine.get();
    if (!global.cells) {
        u64 base, size;
        gpudl_emu_arena(&base, &size);
        global.base = arena_base, global.size = arena_size, global.state = arena_state, global.space = 3;
        map_shadow(global, arena_size / 4);
    }
    if (w->number == 0) global.generation++, released.clear();
    auto& sites = sites_of[m->text_begin];
    if (!sites) {
        sites.reset(new Sites);
        sites->table.assign(m->text_end - m->text_begin, 0);
        sites->pcs.assign(1, 0);
        u64 bytes = (m->data_end - m->data_begin + 511) & ~255ull;
        sites->state.assign(bytes / 4, 0xff), sites->cells.resize(bytes / 4), sites->generations.assign(bytes / 256 + 1, 0);
    }
    s->sites = sites->table.data(), s->site_pcs = &sites->pcs, s->text = m->text_begin, s->text_size = m->text_end - m->text_begin;
    s->data.base = m->data_begin, s->data.size = m->data_end - m->data_begin, s->data.space = 4;
    s->data.state = sites->state.data(), s->data.cells = sites->cells.data(), s->data.generations = sites->generations.data(), s->data.generation = global.generation;
    if (!s->shared.cells) {
        s->shared.space = 2;
        map_shadow(s->shared, (1 << 20) / 4);
        s->shared.state = (uint8_t*)mmap(nullptr, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    memset(s->shared.state, 0, (w->shared_size + 64) / 4);
    s->shared.base = w->shared_base, s->shared.size = w->shared_size;
    s->suspect = 0;
    s->undo = m->shuffles;
    w->sanitizer = s;
    w->profile = nullptr;
    if (w->launch->profile) profile_begin_launch(w);
}
void sanitizer_end_launch(Worker* w) {
    if (w->sanitizer->suspect && w->sanitizer->suspect != STOP) settle_suspect(w);
    w->sanitizer->of_block.reset();
    if (w->launch->profile) profile_resolve(*w->sanitizer->site_pcs), w->profile = nullptr;
    w->sanitizer = nullptr;
    static u64 launches = 0;
    if (w->number == 0 && ++launches % 64 == 0) {               // cells of long gone launches are worth nothing
        u64 used = gpudl_emu_used() / 4 * sizeof(Cell);
        if (used > (64 << 20)) madvise(global.cells, used, MADV_DONTNEED);
    }
}
static void set_extent(Region& region, u64 offset, u64 bytes) {
    for (; bytes && offset & 3; offset++, bytes--) region.state[offset >> 2] = (region.state[offset >> 2] & ~(0x10 << (offset & 3))) | 1 << (offset & 3);
    memset(&region.state[offset >> 2], 0x0f, bytes / 4);
    for (offset += bytes & ~3ull, bytes &= 3; bytes; offset++, bytes--) region.state[offset >> 2] = (region.state[offset >> 2] & ~(0x10 << (offset & 3))) | 1 << (offset & 3);
}
void sanitizer_begin_block(Worker* w) {
    Sanitizer* s = w->sanitizer;
    const Module* m = w->launch->module;
    s->shared.generation++;
    s->base = 1, s->block = linear_block(w->launch, w->block) & BLOCK_MASK;
    for (u32 warp = 0; warp < w->warp_count; warp++) s->clock[warp] = 1, s->full[warp] = 0, s->partial[warp] = false;
    memset(s->known, 0, sizeof s->known);
    if (s->acquired)
        for (u32 i = 0; i < WARPS * 32; i++) w->baggage[i].acquired.reset();
    s->vectors = s->acquired = false;
    s->of_block.reset();
    for (address_t flag : s->flags) released.erase(flag);
    s->flags.clear();
    s->poll_address = 0;
    if (w->profile) profile_begin_block(w);
    for (u32 i = 0; i < m->array_count; i++) set_extent(s->shared, m->arrays[2 * i], m->arrays[2 * i + 1]);
    if (m->dynamic_bytes && w->launch->shared_bytes) set_extent(s->shared, m->dynamic_offset, std::min<u64>(w->launch->shared_bytes, m->dynamic_bytes));
}

// ---- Undefined values. A shuffle that reads a lane which takes no part gives an undefined value, which does no harm as long as nobody
// uses it. Whether somebody does is found out by running the launch again with another such value, for one source line at a time:
// the value is used if memory ends up different, or if other faults are found.
static std::vector<Fault> undefined;                            // the shuffles of the launch's first run, one for each place
static u64 other_value_at = 0;                                  // the place that gets the other value in this run
bool rerunning = false;
u64 undefined_value(u64 pc) { return pc == other_value_at ? 0x7a7a7a7a7a7a7a7aull : 0xfbfbfbfbfbfbfbfbull; }     // of other sign, parity and size in any type
void note_undefined(Worker* w, u64 pc, const char* text) {
    std::lock_guard<std::mutex> lock(undo.mutex);
    for (Fault& seen : undefined)
        if (seen.pc == pc) { seen.count++; return; }
    if (rerunning || undefined.size() >= 8) return;
    undefined.emplace_back();
    Fault* fault = &undefined.back();
    memset(fault, 0, sizeof *fault);
    fault->kind = FAULT_SHUFFLE, fault->pc = pc, fault->count = 1, fault->thread = w->current->number, fault->other_thread = -1, fault->other_block = NO_BLOCK;
    fault->block[0] = w->block.x, fault->block[1] = w->block.y, fault->block[2] = w->block.z;
    snprintf(fault->text, sizeof fault->text, "%s", text);
}
void sanitizer_keep_for_undo(const Launch* launch) {
    const Module* m = launch->module;
    undefined.clear(), undo.pages.clear(), undo.variables.clear();
    rerunning = false, other_value_at = 0;
    if (!m->sanitized || !m->shuffles) return;
    if (!undo.marks) {
        u64 base, size;
        gpudl_emu_arena(&base, &size);
        void* marks = mmap(nullptr, size / UNDO_PAGE * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (marks == MAP_FAILED) { fprintf(stderr, "gpudl emulator: no address space for the marks of pages\n"); abort(); }
        undo.marks = (u32*)marks;
    }
    undo.launch++;
    undo.variables.assign((char*)m->data_begin, (char*)m->data_end);
}
static void restore(const Module* m) {
    for (Page& page : undo.pages) {
        memcpy((char*)arena_base + page.offset, page.data.data(), UNDO_PAGE);
        memcpy(arena_state + page.offset / 4, page.state.data(), UNDO_PAGE / 4);
    }
    memcpy((char*)m->data_begin, undo.variables.data(), undo.variables.size());
}
// Runs the launch again for each undefined value, and adds a fault for those that are used.
void sanitizer_second_opinion(Launch* launch, const std::function<void()>& run) {
    const Module* m = launch->module;
    if (undefined.empty() || launch->stopped) { undo.pages.clear(); return; }
    for (Page& page : undo.pages) {
        page.result.assign((char*)arena_base + page.offset, (char*)arena_base + page.offset + UNDO_PAGE);
        page.state_after.assign(arena_state + page.offset / 4, arena_state + (page.offset + UNDO_PAGE) / 4);
    }
    undo.variables_after.assign((char*)m->data_begin, (char*)m->data_end);
    std::vector<Fault> faults(launch->faults, launch->faults + launch->fault_count), used;
    u32 profile = launch->profile;
    u64 barriers = launch->barriers, switches = launch->switches;
    launch->profile = 0, rerunning = true;
    for (Fault& place : undefined) {
        restore(m);
        other_value_at = place.pc;
        run();
        if (launch->stopped && !launch->fault_count) break;     // Ctrl-C
        bool differs = launch->fault_count != faults.size();
        for (u32 i = 0; i < faults.size() && !differs; i++) differs = launch->faults[i].kind != faults[i].kind || launch->faults[i].pc != faults[i].pc;
        address_t where = 0;
        for (Page& page : undo.pages) {
            const char *now = (const char*)arena_base + page.offset, *before = page.result.empty() ? page.data.data() : page.result.data();
            if (memcmp(now, before, UNDO_PAGE))
                for (u64 i = 0; i < UNDO_PAGE; i++)
                    if (now[i] != before[i]) { where = where ? std::min<address_t>(where, (address_t)now + i) : (address_t)now + i; break; }
        }
        if (where) where &= ~3ull;
        if (differs || where || memcmp((char*)m->data_begin, undo.variables_after.data(), undo.variables_after.size())) {
            place.address = where, place.size = 4, place.space = 3;
            used.push_back(place);
        }
    }
    restore(m);                                                 // memory as the first run left it
    for (Page& page : undo.pages) {
        if (page.result.empty()) continue;
        memcpy((char*)arena_base + page.offset, page.result.data(), UNDO_PAGE);
        memcpy(arena_state + page.offset / 4, page.state_after.data(), UNDO_PAGE / 4);
    }
    memcpy((char*)m->data_begin, undo.variables_after.data(), undo.variables_after.size());
    faults.insert(faults.begin(), used.begin(), used.end());
    launch->fault_count = (u32)std::min<size_t>(faults.size(), MAX_FAULTS);
    std::copy_n(faults.begin(), launch->fault_count, launch->faults);
    launch->profile = profile, launch->barriers = barriers, launch->switches = switches;
    rerunning = false, other_value_at = 0;
    undo.pages.clear();
}

static void sanitizer_mark_shared(Worker* w, address_t address, u64 bytes) {
    Region& region = w->sanitizer->shared;
    for (u64 i = address - region.base; i < address - region.base + bytes; i++) region.state[i >> 2] |= 0x10 << (i & 3);
}
static void sanitizer_unmark_shared(Worker* w, address_t address, u64 bytes) {
    Region& region = w->sanitizer->shared;
    for (u64 i = address - region.base; i < address - region.base + bytes; i++) region.state[i >> 2] &= (uint8_t)~(0x10 << (i & 3));
}
void sanitizer_forget(address_t address, u64 size) {
    u64 first = (address - global.base) >> 2, last = (address - global.base + size + 3) >> 2;
    memset(&global.cells[first], 0, (last - first) * sizeof(Cell));
}

// ---- The hooks. They run before the access, so an invalid one never happens.
#define HOOKS(SIZE)                                                                                                     \
    EXPORT void __tsan_read##SIZE(void* a) { check<SIZE>((address_t)a, ACCESS_READ, CALLER); }                          \
    EXPORT void __tsan_write##SIZE(void* a) { check<SIZE>((address_t)a, ACCESS_WRITE, CALLER); }                        \
    EXPORT void __tsan_unaligned_read##SIZE(void* a) { check<SIZE>((address_t)a, ACCESS_READ, CALLER); }                \
    EXPORT void __tsan_unaligned_write##SIZE(void* a) { check<SIZE>((address_t)a, ACCESS_WRITE, CALLER); }              \
    EXPORT void __tsan_volatile_read##SIZE(void* a) { check_volatile((address_t)a, SIZE, false, CALLER); }              \
    EXPORT void __tsan_volatile_write##SIZE(void* a) { check_volatile((address_t)a, SIZE, true, CALLER); }              \
    EXPORT void __tsan_unaligned_volatile_read##SIZE(void* a) { check_volatile((address_t)a, SIZE, false, CALLER); }    \
    EXPORT void __tsan_unaligned_volatile_write##SIZE(void* a) { check_volatile((address_t)a, SIZE, true, CALLER); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
#undef HOOKS
EXPORT void __tsan_read_range(void* a, u64 size) { check_range((address_t)a, size, ACCESS_READ, CALLER); }
EXPORT void __tsan_write_range(void* a, u64 size) { check_range((address_t)a, size, ACCESS_WRITE, CALLER); }
EXPORT void __tsan_init() {}
EXPORT void __tsan_func_entry(void*) {}
EXPORT void __tsan_func_exit() {}
EXPORT void __tsan_vptr_update(void**, void*) {}
EXPORT void __tsan_vptr_read(void**) {}
EXPORT void* __wrap_memcpy(void* to, const void* from, size_t size) {
    check_range((address_t)from, size, ACCESS_READ, CALLER), check_range((address_t)to, size, ACCESS_WRITE, CALLER);
    return memmove(to, from, size);
}
EXPORT void* __wrap_memmove(void* to, const void* from, size_t size) {
    check_range((address_t)from, size, ACCESS_READ, CALLER), check_range((address_t)to, size, ACCESS_WRITE, CALLER);
    return memmove(to, from, size);
}
EXPORT void* __wrap_memset(void* to, int value, size_t size) {
    check_range((address_t)to, size, ACCESS_WRITE, CALLER);
    return memset(to, value, size);
}
// Orders are __ATOMIC_*: from release on, the operation publishes what its thread did before, without a __threadfence.
static u64 ordered_atomic(void* address, int bytes, int operation, u64 value, u64 compare, int order, u64 pc) {
    if (order >= __ATOMIC_RELEASE && worker && worker->sanitizer) worker->current->fenced = true;
    return atomic(address, bytes, operation, value, compare, pc);
}
#define ATOMIC_RMW(BITS, type, name, operation) \
    EXPORT type __tsan_atomic##BITS##_##name(volatile void* a, type v, int order) { return (type)ordered_atomic((void*)a, BITS / 8, operation, (u64)v, 0, order, CALLER); }
#define ATOMICS(BITS, type)                                                                                                                 \
    EXPORT type __tsan_atomic##BITS##_load(const volatile void* a, int) { return (type)atomic((void*)a, BITS / 8, 0, 0, 0, CALLER); }       \
    EXPORT void __tsan_atomic##BITS##_store(volatile void* a, type v, int order) { ordered_atomic((void*)a, BITS / 8, 1, (u64)v, 0, order, CALLER); }            \
    ATOMIC_RMW(BITS, type, exchange, 1) ATOMIC_RMW(BITS, type, fetch_add, 3) ATOMIC_RMW(BITS, type, fetch_sub, 4)                           \
    ATOMIC_RMW(BITS, type, fetch_and, 7) ATOMIC_RMW(BITS, type, fetch_or, 8) ATOMIC_RMW(BITS, type, fetch_xor, 9)                           \
    EXPORT int __tsan_atomic##BITS##_compare_exchange_strong(volatile void* a, void* expected, type v, int order, int) {                          \
        type old = (type)ordered_atomic((void*)a, BITS / 8, 2, (u64)v, (u64) * (type*)expected, order, CALLER);                                            \
        bool same = old == *(type*)expected;                                                                                                \
        *(type*)expected = old;                                                                                                             \
        return same;                                                                                                                        \
    }                                                                                                                                       \
    EXPORT int __tsan_atomic##BITS##_compare_exchange_weak(volatile void* a, void* expected, type v, int order, int) {                            \
        type old = (type)ordered_atomic((void*)a, BITS / 8, 2, (u64)v, (u64) * (type*)expected, order, CALLER);                                            \
        bool same = old == *(type*)expected;                                                                                                \
        *(type*)expected = old;                                                                                                             \
        return same;                                                                                                                        \
    }
ATOMICS(8, uint8_t) ATOMICS(16, uint16_t) ATOMICS(32, u32) ATOMICS(64, u64)
EXPORT void __tsan_atomic_thread_fence(int) { if (worker && worker->sanitizer) worker->current->fenced = true; }
EXPORT void __tsan_atomic_signal_fence(int) {}

// ---- UBSan's handlers: arithmetic whose result differs between a GPU and this CPU.
struct SourceLocation { const char* file; u32 line, column; };
struct TypeDescriptor { uint16_t kind, info; char name[1]; };
static bool active() { return worker && worker->sanitizer && worker->current; }
EXPORT void __ubsan_handle_out_of_bounds(SourceLocation* at, u64 index) {
    if (!active()) return;
    auto types = (TypeDescriptor**)(at + 1);
    char text[200];
    snprintf(text, sizeof text, "index %lld of an array %s", (long long)index, types[0]->name);
    fatal(worker, FAULT_INDEX, CALLER, text);
}
EXPORT void __ubsan_handle_shift_out_of_bounds(SourceLocation* at, u64 left, u64 right) {
    if (!active()) return;
    auto types = (TypeDescriptor**)(at + 1);
    char text[200];
    (void)left;
    snprintf(text, sizeof text, "a shift of %s by %lld", types[0]->name, (long long)(int)right);
    report(worker, FAULT_SHIFT, CALLER, text);
}
EXPORT void __ubsan_handle_divrem_overflow(SourceLocation*, u64, u64 right) {
    if (!active()) return;
    fatal(worker, FAULT_DIVISION, CALLER, right ? "the smallest integer divided by -1" : "integer division by zero");
}
EXPORT void __ubsan_handle_float_cast_overflow(void* data, u64 value) {
    if (!active()) return;
    auto at = (SourceLocation*)data;
    auto types = (TypeDescriptor**)(at + 1);
    double number = 0;
    if (types[0]->info == 32) { float f; memcpy(&f, &value, 4); number = f; }
    else if (types[0]->info == 64) memcpy(&number, (types[0]->info <= 64) ? (void*)&value : (void*)value, 8);
    char text[200];
    snprintf(text, sizeof text, "%g does not fit %s", number, types[1]->name);
    report(worker, FAULT_CONVERSION, CALLER, text);
}
EXPORT void __ubsan_handle_type_mismatch_v1(SourceLocation* at, u64 pointer) {
    if (!active()) return;
    struct Rest { TypeDescriptor* type; unsigned char log_alignment, check; };
    auto rest = (Rest*)(at + 1);
    char text[200];
    snprintf(text, sizeof text, "%s needs an address that is a multiple of %d", rest->type->name, 1 << rest->log_alignment);
    fault_at(worker, FAULT_MISALIGNED, CALLER, pointer, 1u << rest->log_alignment, rest->check == 1 ? ACCESS_WRITE : ACCESS_READ, text, true);
}
