"""What the library's speed and precision should be, and whether the stored runs are.

A goal about a time is met or missed only outside the noise, which is how far a copy is
from a second copy, in the worst of all cases of the run. Memory and errors have none.

python -m tests.benchmarks.goals    # print the goals of the stored results again
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from chapters.assignments.grader.files import replacing

RESULTS = Path(__file__).parent / "results"
NOT_PEERS = (
    *("pairs", "halves", "ours", "looked up"),
    *("clone", "token rows alone", "no checks"),
)

Rows = list[dict]


def store(device: str, machine: dict, rows: Rows) -> None:
    """Keep a run, and whether it meets the goals, in the place of the one before it."""
    result = {"machine": machine, "rows": rows, "goals": judged(device, rows)}
    path = RESULTS / f"{'gpu' if device == 'cuda' else device}.json"
    keep(path, result)


def keep(path: Path, result: dict) -> None:
    """Keep a result in the place of the one before it."""
    with replacing(path) as new:
        new.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def resumed(path: Path, machine: dict, settings: dict) -> dict:
    """The runs kept so far, if they have these settings, or none."""
    if path.exists():
        stored = json.loads(path.read_text("utf-8"))
        if stored["settings"] == settings:
            return stored
    return {"machine": machine, "settings": settings, "runs": []}


def keep_parts(path: Path, machine: dict, parts: dict[str, Callable]) -> None:
    """Run the parts named on the command line, or all; the others stay as stored."""
    for part in sys.argv[1:] or parts:
        machine = machine | {"load before": round(os.getloadavg()[0], 1)}
        found = {"machine": machine, "rows": []}
        for row in parts[part]():
            print(part, row, flush=True)
            found["rows"].append(row)
        stored = json.loads(path.read_text("utf-8")) if path.exists() else {}
        keep(path, stored | {part: found})


def judged(device: str, rows: Rows) -> list[dict]:
    """Each goal of a device: ours, the limit, the best of the others, the verdict."""
    return [goal(Run(rows)) for goal in GOALS[device]]


class Run:
    """The rows of one run, found by what was measured."""

    def __init__(self, rows: Rows):
        self.rows = rows

    def case(self, part, shape, dtype="float32", what="forward") -> dict[str, dict]:
        wanted = {"part": part, "shape": list(shape), "dtype": dtype, "what": what}
        return {
            row["name"]: row
            for row in self.rows
            if all(_plain(row.get(key)) == value for key, value in wanted.items())
        }

    @property
    def noise(self) -> float:
        """How many times as long the same work took, at the worst: at least 1."""
        again = [row["ratio"] for row in self.rows if row.get("name") == "clone again"]
        return max((max(ratio, 1 / ratio) for ratio in again), default=1.0)

    def part(self, part: str) -> Rows:
        return [row for row in self.rows if row["part"] == part]


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


def best_peer(case: dict[str, dict], key: str = "ratio") -> float:
    return min(row[key] for name, row in case.items() if not name.startswith(NOT_PEERS))


def at_most(limit: float, what: str, ours: Callable, peer=None, *, timed=True):
    return lambda run: _judgement(what, "≤", limit, ours, peer, timed, run)


def at_least(limit: float, what: str, ours: Callable, peer=None, *, timed=True):
    return lambda run: _judgement(what, "≥", limit, ours, peer, timed, run)


def _judgement(what, sign, limit, ours, peer, timed, run) -> dict:
    value = ours(run)
    excess = value / limit if sign == "≤" else limit / value
    others = None if peer is None else float(f"{peer(run):.3g}")
    row = {"goal": what, "ours": float(f"{value:.3g}"), "limit": f"{sign} {limit:g}"}
    return row | {
        "best peer": others,
        "verdict": verdict(excess, run.noise if timed else 1.0),
    }


def verdict(excess: float, noise: float) -> str:
    """What a value says that is so many times its limit, where 1 just meets it."""
    if excess <= 1 / noise:
        return "met"
    return "missed" if excess > noise else "within the noise"


def ratio(name: str, *case, key: str = "ratio"):
    """The named row of a case: time as a multiple of a copy, or memory."""
    return lambda run: run.case(*case)[name][key]


def peer(*case, key: str = "ratio"):
    return lambda run: best_peer(run.case(*case), key)


def times_faster(name: str, than: str, *case):
    """By the ratios to a copy in the same round, which spare the machine's noise."""
    return lambda run: ratio(than, *case)(run) / ratio(name, *case)(run)


def growth(run: Run) -> float:
    """The copies that a token costs among 32,768, as a multiple: 1,024 are 1."""
    short, long = (run.case("rotary", (1, seq, 8, 64)) for seq in (1024, 32_768))
    return max(
        long[name]["ratio"] / short[name]["ratio"] for name in ("pairs", "halves")
    )


def largest_error(ours: bool) -> Callable[[Run], float]:
    def found(run):
        errors = [row for row in run.part("angles") if (row["name"] == "ours") == ours]
        last = max(row["start"] for row in errors)
        pick = max if ours else min
        return pick(row["error"] for row in errors if ours or row["start"] == last)

    return found


USUAL = ("rotary", (8, 1024, 12, 64), "float32")
HALF = ("rotary", (8, 1024, 12, 64), "bfloat16")
INPUT = ("combined", (8, 1024), "float32")
ONE = ("combined", (1, 1), "float32")
LARGE = ("rotary", (16, 4096, 32, 128))
GIVEN = "transformers, angles given"

GOALS = {
    "cpu": [
        at_most(1.3, "pairs: copies", ratio("pairs", *USUAL), peer(*USUAL)),
        at_least(4, "pairs: HF's time / ours", times_faster("pairs", GIVEN, *USUAL)),
        at_most(
            1.05,
            "pairs: time of Meta's way",
            lambda run: (
                1 / times_faster("pairs", "complex product, angles given", *USUAL)(run)
            ),
        ),
        at_most(1.0, "pairs in place: copies", ratio("pairs, in place", *USUAL)),
        at_least(
            1.5, "halves: HF's time / ours", times_faster("halves", GIVEN, *USUAL)
        ),
        at_most(
            1.15,
            "halves: memory, copies",
            ratio("halves", *USUAL, key="memory"),
            peer(*USUAL, key="memory"),
            timed=False,
        ),
        at_most(1.15, "halves compiled: copies", ratio("halves, compiled", *USUAL)),
        at_most(3.5, "halves compiled, bfloat16", ratio("halves, compiled", *HALF)),
        at_most(1.15, "pairs compiled: copies", ratio("pairs, compiled", *USUAL)),
        at_most(3.5, "pairs compiled, bfloat16", ratio("pairs, compiled", *HALF)),
        at_most(2.0, "token + position: copies", ratio("ours", *INPUT), peer(*INPUT)),
        at_least(
            1.3,
            "the same: HF's time / ours",
            times_faster("ours", "transformers", *INPUT),
        ),
        at_least(
            2.0, "1 token: HF's time / ours", times_faster("ours", "transformers", *ONE)
        ),
        at_most(1.15, "copies, 32,768 / 1,024", growth),
        at_most(
            2e-7,
            "angles: largest error",
            largest_error(True),
            largest_error(False),
            timed=False,
        ),
        at_most(
            0.1, "import, seconds", lambda run: run.part("importing")[0]["seconds"]
        ),
    ],
    "cuda": [
        at_least(
            0.85,
            f"compiled {dtype}: of a copy",
            lambda run, dtype=dtype: (
                1 / run.case(*LARGE, dtype)["halves, compiled"]["ratio"]
            ),
            lambda run, dtype=dtype: 1 / best_peer(run.case(*LARGE, dtype)),
        )
        for dtype in ("float32", "bfloat16")
    ],
}


def page() -> str:
    """Every goal as one table; a device that was not measured is said to be so."""
    lines = []
    for device, name in (("cpu", "CPU"), ("gpu", "GPU")):
        path = RESULTS / f"{device}.json"
        if not path.exists():
            lines += ["", f"{name}: not measured"]
            continue
        stored = json.loads(path.read_text("utf-8"))
        lines += ["", f"{name}: {stored['machine']['processor']}", HEADER]
        lines += [line(row) for row in stored["goals"]]
    return "\n".join(lines)


HEADER = f"{'':25}{'ours':>9}{'limit':>8}{'peer':>7} verdict"


def line(row: dict) -> str:
    other = "" if row["best peer"] is None else f"{row['best peer']:.3g}"
    return (
        f"{row['goal']:25}{row['ours']:>9.3g}{row['limit']:>8}{other:>7} "
        f"{row['verdict']}"
    )


if __name__ == "__main__":
    print(page())
