// The access profile: what the lanes of a warp touch together, by source site.
//
// Lanes run one after another here, so a warp's request is put together afterwards: the n-th execution of a site by each of its lanes
// since the last block barrier is one request. Of a request to global memory the 32-byte sectors are counted; of one to shared memory
// the wavefronts: for each group of lanes that the hardware serves at once (32 lanes of 4 bytes, 16 of 8, 8 of 16), the largest number
// of different words that fall into one of the 32 banks; atomics of several lanes on one word take turns, so there each lane counts.
#include "runtime.h"
#include <algorithm>

struct Group { u64 base; u32 mask, missing; u32 delta[32]; };      // missing: bytes that lanes did not ask for although others did
struct SiteLog { u32 count[32]; std::vector<Group> groups; u32 used = 0; uint8_t space = 0, access = 0, size = 0; };
struct WarpLog { std::vector<SiteLog> sites; std::vector<u32> touched; };
struct ProfileRow { u64 pc; int space, access; u64 requests, sectors, ideal_sectors, wavefronts, ideal_wavefronts, bytes, worst; };
struct TraceRow { u64 pc, address; u32 lane, turn, size; int space, access; };
constexpr u32 MOST_GROUPS = 1 << 16;                            // of one site and warp between barriers: about 9 MB

struct Profile {
    WarpLog warps[WARPS];
    std::vector<ProfileRow> rows;                               // by 2 * site + (shared ? 1 : 0)
    std::vector<TraceRow> trace;
    u64 dropped = 0;
    u32 traced_block = NO_BLOCK, traced_warp = 0;
    bool now_traced = false;
};
static Profile* profile_of_launch = nullptr;                    // kept for Python to read after the launch

static void add_request(Profile* p, u32 index, const SiteLog& log, const Group& g) {
    if (p->rows.size() <= index) p->rows.resize(index + 1);
    ProfileRow& row = p->rows[index];
    row.space = log.space, row.access = log.access;
    u32 size = log.size, lanes = __builtin_popcount(g.mask);
    row.requests++;
    row.bytes += (u64)lanes * size - g.missing;
    u64 seen[128];
    if (log.space == 2) {
        bool atomic = log.access == ACCESS_ATOMIC;
        u32 together = size <= 4 ? 32 : size == 8 ? 16 : 8, words = (size + 3) / 4;
        u64 wavefronts = 0, ideal = 0;
        for (u32 first = 0; first < 32; first += together) {
            u32 part = g.mask >> first & (together == 32 ? ~0u : (1u << together) - 1);
            if (!part) continue;
            u32 count = 0, banks[32] = {}, most = 0;
            u64 last = ~0ull;
            for (u32 rest = part; rest; rest &= rest - 1) {
                u64 word = (g.base + (u64)(int64_t)(int)g.delta[first + __builtin_ctz(rest)]) >> 2;
                if (word == last && !atomic) continue;
                last = word;
                for (u32 k = 0; k < words; k++) {
                    bool known = false;
                    for (u32 i = atomic ? 0 : count; i-- > 0 && !known;) known = seen[i] == word + k;
                    if (known) continue;
                    seen[count++] = word + k;
                    most = std::max(most, ++banks[(word + k) & 31]);
                }
            }
            wavefronts += most, ideal += (count + 31) / 32;
        }
        row.wavefronts += wavefronts, row.ideal_wavefronts += ideal;
        row.worst = std::max(row.worst, wavefronts);
        return;
    }
    u32 sectors = 0, different = 0;
    u64 last = ~0ull, starts[32];
    for (u32 rest = g.mask; rest; rest &= rest - 1) {
        u64 address = g.base + (u64)(int64_t)(int)g.delta[__builtin_ctz(rest)];
        if (address == last) continue;
        last = address;
        bool known = false;
        for (u32 i = different; i-- > 0 && !known;) known = starts[i] == address;
        if (known) continue;
        starts[different++] = address;
        for (u64 sector = address >> 5; sector <= (address + size - 1) >> 5; sector++) {
            known = false;
            for (u32 i = sectors; i-- > 0 && !known;) known = seen[i] == sector;
            if (!known) seen[sectors++] = sector;
        }
    }
    row.sectors += sectors, row.ideal_sectors += std::max(1u, (different * size + 31) / 32);
    row.worst = std::max<u64>(row.worst, sectors);
}
static void flush_warp(Profile* p, WarpLog& warp) {
    for (u32 index : warp.touched) {
        SiteLog& log = warp.sites[index];
        for (u32 i = 0; i < log.used; i++) add_request(p, index, log, log.groups[i]);
        log.used = 0;
        memset(log.count, 0, sizeof log.count);
    }
    warp.touched.clear();
}
void profile_access(Worker* w, int space, address_t address, u64 size, int access, u32 site, u32 missing) {
    Profile* p = w->profile;
    u32 place_number = 2 * site + (space == 2);                 // one line may touch both: cp.async, or a pointer to either
    Thread* t = w->current;
    WarpLog& warp = p->warps[t->warp];
    if (UNLIKELY(warp.sites.size() <= place_number)) warp.sites.resize(place_number + 128);
    SiteLog& log = warp.sites[place_number];
    if (UNLIKELY(log.used == 0 || log.space != space)) {
        if (log.used) flush_warp(p, warp);
        memset(log.count, 0, sizeof log.count);
        log.space = (uint8_t)space, log.size = (uint8_t)size;
        warp.touched.push_back(place_number);
    }
    log.access = (uint8_t)access;
    u32 turn = log.count[t->lane]++;
    if (UNLIKELY(p->now_traced && t->warp == p->traced_warp && p->trace.size() < 1 << 20))
        p->trace.push_back({site, space == 2 ? address - w->shared_base : address, t->lane, turn, (u32)size, space, access});
    u64 place = space == 2 ? address - w->shared_base : address;
    if (UNLIKELY(turn >= log.used)) {
        if (turn >= MOST_GROUPS) { p->dropped++; return; }
        if (log.groups.size() <= turn) log.groups.resize(turn + 64);
        log.groups[turn].base = place, log.groups[turn].mask = log.groups[turn].missing = 0;
        log.used = turn + 1;
    }
    Group& group = log.groups[turn];
    group.mask |= 1u << t->lane;
    if (UNLIKELY(missing)) group.missing += missing;
    group.delta[t->lane] = (u32)(place - group.base);
}
void profile_flush(Worker* w, u32 warp) { flush_warp(w->profile, w->profile->warps[warp]); }
void profile_begin_launch(Worker* w) {
    if (w->number == 0 || !profile_of_launch) {
        if (!profile_of_launch) profile_of_launch = new Profile;
        profile_of_launch->rows.clear(), profile_of_launch->trace.clear(), profile_of_launch->dropped = 0;
        for (WarpLog& warp : profile_of_launch->warps) {
            for (u32 site : warp.touched) warp.sites[site].used = 0;
            warp.touched.clear(), warp.sites.clear();
        }
        profile_of_launch->traced_block = w->launch->traced_block, profile_of_launch->traced_warp = w->launch->traced_warp;
    }
    w->profile = profile_of_launch;
}
void profile_begin_block(Worker* w) { w->profile->now_traced = w->profile->traced_block == linear_block(w->launch, w->block); }
void profile_end_block(Worker* w) {
    for (u32 warp = 0; warp < w->warp_count; warp++) profile_flush(w, warp);
}
// Rows and trace for Python; pcs instead of sites.
void profile_resolve(const std::vector<u64>& pcs) {
    Profile* p = profile_of_launch;
    for (u32 i = 0; i < p->rows.size(); i++) p->rows[i].pc = i / 2 < pcs.size() ? pcs[i / 2] : 0;
    for (TraceRow& row : p->trace) row.pc = row.pc < pcs.size() ? pcs[row.pc] : 0;
}
EXPORT u64 gpudl_emu_profile(ProfileRow* rows, u64 room) {
    u64 count = 0;
    if (!profile_of_launch) return 0;
    for (ProfileRow& row : profile_of_launch->rows)
        if (row.requests && ++count <= room) rows[count - 1] = row;
    return count;
}
EXPORT u64 gpudl_emu_trace(TraceRow* rows, u64 room) {
    if (!profile_of_launch) return 0;
    auto& trace = profile_of_launch->trace;
    for (u64 i = 0; i < std::min<u64>(room, trace.size()); i++) rows[i] = trace[i];
    return trace.size();
}
EXPORT u64 gpudl_emu_profile_dropped() { return profile_of_launch ? profile_of_launch->dropped : 0; }
