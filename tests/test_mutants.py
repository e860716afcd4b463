"""The tests are on trial: with a bug of chapter 12 in the library, one must fail."""

import json
import re
import subprocess
import sys

import pytest

from tests import notebooks
from tests.benchmarks.goals import RESULTS
from tests.mutants import MUTANTS, Mutant

(CHAPTER,) = (path for path in notebooks.CHAPTERS if "bug_museum" in path.stem)
# The library has no one-hot rows and no row for padding.
NOWHERE = {"the row that shrank", "the empty row"}


@pytest.fixture(scope="module")
def outcomes():
    """What pytest returned for each mutant: 1 where a test failed."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.mutants"],
        cwd=notebooks.ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_without_a_bug_the_same_tests_pass(outcomes):
    assert outcomes["unchanged"] == 0


@pytest.mark.parametrize("bug", MUTANTS)
def test_a_bug_in_the_library_fails_its_test(bug, outcomes):
    assert outcomes[bug] == 1


def test_every_exhibit_that_the_library_could_have_is_planted():
    cells = "\n".join(cell.source for cell in notebooks.read(CHAPTER).cells)
    exhibits = set(re.findall(r'^exhibit\("(.+?)"', cells, re.MULTILINE))
    planted = {mutant.exhibit for mutant in MUTANTS.values()}
    assert exhibits - planted == NOWHERE
    assert planted - exhibits == {"exercise 1", "exercise 3"}


def test_the_guide_tells_what_the_last_run_of_small_changes_found():
    kept = json.loads((RESULTS / "mutation.json").read_text("utf-8")).values()
    made = sum(module["changes"] for module in kept)
    passed = sum(len(module["survivors"]) for module in kept)
    assert passed == sum(module["ends"].get("survived", 0) for module in kept)
    assert made == sum(sum(module["ends"].values()) for module in kept)
    noticed = f"Of {made:,} changes, the tests notice {made - passed:,}, which is "
    share = f"{100 * (1 - passed / made):.1f} %. The other {passed} "
    assert noticed + share in (notebooks.ROOT / "CONTRIBUTING.md").read_text("utf-8")


@pytest.mark.parametrize(("old", "times"), [("no such text", 0), ("return", 9)])
def test_a_bug_that_can_no_longer_be_planted_is_an_error(old, times, tmp_path):
    mutant = Mutant("", "_guards.py", {old: "pass"}, "")
    with pytest.raises(ValueError, match=f"_guards.py has {times} times:\n{old}"):
        mutant.plant(tmp_path)
