"""The tests again and again, beside busy processes: which end in more than one way?

python -m tests.steady --runs 10 --busy 4 tests/test_ranks.py
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
BUSY = [sys.executable, "-c", "while True: pass"]


@contextmanager
def busy(processes: int):
    """Processes that take what they can get of the machine."""
    with ExitStack() as stack:
        for _ in range(processes):
            stack.callback(stack.enter_context(subprocess.Popen(BUSY)).kill)
        yield


def run(arguments: list[str]) -> dict[str, str]:
    """Test -> how it ended, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        subprocess.run([*command, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
        if not report.exists():
            return {}
        return {
            f"{case.get('classname')}::{case.get('name')}": end(case)
            for case in ElementTree.parse(report).iter("testcase")
        }


def end(case: ElementTree.Element) -> str:
    found = {child.tag for child in case}
    return next(
        (kind for kind in ("error", "failure", "skipped") if kind in found), "passed"
    )


def unsteady(runs: list[dict[str, str]]) -> dict[str, Counter]:
    """Test -> its ends and how often each came, of those that had more than one."""
    ends = defaultdict(Counter)
    for test in {test for each in runs for test in each}:
        ends[test].update(each.get(test, "missing") for each in runs)
    return {test: counts for test, counts in sorted(ends.items()) if len(counts) > 1}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument(
        "--busy", type=int, default=0, help="processes beside the tests"
    )
    wanted, tests = parser.parse_known_args(arguments)
    runs = []
    with busy(wanted.busy):
        for number in range(1, wanted.runs + 1):
            runs.append(run(tests or ["-n", "2", "--dist", "loadfile"]))
            counts = Counter(runs[-1].values())
            print(f"run {number}: {dict(counts) or 'no report'}", flush=True)
    for test, counts in unsteady(runs).items():
        print(test, dict(counts))
    good = {"passed", "skipped"}
    return int(not all(each and set(each.values()) <= good for each in runs))


if __name__ == "__main__":
    sys.exit(main())
