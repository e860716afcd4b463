"""The tests are on trial: with a bug of chapter 16 in the library, one must fail."""

import json
import re
import subprocess
import sys

import pytest

from embeddings_lib import input_embedding, learned_positions, rotary_positions
from embeddings_lib.learned_positions import LearnedPositions
from tests import notebooks
from tests.benchmarks.goals import RESULTS
from tests.mutants import MUTANTS, Mutant

(CHAPTER,) = (path for path in notebooks.CHAPTERS if "bug_museum" in path.stem)
# The library has no one-hot rows, no row for padding, and no tie that could be lost: a
# tied head is one module with two uses.
NOWHERE = {"the row that shrank", "the empty row", "the tie lost"}
# A wrong number, an error that is not raised, and one of the library's own. A function
# that cannot be called would fail any test, and prove nothing.
NOTICED = {"AssertionError", "Failed", "IndexError"}


@pytest.fixture(scope="module")
def outcomes():
    """What failed the test of each mutant."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.mutants"],
        cwd=notebooks.ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_without_a_bug_the_same_tests_pass(outcomes):
    assert outcomes["unchanged"] == ""


@pytest.mark.parametrize("bug", MUTANTS)
def test_a_bug_in_the_library_fails_its_test(bug, outcomes):
    assert outcomes[bug] in NOTICED


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


@pytest.mark.parametrize(
    "target",
    [
        "embeddings_lib.no_module.rotate",
        "embeddings_lib.rotary_positions.no_function",
        "embeddings_lib.rotary_positions.NoClass.forward",
        "embeddings_lib.rotary_positions.RotaryPositions.no_method",
    ],
)
def test_a_bug_that_can_no_longer_be_planted_is_an_error(target):
    mutant = Mutant("", target, "", lambda original: None)
    with pytest.raises(LookupError, match=f"got {target}: what took its place"):
        mutant.planted().__enter__()


def test_a_bug_is_wherever_the_library_imports_its_target_and_then_nowhere():
    users = [input_embedding, learned_positions, rotary_positions]
    original, wrong = learned_positions.rows_at, lambda: None
    target = "embeddings_lib.learned_positions.rows_at"
    with Mutant("", target, "", lambda original: wrong).planted():
        assert [module.rows_at for module in users] == [wrong] * 3
    assert [module.rows_at for module in users] == [original] * 3


def test_a_method_with_a_bug_is_its_own_again_after_a_test_that_fails():
    original = LearnedPositions.span
    target = "embeddings_lib.learned_positions.LearnedPositions.span"
    mutant = Mutant("", target, "", lambda original: lambda self: None)
    with pytest.raises(AssertionError), mutant.planted():
        assert LearnedPositions.span is original
    assert LearnedPositions.span is original
