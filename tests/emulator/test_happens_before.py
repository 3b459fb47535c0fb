"""The race detector against an exact oracle: random programs of reads, writes, atomics and every kind of synchronisation."""

import random
from pathlib import Path

import numpy as np
import pytest

from gpudl import emulator

pytestmark = pytest.mark.emulator
KERNELS = str(Path(__file__).resolve().parents[2] / "kernels")
THREADS, WORDS, SEGMENTS = 128, 64, 7

# Each thread walks through its own row of (operation, address); `syncs` says what all threads do after each segment.
SOURCE = """
#include "ptx.cuh"
extern "C" __global__ void walk(const int* program, const int* syncs, int segments, int width, int* out) {
    __shared__ int s[64];
    int t = threadIdx.x, warp = t / 32, sum = 0;
    if (t < 64) s[t] = 0;
    __syncthreads();
    for (int k = 0; k < segments; k++) {
        for (int j = 0; j < width; j++) {
            const int* step = program + ((k * width + j) * blockDim.x + t) * 2;
            if (step[0] == 1) sum += s[step[1]];
            if (step[0] == 2) s[step[1]] = 1000000 + (k * width + j) * 1000 + t;
            if (step[0] == 3) atomicAdd(&s[step[1]], 1);
        }
        switch (syncs[k]) {
            case 1: __syncthreads(); break;
            case 2: __syncwarp(); break;
            case 3: __syncwarp(t % 32 < 16 ? 0xffffu : 0xffff0000u); break;
            case 4: named_barrier_sync(1 + warp / 2, 64); break;
            case 5: named_barrier_sync(3 + warp % 2, 64); break;
            case 6: if (warp < 2) named_barrier_arrive(6, 128); else named_barrier_sync(6, 128); break;
        }
    }
    out[t] = sum;
}
"""
READ, WRITE, ATOMIC = 1, 2, 3


def groups(sync):
    """The sets of threads that a synchronisation joins: (those who bring what they know, those who learn it)."""
    warps = [range(w * 32, w * 32 + 32) for w in range(4)]
    if sync == 1:
        return [(range(THREADS), range(THREADS))]
    if sync == 2:
        return [(w, w) for w in warps]
    if sync == 3:
        return [(range(h * 16, h * 16 + 16),) * 2 for h in range(8)]
    if sync in (4, 5):
        pairs = ((0, 1), (2, 3)) if sync == 4 else ((0, 2), (1, 3))
        return [([*warps[a], *warps[b]],) * 2 for a, b in pairs]
    if sync == 6:
        return [(range(THREADS), range(64, THREADS))]
    return []


def races(program, syncs):
    """Whether two accesses of one word, not both reads and not both atomic, are unordered: full vector clocks, all accesses kept."""
    clock = np.zeros((THREADS, THREADS), int)  # clock[t][u]: what t knows of u
    seen = [[] for _ in range(WORDS)]
    for k, sync in enumerate(syncs):
        for t in range(THREADS):
            clock[t][t] += 1
        for j in range(program.shape[1]):
            for t in range(THREADS):
                op, word = program[k, j, t]
                if not op:
                    continue
                for other, u, time in seen[word]:
                    conflict = not (op == other == READ) and not (op == other == ATOMIC)
                    if u != t and conflict and time > clock[t][u]:
                        return True
                seen[word].append((op, t, clock[t][t]))
        for bring, learn in groups(sync):
            joined = clock[list(bring)].max(axis=0)
            for t in learn:
                clock[t] = np.maximum(clock[t], joined)
    return False


def one_program(rng, syncs_allowed):
    syncs = [rng.choice(syncs_allowed) for _ in range(SEGMENTS)]
    for k in range(1, SEGMENTS):  # who only arrives may come round again too early
        if syncs[k - 1] == 6:
            syncs[k] = 1
    program = np.zeros((SEGMENTS, 2, THREADS, 2), np.int32)
    words = rng.sample(range(WORDS), 6)
    for _ in range(rng.choice((4, 6, 10, 16))):
        op = rng.choice((READ, READ, WRITE, ATOMIC))
        program[rng.randrange(SEGMENTS), rng.randrange(2), rng.randrange(THREADS)] = (op, rng.choice(words))
    return program, np.array(syncs, np.int32)


@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
def test_random_programs(order):
    walk = emulator.compile(SOURCE, (f"-I{KERNELS}",), order=order, seed=3).get_function("walk")
    rng = random.Random(order)
    verdicts = {(False, False): 0, (False, True): 0, (True, False): 0, (True, True): 0}
    for number in range(150):
        program, syncs = one_program(rng, (1, 2, 3, 4, 5, 6) if number % 3 else (0, 1, 2))
        truth = races(program, syncs)
        try:
            walk(1, THREADS, (program.reshape(-1), syncs, SEGMENTS, 2, np.zeros(THREADS, np.int32)))
            found = False
        except emulator.SanitizerError as error:
            assert {r.kind for r in error.reports} == {"race"}, str(error)
            found = True
        verdicts[truth, found] += 1
    assert verdicts[False, True] == 0, f"false reports: {verdicts}"
    assert verdicts[True, False] <= 1, f"missed: {verdicts}"  # a third concurrent reader may be forgotten
    assert verdicts[True, True] > 30 and verdicts[False, False] > 30, verdicts
