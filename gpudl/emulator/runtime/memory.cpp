// Device memory: one reserved range of addresses, so that "is this global memory" is one comparison and the shadow is found
// by arithmetic. Between arrays lie red zones that are never touched and cost only address space.
//
// arena_state has a byte for each 4-byte word: bits 0-3 which of its bytes exist, bits 4-7 which were written.
#include "runtime.h"
#include <algorithm>
#include <map>
#include <mutex>
#include <sys/mman.h>

address_t arena_base = 0;
u64 arena_size = 0;
uint8_t* arena_state = nullptr;
bool in_arena(address_t address) { return address - arena_base < arena_size; }

namespace {
struct Allocation { u64 size, room; int bin; bool written; };
std::mutex mutex;
std::map<address_t, Allocation> live;
std::vector<address_t> bins[256];               // free slots by size class
u64 used = 0, cached = 0;
constexpr u64 SMALL = 4096, KEEP = 64 << 20;

bool reserve() {
    if (arena_base) return true;
    for (u64 size = 1ull << 36; size >= 1ull << 28; size >>= 1) {       // 64 GiB of addresses, less where that is forbidden
        void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (data == MAP_FAILED) continue;
        void* state = mmap(nullptr, size / 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (state == MAP_FAILED) { munmap(data, size); continue; }
        madvise(state, size / 4, MADV_NOHUGEPAGE);
        madvise(data, size, MADV_NOHUGEPAGE);
        arena_base = (address_t)data, arena_size = size, arena_state = (uint8_t*)state;
        return true;
    }
    return false;
}
// Classes grow by a quarter: at most 25 % of a slot is slack.
int size_class(u64 size, u64& room) {
    if (size <= 256) { room = 256; return 0; }
    int octave = 63 - __builtin_clzll(size - 1);
    u64 step = 1ull << (octave - 2), quarters = (size - (1ull << octave) + step - 1) / step;
    room = (1ull << octave) + quarters * step;
    return 1 + (octave - 8) * 4 + (int)quarters;
}
void set_state(address_t start, u64 size, uint8_t mask) {               // mask: 0, 0x0f or 0xff
    uint8_t* state = arena_state + (start - arena_base) / 4;
    memset(state, mask, size / 4);
    if (size % 4) state[size / 4] = mask & ((1 << size % 4) - 1) * 17;
}
const std::pair<const address_t, Allocation>* find(address_t address) {
    auto next = live.upper_bound(address);
    if (next == live.begin()) return nullptr;
    --next;
    return &*next;
}
}  // namespace

EXPORT void* gpudl_emu_allocate(u64 size) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!reserve()) return nullptr;
    u64 room;
    int bin = size_class(size, room);
    address_t start;
    if (!bins[bin].empty()) {
        start = bins[bin].back();
        bins[bin].pop_back();
        cached -= room;
    } else {
        u64 zone = room <= SMALL ? 4096 : 65536, stagger = (live.size() * 5 % 13) * 256;       // equal offsets in a page would compete for cache sets
        if (used + 2 * zone + room + stagger > arena_size) return nullptr;
        start = arena_base + used + zone + stagger;
        start = (start + 255) & ~255ull;
        used = start + room - arena_base;
        used = (used + 4095) & ~4095ull;
    }
    live[start] = {size, room, bin, false};
    set_state(start, size, 0x0f);
    return (void*)start;
}
EXPORT void gpudl_emu_free(void* pointer) {
    std::lock_guard<std::mutex> lock(mutex);
    auto found = live.find((address_t)pointer);
    if (found == live.end()) return;
    Allocation a = found->second;
    live.erase(found);
    set_state((address_t)pointer, a.size, 0);
    bins[a.bin].push_back((address_t)pointer);
    cached += a.room;
    if (a.room >= (1 << 20) && cached > KEEP) {                         // give the pages back, keep the addresses
        address_t first = ((address_t)pointer + 4095) & ~4095ull, last = ((address_t)pointer + a.room) & ~4095ull;
        if (last > first) madvise((void*)first, last - first, MADV_DONTNEED);
        cached -= std::min(cached, a.room);
    }
}
// The allocation that holds or precedes an address: for checking arguments and for naming what was missed by how much.
EXPORT int gpudl_emu_find(u64 address, u64* start, u64* size) {
    std::lock_guard<std::mutex> lock(mutex);
    auto found = find(address);
    if (!found) return 0;
    *start = found->first, *size = found->second.size;
    return address < found->first + found->second.size;
}
EXPORT int gpudl_emu_next(u64 address, u64* start, u64* size) {
    std::lock_guard<std::mutex> lock(mutex);
    auto next = live.upper_bound(address);
    if (next == live.end()) return 0;
    *start = next->first, *size = next->second.size;
    return 1;
}
EXPORT void gpudl_emu_mark(u64 address, u64 size) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!in_arena(address) || !size) return;
    auto found = find(address);
    if (found && address == found->first && size >= found->second.size) {
        if (found->second.written) return;
        const_cast<Allocation&>(found->second).written = true;
    }
    for (u64 end = address + size; address < end;) {
        uint8_t& state = arena_state[(address - arena_base) / 4];
        if (address % 4 == 0 && end - address >= 4) {
            u64 words = (end - address) / 4;
            memset(&state, 0xff, words);
            address += words * 4;
        } else {
            state |= 0x10 << (address % 4);
            address++;
        }
    }
}
void mark_allocation(address_t address) {
    if (!in_arena(address)) return;
    u64 start, size;
    {
        std::lock_guard<std::mutex> lock(mutex);
        auto found = find(address);
        if (!found || found->second.written || address >= found->first + found->second.size) return;
        start = found->first, size = found->second.size;
    }
    gpudl_emu_mark(start, size);
}
EXPORT void gpudl_emu_arena(u64* base, u64* size) { reserve(); *base = arena_base, *size = arena_size; }
u64 gpudl_emu_used() { return used; }
EXPORT u64 gpudl_emu_in_use() {
    std::lock_guard<std::mutex> lock(mutex);
    u64 sum = 0;
    for (auto& one : live) sum += one.second.room;
    return sum;
}
// 0 nothing of the range was written, 2 all of it, 1 some.
EXPORT int gpudl_emu_written(u64 address, u64 size) {
    if (!in_arena(address)) return 2;                                   // NumPy's own memory
    bool some = false, all = true;
    for (u64 i = address - arena_base; i < address - arena_base + size; i++) {
        bool one = arena_state[i >> 2] >> (4 + (i & 3)) & 1;
        some |= one, all &= one;
    }
    return all ? 2 : some ? 1 : 0;
}
