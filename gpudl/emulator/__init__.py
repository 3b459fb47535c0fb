"""Runs .cu files on a CPU: fast, or under a sanitizer that finds races and invalid accesses, or with an access profile."""

from gpudl.emulator._errors import CompileError, CompilerMissingError, LaunchError, Report, SanitizerError
from gpudl.emulator._launch import Function, Module, Parameter, compile
from gpudl.emulator._memory import array, empty, mark_initialised, memory_in_use, owns
from gpudl.emulator._profile import Line, Occupancy, Profile
from gpudl.emulator._raw import RawKernel, RawModule
from gpudl.emulator._trace import Access, Trace, trace

__all__ = [
    "Access", "CompileError", "CompilerMissingError", "Function", "LaunchError", "Line", "Module", "Occupancy", "Parameter", "Profile", "RawKernel",
    "RawModule", "Report", "SanitizerError", "Trace", "array", "compile", "empty", "mark_initialised", "memory_in_use", "owns", "trace",
]  # fmt: skip
