"""A small change of a solution costs points: no check lets what is wrong pass."""

import signal

import pytest
import torch

from chapters.assignments import checks
from chapters.assignments.grader.masters import Master, mark
from tests import notebooks
from tests.small_changes import changed

SECONDS = 2.0  # of processor time, for a change that never ends

# Changes of a solution that are no mistake, by assignment, and why they are none.
EQUAL = {
    "01": {
        "current += not 128 <= byte <= 191: 191 -> 192": "192 is no byte of UTF-8",
        "for end in range(1, len(word) + 1):: 1 -> 0": "0 letters take 0 pieces",
        "for end in range(1, len(word) + 1):: 1 -> 2": "one end more is not asked for",
    },
    "02": {
        "return (far < 1e-4).nonzero().flatten().tolist():"
        " far < 0.0001 -> far <= 0.0001": "a bound for rounding",
        "for distance, context in enumerate(sentence[s + 1 : s + 1 + window])::"
        " 1 -> 2": "at that distance the weight is 0",
        "return (sizes >= sizes[0] - 1e-6).double().mean().item():"
        " sizes >= sizes[0] - 1e-06 -> sizes > sizes[0] - 1e-06": "as above",
        "return (sizes >= sizes[0] - 1e-6).double().mean().item():"
        " 0 -> -1": "the last choice changes every sign of the first",
    },
    "04": {
        f"positions = real.cumsum(dim=1) - 1: {change}": "only distances count"
        for change in (
            "real.cumsum(dim=1) - 1 -> real.cumsum(dim=1) + 1",
            "1 -> 2",
            "1 -> 0",
        )
    },
    "05": {
        "x = x.double(): x = x.double() -> pass": "more digits than are compared",
        "return [tokens, positions, (leftover / whole).item()"
        " if whole > 1e-12 else 0.0]:"
        " whole > 1e-12 -> whole >= 1e-12": "a bound for rounding",
        "if (0, 0) not in others and max(gaps, default=math.tau) > math.pi + 1e-9::"
        " max(gaps, default=math.tau) > math.pi + 1e-09"
        " -> max(gaps, default=math.tau) >= math.pi + 1e-09": "as above",
    },
    "06": {
        "return max(1, math.ceil(-math.log1p(1e-9 - share) / slope)):"
        " 1 -> 0": "a share below 1e-9, of which the text says nothing",
        "left = [max(0, seq - edge) for edge in edges] + [0]:"
        " 0 -> -1": "n (n + 1) / 2 is 0 for both",
    },
}


class Endless(BaseException):
    """The changed program came to no end."""


@pytest.fixture
def limited():
    """Call a function, and stop it after some time."""

    def stop(*_):
        raise Endless

    def call(function, *arguments):
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            return function(*arguments)
        except (Endless, Exception) as error:
            return type(error).__name__
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    before = signal.signal(signal.SIGVTALRM, stop)
    yield call
    signal.signal(signal.SIGVTALRM, before)


def failure(source: str, given: dict, question) -> str | None:
    """What the first check that fails says of a program."""
    namespace = dict(given)
    exec(source, namespace)
    call = checks.call_here(namespace)
    for check in question.public + question.hidden:
        if failed := check.failure("any seed", call):
            return failed
    return None


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers of POSIX")
@pytest.mark.parametrize("path", notebooks.ASSIGNMENTS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:The use of `x.T`")
def test_a_small_change_of_a_solution_costs_points(path, limited):
    torch.set_num_threads(1)
    master, namespace = Master(path), {"__name__": "__main__"}
    cells = {mark(cell).get("grade_id"): cell for cell in master.cells}
    solutions = [
        (question, cells[f"{question.name}-code"].source)
        for question in master.questions
        if not question.by_hand
    ]
    for source in (*master.given, *(source for _, source in solutions)):
        exec(source, namespace)
    kept = {
        what
        for question, source in solutions
        for what, program in changed(source)
        if not limited(failure, program, namespace, question)
    }
    assert kept == EQUAL.get(path.stem[:2], {}).keys()
