"""The chapters show most of the library, in listings that can be read at a glance."""

import ast
import inspect
from pathlib import Path

import pytest

from embeddings_lib import TokenEmbedding, model_shape
from tests import shown

TEXT = '''"""A module."""

import math

PAGES = {
    "one": 1,
}


def half(x):
    """Half of it,
    as a float.
    """

    # a comment
    return x / 2  # a comment beside code
'''


def test_code_is_what_is_left_without_blank_lines_comments_and_docstrings():
    lines = TEXT.splitlines()
    code = [lines[number - 1] for number in sorted(shown.lines_of_code(TEXT))]
    assert code == [*lines[2:3], *lines[4:7], "def half(x):", lines[-1]]


def test_imports_and_data_stand_outside_functions_and_classes():
    assert shown.imports_and_data(TEXT) & shown.lines_of_code(TEXT) == {3, 5, 6, 7}


GUARDED = {
    "return x": 0,
    "raise ValueError": 1,
    "if x < 0: raise ValueError": 1,
    "if x < 0:\n    x = 0\n    raise ValueError": 1,
    "if x < 0: raise ValueError\nelif x > 9: raise ValueError": 2,
    "check_positive(x)": 1,
    "_guards.check_positive(x)": 1,
    "_check_sizes(x)\nself._check_call(x)": 2,
    "try:\n    x = y[x]\nexcept KeyError:\n    raise ValueError": 1,
    "x = check(x)": 0,
}


@pytest.mark.parametrize(("code", "guards"), GUARDED.items())
def test_a_guard_raises_or_calls_what_raises(code, guards):
    assert shown.count_guards(ast.parse(code), known={"check_positive"}) == guards


def listing(*things):
    return shown.Listing(chapter=None, names="", things=things)


def test_a_listing_takes_its_lines_from_where_they_stand_in_the_file():
    whole = Path(inspect.getfile(TokenEmbedding)).read_text("utf-8").splitlines()
    lines = [whole[n - 1] for _, n in listing(TokenEmbedding.forward).lines()]
    assert lines[1].startswith("    def forward(")  # below its decorator
    assert "\n".join(lines) in inspect.getsource(TokenEmbedding)


def test_a_part_of_a_class_adds_no_line_to_the_class():
    part, whole = listing(TokenEmbedding.forward), listing(TokenEmbedding)
    assert set(part.lines()) < set(whole.lines())


def test_a_class_names_the_guards_of_each_of_its_methods():
    guards = dict(listing(model_shape.ModelShape).guards())
    assert guards["ModelShape.widths"] == 0
    assert guards["ModelShape.__post_init__"] > 0


def test_the_sum_counts_every_module_and_none_beside():
    *modules, together = shown.counts()
    names = {count.name for count in modules}
    assert {"rotary_positions.py", "sharding/demo.py"} < names
    assert names.isdisjoint({"_guards.py", "downloads.py", "notebook.py"})
    assert together.code == sum(count.code for count in modules)
    assert all(count.shown <= count.code < count.raw for count in modules)


def test_the_chapters_show_most_of_the_library():
    together = shown.counts()[-1]
    assert together.share >= shown.LEAST_SHARE, together


def test_no_listing_is_too_long():
    assert shown.too_long() == []


def test_a_shown_function_has_at_most_one_guard():
    assert shown.too_guarded() == []
