"""Paired timings and peak memory of functions that do the same work."""

import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

ROUNDS = 15


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
        function()
        function()
        start = time.perf_counter()
        function()
        repeats[name] = max(1, int(2e-3 / (time.perf_counter() - start)))
    times = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name in random.sample(list(functions), len(functions)):
            start = time.perf_counter()
            for _ in range(repeats[name]):
                functions[name]()
            times[name].append((time.perf_counter() - start) / repeats[name])
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


def peak_bytes(function: Callable[[], object]) -> int:
    """The most memory on the CPU that a call holds at a time, beyond what was held."""
    function()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        result = function()
    del result
    held = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def processor() -> str:
    """The name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            s.split(":")[1].strip() for s in lines if s.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
