"""Mutants of kernels: found in the text, and reported when they run. All of them: `make mutants`."""

import pytest

from gpudl.emulator import mutants

SOURCE = """// a comment with __syncthreads(); and i < N
extern "C" __global__ void k(const float* x, float* y, int M, int N) {
    __shared__ float s[64];
    for (int i = threadIdx.x; i < N; i += 64) s[i % 64] = x[i];
    __syncthreads();
    if (row + ty < M && col < N) y[row] = s[0];
    if (row >= M) return;
    // kept: the next loop reuses s
    __syncthreads();
    __syncwarp(0xffff);
    y[0] = a < N ? 1 : 0;
    named_barrier_sync(1, f(2));
}
"""


def test_what_is_removed():
    found = mutants.mutants(SOURCE, ["M", "N"])
    assert [(m.kind, m.line, m.before, m.after, m.kept) for m in found] == [
        ("barrier", 5, "__syncthreads();", ";", False),
        ("bounds", 6, "row + ty < M", "true", False),
        ("bounds", 6, "col < N", "true", False),
        ("bounds", 7, "row >= M", "false", False),
        ("barrier", 9, "__syncthreads();", ";", True),
        ("barrier", 10, "__syncwarp(0xffff);", ";", False),
        ("bounds", 11, "a < N", "true", False),
        ("barrier", 12, "named_barrier_sync(1, f(2));", ";", False),
    ]
    assert "if (row + ty < M && true) y" in found[2].apply(SOURCE)


@pytest.mark.emulator
def test_a_sample_of_the_mutants_is_reported(capsys):
    assert mutants.main(["--kind", "barrier", "--sample", "5", "--seed", "1"]) == 0, capsys.readouterr().out


@pytest.mark.emulator
def test_a_barrier_of_a_header_is_removed_where_the_kernels_find_it(capsys):
    assert mutants.main(["--kind", "barrier", "batch_norm.forward/03"]) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert "reported     norm.cuh" in out and "the other side: norm.cuh" in out
