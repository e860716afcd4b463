"""The checks of an assignment, as a student's notebook runs them."""

import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chapters.assignments import checks
from chapters.assignments.checks import Draw, Wrong, decode, encode, expect, show


def printed_by(capsys, double, sizes=(1, 2, 5)):
    """What a notebook prints in which `double` has this definition."""
    notebook = {"check": checks.check, "expect": expect, "sizes": sizes}
    if double is not None:
        notebook["double"] = double
    source = """
@check(points=2, sizes=sizes)
def adds_a_list_to_itself(draw, size, double):
    numbers = [draw.randrange(5) for _ in range(size)]
    expect(double(numbers), [2 * number for number in numbers])
"""
    exec(source, notebook)
    return notebook["adds_a_list_to_itself"], capsys.readouterr().out


def test_a_right_function_is_told_its_points(capsys):
    check, said = printed_by(capsys, lambda numbers: [n + n for n in numbers])
    assert said == "right: adds a list to itself (2 points)\n"
    assert checks.score(check, check) == 4


def test_a_wrong_function_is_shown_the_smallest_example(capsys):
    check, said = printed_by(capsys, lambda numbers: [2 * numbers[0]] * len(numbers))
    first, call, got, want = said.splitlines()
    assert first == "not yet: adds a list to itself"
    one, other = eval(call.strip().removeprefix("double"))
    assert got.split("got")[1].strip() == str([2 * one, 2 * one])
    assert want.split("want")[1].strip() == str([2 * one, 2 * other])
    assert checks.score(check) == 0


def raises(numbers):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("double", "reason"),
    [
        (None, "double is not defined"),
        (lambda numbers: None, "double is not written"),
        (raises, "double is not written"),
        (lambda numbers: 1 / 0, "double raised ZeroDivisionError: division by zero"),
        (lambda numbers: {1}, "double returned a set, which no check reads"),
        (
            lambda numbers: torch.zeros(1, dtype=torch.complex64),
            "double returned a Tensor torch.complex64, which no check reads",
        ),
        (lambda numbers: numbers, "got  [1]"),
        (lambda: 1, "double raised TypeError"),
    ],
)
def test_a_function_that_is_not_there_yet_is_told_why(capsys, double, reason):
    _, said = printed_by(capsys, double, sizes=(1, 3))
    assert said.startswith("not yet: adds a list to itself\n")
    assert reason.replace("[1]", "[") in said


def test_a_function_cannot_change_what_the_check_compares_with(capsys):
    def double(numbers):
        numbers[:] = [0 for _ in numbers]
        return numbers

    _, said = printed_by(capsys, double, sizes=(40,))
    assert said.startswith("not yet")


def test_a_check_may_ask_what_became_of_the_arguments(capsys):
    def double(numbers):
        numbers += numbers[:1]
        return numbers

    def keeps_its_list(draw, size, double):
        expect(double([3]), [3, 3])
        expect(double([3], after=True), [[3]])

    check = checks.Check(keeps_its_list, 1, (1,))
    said = check.failure("seed", checks.call_here({"double": double}))
    assert said == "double([3])\ngot  [[3, 3]]\nwant [[3]]"
    kept = checks.call_here({"double": lambda numbers: numbers + numbers})
    assert check.failure("seed", kept) is None


def test_an_answer_that_a_check_cannot_compute_with_is_no_crash():
    def has_a_length(draw, size, f):
        expect(len(f()), 1)

    check = checks.Check(has_a_length, 1, (1,))
    said = check.failure("seed", lambda name, arguments, after: 3)
    assert said == "f()\nthe answer is not of the kind that was asked for\ngot  3"


def test_a_check_calls_the_functions_that_it_names():
    def there_and_back(draw, size, there, back):
        expect(back(there(size)), size)

    calls = []

    def call(name, arguments, after):
        calls.append((name, arguments))
        return arguments[0] + {"there": 3, "back": -3}[name]

    check = checks.Check(there_and_back, 1, (1, 2))
    assert check.failure("seed", call) is None
    assert calls == [("there", (1,)), ("back", (4,)), ("there", (2,)), ("back", (5,))]


def test_the_same_seed_draws_the_same_inputs_and_another_draws_others():
    assert Draw("a").normal(5).equal(Draw("a").normal(5))
    assert not Draw("a").normal(5).equal(Draw("b").normal(5))
    assert Draw("a").integers(2, 4, 100).unique().tolist() == [2, 3]
    assert Draw("a").normal(0, 3).shape == (0, 3)
    drawn = Draw("a").normal(2000)
    assert abs(drawn.mean()) < 0.1
    assert abs(drawn.std() - 1) < 0.1
    assert (
        drawn.double().mul(100).sub(drawn.double().mul(100).round()).abs().max() < 1e-4
    )


DOUBLES = {
    "def double(numbers):\n    for n in numbers: ...": "for n in numbers",
    "def double(numbers):\n    while numbers: ...": "while numbers",
    "def double(numbers): return [2 * n for n in numbers]": "for n in numbers",
    "double = lambda numbers: dict((n, 2) for n in numbers)": "for n in numbers",
    "def double(numbers): return list(map(twice, numbers))": "map(twice, numbers)",
    "def double(numbers): return 2 + double(numbers[1:])": "double(numbers[1:])",
    "def all_of(x):\n    return [2 * n for n in x]\n"
    "def double(numbers): return all_of(numbers)": "for n in x",
}


@pytest.mark.parametrize("source", DOUBLES)
def test_a_loop_is_seen_however_it_is_written(source):
    assert checks.loop("double", ["one = 1", source]) == DOUBLES[source]


@pytest.mark.parametrize(
    "cells",
    [
        ["def double(numbers): return numbers.sum()"],
        ["def double(numbers): return 'for n in numbers'  # while"],
        ["def other():\n    for n in numbers: ...\ndef double(other): return other"],
        ["def double(n):\n    for _ in n: ...", "def double(n): return 2 * n"],
        ["def double(n): return 2 * n", "def double(n) for", "x = '\0'"],
        [],
    ],
)
def test_where_the_function_has_none_no_loop_is_seen(cells):
    """In its latest form, and in what it calls."""
    assert checks.loop("double", cells) is None


def test_a_right_answer_by_a_loop_is_told_the_loop(capsys):
    source = """
def double(numbers):
    return [n + n for n in numbers]

@check(points=1)
def adds_without_a_loop(draw, size, double):
    expect(double([3]), [6])
    expect_no_loop(double)
"""
    told = {"check": checks.check, "expect": expect, "In": [source]}
    exec(source, {**told, "expect_no_loop": checks.expect_no_loop})
    first, call, said = capsys.readouterr().out.splitlines()
    assert first == "not yet: adds without a loop"
    assert (call.strip(), said.strip()) == ("double([3])", "a loop: for n in numbers")


numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.booleans()
tensors = hnp.arrays("float32", hnp.array_shapes(max_dims=3, min_side=0)).map(
    torch.from_numpy
)
values = st.recursive(
    st.none() | numbers | st.text() | st.binary() | tensors,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(values)
def test_a_value_arrives_as_it_was_sent(value):
    def same(one, other):
        if isinstance(one, torch.Tensor):
            return torch.equal(one.nan_to_num(7), other.nan_to_num(7))
        if isinstance(one, list):
            return all(map(same, one, other)) and len(one) == len(other)
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(
                same(one[k], other[k]) for k in one
            )
        return type(one) is type(other) and one == other

    assert same(value, decode(encode(value)))


@pytest.mark.parametrize("dtype", checks.DTYPES)
def test_a_tensor_keeps_its_dtype(dtype):
    tensor = torch.tensor([[0, 1, 2]]).to(getattr(torch, dtype))
    assert decode(encode(tensor)).dtype == tensor.dtype
    assert decode(encode(tensor)).equal(tensor)


@pytest.mark.parametrize(
    "sent",
    [
        {"tensor": [1.0], "shape": [2], "dtype": "float32"},
        {"tensor": [1.0], "shape": [-1], "dtype": "float32"},
        {"tensor": ["a"], "shape": [1], "dtype": "float32"},
        {"tensor": [], "shape": [0] * 9, "dtype": "float32"},
        {"tensor": [1.0], "shape": [1], "dtype": "Tensor"},
        {"bytes": [256]},
        {"dict": [[[1], 2]]},
        {"other": 1},
    ],
)
def test_what_is_no_value_is_refused(sent):
    with pytest.raises((ValueError, TypeError, RuntimeError, KeyError)):
        decode(sent)


one = torch.tensor([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (one + 1e-7, one),
        (one.double(), one),
        (1.0000001, 1),
        (torch.tensor(3), 3),
        ([1, [2.0]], (1, (2,))),
        ("a", "a"),
        (True, True),
    ],
)
def test_what_is_alike_is_accepted(got, want):
    expect(got, want)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (one.T, one),
        (one + 0.001, one),
        (one * math.nan, one),
        (math.nan, 1.0),
        (1, True),
        (True, 1),
        ([1], [1, 2]),
        ("1", 1),
        (None, 0),
    ],
)
def test_what_differs_is_wrong(got, want):
    with pytest.raises(Wrong, match="got"):
        expect(got, want)


def test_a_value_is_shown_rounded_and_short():
    assert show(torch.tensor([[0.12345, -0.00001]])) == (
        "tensor of shape (1, 2): [[0.123, 0.0]]"
    )
    assert len(show(list(range(1000)))) < 170
    assert show([torch.tensor([1 / 3]), (2 / 3,)]) == "[[0.333], [0.667]]"


@pytest.mark.parametrize(
    ("got", "want", "said"),
    [
        (0.1234, 0.2, "got  0.123\nwant 0.2"),
        (0.12341, 0.12349, "got  0.12341\nwant 0.12349"),
        ([1.0, 2e-8], [1.0, 3e-8], "got  [1.0, 2e-08]\nwant [1.0, 3e-08]"),
    ],
)
def test_numbers_that_look_alike_are_shown_with_more_decimals(got, want, said):
    with pytest.raises(Wrong) as wrong:
        expect(got, want, tolerance=1e-9)
    assert str(wrong.value) == said


def test_the_part_of_an_answer_that_is_wrong_is_named():
    with pytest.raises(Wrong) as wrong:
        expect(1, 2, part="the start")
    assert str(wrong.value) == "the start:\ngot  1\nwant 2"


def test_the_file_stands_alone():
    """A released notebook holds it, and a student has PyTorch and nothing else."""
    imported = [
        line for line in inspect.getsource(checks).splitlines() if "import" in line[:7]
    ]
    assert imported == [
        *map("import {}".format, ["ast", "contextlib", "copy", "inspect", "math"]),
        "import random",
        "import torch",
    ]


def test_whole_numbers_are_right_or_wrong_however_large():
    assert checks.alike(10**15, 10**15, 1e-5)
    assert not checks.alike(10**15 + 10**8, 10**15, 1e-5)
    assert checks.alike(10**15 + 10.0**8, 10**15, 1e-5)


@pytest.mark.parametrize(
    "forged",
    [
        {"tensor": [], "shape": [30_000_000, 0], "dtype": "int64"},
        {"tensor": [], "shape": [0, 1 << 40], "dtype": "int64"},
        {"tensor": [1], "shape": [1] * 9, "dtype": "int64"},
        {"tensor": [1], "shape": [-1], "dtype": "int64"},
        {"tensor": [1], "shape": [1], "dtype": "load"},
        {"bytes": 10**9},
        {"bytes": [256]},
        {"dict": [[key, 0] for key in range(1001)]},
        {"dict": [[[], 0]]},
    ],
)
def test_a_forged_value_is_refused_before_it_is_made(forged):
    with pytest.raises((ValueError, TypeError)):
        decode(forged)


def test_a_score_of_what_is_seen_is_that_of_the_question_if_all_holds():
    """nbgrader compares it with the points of the cell."""

    def right_of(draw, size, f): ...

    one, two = checks.Check(right_of, 1, ()), checks.Check(right_of, 2, ())
    one.earned = 1
    assert checks.score(one, two) == checks.score(one, two, of=5) == 1
    two.earned = 2
    assert checks.score(one, two) == 3
    assert checks.score(one, two, of=5) == 5
