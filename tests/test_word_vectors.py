import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embeddings_lib.experiments.word_vectors import WordVectors

seeds = st.integers(0, 2**31)
WORDS = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]


def vectors(seed=0, words=WORDS, dim=5):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(len(words), dim, generator=generator, dtype=torch.float64)
    return WordVectors(words, table), table.numpy()


def cosine(x, y):
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def ranked(target, table, without=()):
    """An independent reference, a word at a time."""
    cosines = [
        (word, cosine(target, row))
        for word, row in zip(WORDS, table, strict=True)
        if word not in without
    ]
    return sorted(cosines, key=lambda pair: -pair[1])


def unit(table, word):
    row = table[WORDS.index(word)]
    return row / np.linalg.norm(row)


def assert_same(found, expected):
    assert [word for word, _ in found] == [word for word, _ in expected]
    assert np.allclose([c for _, c in found], [c for _, c in expected], atol=1e-12)


@given(seeds, st.sampled_from(WORDS), st.integers(1, 6))
def test_nearest_ranks_all_other_words_by_cosine(seed, word, k):
    asked, table = vectors(seed)
    expected = ranked(table[WORDS.index(word)], table, without=[word])[:k]
    assert_same(asked.nearest(word, k=k), expected)


@given(seeds, st.permutations(WORDS), st.booleans())
def test_an_analogy_ranks_by_cosine_with_the_parallelogram(seed, order, exclude):
    asked, table = vectors(seed)
    a, b, c = order[:3]
    target = unit(table, c) + unit(table, b) - unit(table, a)
    expected = ranked(target, table, without=(a, b, c) if exclude else ())
    found = asked.analogy(a, b, c, exclude_inputs=exclude, k=len(expected))
    assert_same(found, expected)


@given(seeds, st.booleans(), st.tuples(*[st.sampled_from([-1.0, 0.5, 2.0])] * 3))
def test_accuracy_is_the_share_of_questions_answered_first(seed, exclude, weights):
    asked, table = vectors(seed)
    questions = list(itertools.permutations(WORDS, 4))[::40]
    right = 0
    for a, b, c, d in questions:
        rows = (unit(table, word) for word in (a, b, c))
        target = sum(w * row for w, row in zip(weights, rows, strict=True))
        right += ranked(target, table, (a, b, c) if exclude else ())[0][0] == d
    found = asked.accuracy(questions, exclude_inputs=exclude, weights=weights)
    assert math.isclose(found, right / len(questions), abs_tol=1e-12)


def test_a_parallelogram_is_found_with_and_without_its_inputs():
    table = torch.tensor([[1.0, 0, 1], [0, 1, 1], [1, 0, 0], [0, 1, 0]])
    asked = WordVectors(["king", "queen", "man", "woman"], table)
    for exclude in (True, False):
        question = [("man", "king", "woman", "queen")]
        assert asked.accuracy(question, exclude_inputs=exclude) == 1


def test_the_whole_step_is_added_unless_told():
    """c + (b - a) is d, and c + 2 (b - a) is e."""
    table = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1], [-0.2, 1.6], [-0.4, 2.2]])
    asked = WordVectors(["a", "b", "c", "d", "e"], table)
    question = [("a", "b", "c", "d")]
    for weights, found in (((-1.0, 1.0, 1.0), 1), ((-2.0, 2.0, 1.0), 0)):
        score = asked.accuracy(question, exclude_inputs=True, weights=weights)
        assert score == found
    assert asked.accuracy(question, exclude_inputs=True) == 1


def test_excluding_the_inputs_can_hide_that_nothing_moved():
    """With b = a nothing is added: c answers itself, unless it may not."""
    asked, _ = vectors()
    (open_answer,) = asked.analogy("ant", "ant", "cat", exclude_inputs=False, k=1)
    (closed_answer,) = asked.analogy("ant", "ant", "cat", exclude_inputs=True, k=1)
    assert open_answer[0] == "cat" != closed_answer[0]


@given(seeds, st.floats(0.01, 100))
def test_the_length_of_a_row_does_not_matter(seed, factor):
    asked, table = vectors(seed)
    table = torch.from_numpy(table.copy())
    table[2] *= factor
    assert_same(WordVectors(WORDS, table).nearest("ant"), asked.nearest("ant"))


def test_the_table_is_left_as_it_was_and_may_be_a_parameter():
    table = torch.nn.Parameter(torch.eye(4))
    asked = WordVectors(["w", "x", "y", "z"], table)
    asked.analogy("w", "x", "y", exclude_inputs=True, k=1)
    asked.nearest("x", k=2)
    assert torch.equal(table, torch.eye(4))
    assert not asked.unit_rows.requires_grad


def test_there_is_no_default_protocol():
    with pytest.raises(TypeError, match="exclude_inputs"):
        vectors()[0].analogy("ant", "bee", "cat")


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_row_without_direction_is_named(bad):
    table = torch.eye(3)
    table[1:] = bad  # the first of two is named
    with pytest.raises(ValueError, match=r"direction.*for 'y': leave that word out"):
        WordVectors(["x", "y", "z"], table)


@pytest.mark.parametrize("words", [["x", "y"], ["x", "y", "x"], ["x", "y", "z", "w"]])
def test_each_row_needs_a_name_of_its_own(words):
    message = f"got 3 rows, {len(words)} words and {len(set(words))} different"
    with pytest.raises(ValueError, match=message):
        WordVectors(words, torch.eye(3))


def test_an_unknown_word_is_named():
    asked, _ = vectors()
    for ask in (
        lambda: asked.nearest("yak"),
        lambda: asked.analogy("ant", "yak", "bee", exclude_inputs=True),
        lambda: asked.accuracy([("ant", "bee", "cat", "yak")], exclude_inputs=True),
    ):
        with pytest.raises(ValueError, match=r"among the 7.*got 'yak': check"):
            ask()


@pytest.mark.parametrize("k", [0, 7])
def test_more_answers_than_words_are_refused(k):
    with pytest.raises(ValueError, match=f"k must be 1 to 6.*got {k}"):
        vectors()[0].nearest("ant", k=k)
    with pytest.raises(ValueError, match=f"k must be 1 to 4.*got {k}"):
        vectors()[0].analogy("ant", "bee", "cat", exclude_inputs=True, k=k)


def test_a_target_without_direction_is_refused():
    table = torch.tensor([[1.0, 0], [0.5, 3**0.5 / 2], [0.5, -(3**0.5) / 2]])
    asked = WordVectors(["a", "b", "c"], table)  # a = b + c
    with pytest.raises(ValueError, match="must not be zero"):
        asked.analogy("a", "b", "c", exclude_inputs=False, k=1)


def test_no_questions_are_refused():
    with pytest.raises(ValueError, match="at least one question"):
        vectors()[0].accuracy([], exclude_inputs=True)
