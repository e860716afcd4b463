"""The command that looks for unsteady tests finds one, and is content without."""

import os

import pytest

from tests import steady

TESTS = """
from pathlib import Path

def test_holds():
    pass

def test_holds_only_once():
    runs = Path(__file__).with_name("runs")
    with runs.open("a", encoding="utf-8") as file:
        file.write("again")
    assert runs.read_text("utf-8") == "again"
"""


@pytest.fixture
def look(tmp_path, capsys, monkeypatch):
    """What the command returns and prints for the tests of a file."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they need none

    def look(source, *options):
        (tmp_path / "test_it.py").write_text(source, "utf-8")
        alone = ["-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
        code = steady.main([*options, "--runs", "2", *alone])
        return code, capsys.readouterr().out.splitlines()

    return look


def test_a_test_that_ends_in_two_ways_is_named(look):
    code, lines = look(TESTS, "--busy", "1")
    assert code == 1
    assert lines == [
        "run 1: {'passed': 2}",
        "run 2: {'passed': 1, 'failure': 1}",
        "test_it::test_holds_only_once {'passed': 1, 'failure': 1}",
    ]


def test_steady_tests_are_only_counted(look):
    steady_alone, _, _ = TESTS.partition("def test_holds_only_once")
    code, lines = look(steady_alone)
    assert code == 0
    assert lines == ["run 1: {'passed': 1}", "run 2: {'passed': 1}"]


def test_a_run_without_a_report_is_a_failure(look):
    assert look("", "--no-such-option") == (1, ["run 1: no report", "run 2: no report"])


def test_a_test_that_is_missing_from_a_run_is_named():
    runs = [{"a": "passed", "b": "passed"}, {"a": "passed"}]
    assert steady.unsteady(runs) == {"b": {"passed": 1, "missing": 1}}
