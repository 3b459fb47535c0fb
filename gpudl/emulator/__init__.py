"""Runs .cu files on a CPU: fast, or under a sanitizer that finds races and invalid accesses, or with an access profile."""

from gpudl.emulator._errors import CompileError, CompilerMissingError, LaunchError, Report, SanitizerError
from gpudl.emulator._launch import Function, Module, Parameter, compile
from gpudl.emulator._memory import array, empty, mark_initialised, memory_in_use, owns
from gpudl.emulator._raw import RawKernel, RawModule

__all__ = [
    "CompileError", "CompilerMissingError", "Function", "LaunchError", "Module", "Parameter", "RawKernel", "RawModule", "Report", "SanitizerError", "array", "compile", "empty",
    "mark_initialised", "memory_in_use", "owns",
]  # fmt: skip
