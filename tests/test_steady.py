"""The command that looks for unsteady tests finds one, and is content without."""

import os

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


def look(folder, capsys, *options):
    """What the command returns and prints for the tests in a folder."""
    alone = ["-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider"]
    code = steady.main([*options, "--runs", "2", *alone, str(folder)])
    return code, capsys.readouterr().out.splitlines()


def test_a_test_that_ends_in_two_ways_is_named(tmp_path, capsys):
    (tmp_path / "test_it.py").write_text(TESTS, "utf-8")
    assert look(tmp_path, capsys, "--busy", "1") == (
        1,
        [
            "run 1: {'passed': 2}",
            "run 2: {'passed': 1, 'failure': 1}",
            "test_it::test_holds_only_once {'passed': 1, 'failure': 1}",
        ],
    )


def test_steady_tests_are_only_counted(tmp_path, capsys):
    (tmp_path / "test_it.py").write_text(TESTS.split("def test_holds_only")[0], "utf-8")
    assert look(tmp_path, capsys) == (
        0,
        ["run 1: {'passed': 1}"] + ["run 2: {'passed': 1}"],
    )


def test_a_run_without_a_report_is_a_failure(tmp_path, capsys):
    assert look(tmp_path / "nowhere", capsys)[0] == 1


def test_a_test_that_is_missing_from_a_run_is_named():
    runs = [{"a": "passed", "b": "passed"}, {"a": "passed"}]
    assert steady.unsteady(runs) == {"b": {"passed": 1, "missing": 1}}
