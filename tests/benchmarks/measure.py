"""Paired timings and peak memory of functions that do the same work."""

import platform
import random
import statistics
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

ROUNDS = 15
on_gpu = False  # what is timed runs there


def paired(functions: dict[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    """Time each function against the one named "clone", in the same round.

    Each round runs all functions in a new order, so that what else the machine does
    falls on all alike. A row holds the median of the ratios of the rounds, their
    quartiles, and the median time in microseconds. The row "clone again" times `clone`
    twice: how far it is from 1 says how far to trust the others.
    """
    functions = {"clone again": functions["clone"], **functions}
    repeats = {}
    for name, function in functions.items():
        seconds(function, 2)
        repeats[name] = max(1, int(2e-3 / seconds(function, 1)))
    times = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name in random.sample(list(functions), len(functions)):
            times[name].append(seconds(functions[name], repeats[name]))
    rows = {}
    for name in functions:
        ratios = [a / b for a, b in zip(times[name], times["clone"], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        rows[name] = {
            "ratio": round(median, 3),
            "low": round(low, 3),
            "high": round(high, 3),
            "microseconds": round(statistics.median(times[name]) * 1e6, 1),
        }
    return rows


def seconds(function: Callable[[], object], calls: int) -> float:
    """How long a call takes, on average: on a GPU by its own clock."""
    if not on_gpu:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        return (time.perf_counter() - start) / calls
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        function()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3 / calls


def captured(function: Callable[[], object]) -> Callable[[], object]:
    """The same work on the same tensors as a CUDA graph: one launch for all kernels."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def peak_bytes(function: Callable[[], object]) -> int:
    """The most memory that a call holds at a time, beyond what was held."""
    function()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = function()
    del result
    held = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def machine() -> dict[str, object]:
    """What the times were taken on."""
    described = {"date": date.today().isoformat(), "processor": processor()}
    if on_gpu:
        described |= {"GPU": torch.cuda.get_device_name(), "CUDA": torch.version.cuda}
    else:
        described["instructions"] = torch.backends.cpu.get_cpu_capability()
    return described | {
        "threads": 1,
        "rounds": ROUNDS,
        "python": platform.python_version(),
    }


def setting(module: str, packages: tuple[str, ...], **more) -> dict[str, object]:
    """What a module of benchmarks of its own ran on: one thread, and these packages."""
    return {
        "command": f"python -m tests.benchmarks.{module}",
        "date": date.today().isoformat(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
        **more,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def processor() -> str:
    """The name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(
            s.split(":")[1].strip() for s in lines if s.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
