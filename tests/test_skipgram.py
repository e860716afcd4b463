import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from embeddings_lib.experiments.cooccurrence import (
    cooccurrences,
    neighbour_pairs,
    positive_pmi,
    svd_table,
)
from embeddings_lib.experiments.skipgram import SkipGram, train_skipgram

VOCAB = 6
seeds = st.integers(0, 2**31)
texts = st.tuples(st.integers(0, 5), st.integers(1, 6), seeds)


def text(spec):
    sentences, seq, seed = spec
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (sentences, seq), generator=generator)


def pairs_by_hand(ids, window):
    for sentence in ids.tolist():
        for i, word in enumerate(sentence):
            for j, context in enumerate(sentence):
                if 1 <= abs(i - j) <= window:
                    yield word, context


@given(texts, st.integers(1, 7))
def test_pairs_are_all_words_within_the_window_of_a_sentence(spec, window):
    ids = text(spec)
    words, contexts = neighbour_pairs(ids, window=window)
    found = list(zip(words.tolist(), contexts.tolist(), strict=True))
    assert sorted(found) == sorted(pairs_by_hand(ids, window))


@given(texts, st.integers(1, 7))
def test_counts_are_those_of_a_loop_and_symmetric(spec, window):
    ids = text(spec)
    expected = torch.zeros(VOCAB, VOCAB, dtype=torch.int64)
    for word, context in pairs_by_hand(ids, window):
        expected[word, context] += 1
    counts = cooccurrences(ids, VOCAB, window=window)
    assert torch.equal(counts, expected)
    assert torch.equal(counts, counts.T)


@given(seeds)
def test_pmi_is_its_definition_pair_by_pair(seed):
    counts = torch.randint(4, (4, 5), generator=torch.Generator().manual_seed(seed))
    counts[0, 0] = 3
    found, n = positive_pmi(counts), counts.numpy()
    for w in range(4):
        for c in range(5):
            if n[w, c] == 0:
                assert found[w, c] == 0
            else:
                p_pair = n[w, c] / n.sum()
                p_word, p_context = n[w].sum() / n.sum(), n[:, c].sum() / n.sum()
                expected = max(0.0, math.log(p_pair / (p_word * p_context)))
                assert math.isclose(found[w, c], expected, abs_tol=1e-12)


@given(seeds)
def test_independent_words_and_contexts_have_no_pmi(seed):
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(1, 9, (4, 1), generator=generator)
    contexts = torch.randint(1, 9, (1, 5), generator=generator)
    assert_close(positive_pmi(words * contexts), torch.zeros(4, 5).double())


@given(seeds, st.integers(2, 9))
def test_pmi_does_not_depend_on_the_length_of_the_text(seed, times):
    counts = torch.randint(5, (4, 5), generator=torch.Generator().manual_seed(seed))
    counts[0, 0] = 1
    assert_close(positive_pmi(counts * times), positive_pmi(counts))


@given(seeds, st.integers(1, 5))
def test_the_table_spans_the_best_approximation_of_its_width(seed, width):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    table = svd_table(matrix, width).numpy()
    contexts = np.linalg.lstsq(table, matrix.numpy(), rcond=None)[0]
    error = np.square(table @ contexts - matrix.numpy()).sum()
    singular = np.linalg.svd(matrix.numpy(), compute_uv=False)
    assert math.isclose(error, np.square(singular[width:]).sum(), abs_tol=1e-9)
    assert np.allclose(table.T @ table, np.diag(singular[:width]), atol=1e-9)


@given(seeds)
def test_a_symmetric_matrix_without_negative_directions_is_given_back(seed):
    half = torch.randn(5, 5, generator=torch.Generator().manual_seed(seed)).double()
    matrix = half @ half.T
    table = svd_table(matrix, 5)
    assert_close(table @ table.T, matrix)


@given(seeds)
def test_the_sign_of_a_column_is_fixed(seed):
    matrix = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)).double()
    table = svd_table(matrix, 4)
    assert (table.gather(0, table.abs().argmax(dim=0, keepdim=True)) > 0).all()
    assert_close(svd_table(matrix[:, [2, 0, 3, 1]], 4), table)


def scores_by_hand(model, word, contexts):
    row, columns = model.words.weight.detach(), model.contexts.weight.detach()
    return [float(row[word] @ columns[context]) for context in contexts]


def a_model(seed=0):
    torch.manual_seed(seed)
    return SkipGram(VOCAB, 3, std=1.0).double()


@given(seeds)
def test_the_loss_is_its_formula(seed):
    model, generator = a_model(seed), torch.Generator().manual_seed(seed)
    words, contexts = torch.randint(VOCAB, (2, 4), generator=generator)
    negatives = torch.randint(VOCAB, (4, 3), generator=generator)
    expected = 0.0
    for word, true, false in zip(words, contexts, negatives.tolist(), strict=True):
        (score,) = scores_by_hand(model, word, [true])
        expected += math.log(1 + math.exp(-score))
        for score in scores_by_hand(model, word, false):
            expected += math.log(1 + math.exp(score))
    found = model.loss(words, contexts, negatives).item()
    assert math.isclose(found, expected / 4, rel_tol=1e-9)


def test_its_gradient_is_the_error_of_a_guess_times_the_other_row():
    model = a_model()
    word, true, false = torch.tensor([1]), torch.tensor([2]), torch.tensor([[3, 2]])
    model.loss(word, true, false).backward()
    w, c = model.words.weight.detach(), model.contexts.weight.detach()
    sigma = torch.sigmoid(c @ w[1])
    by_formula = (sigma[2] - 1) * c[2] + sigma[3] * c[3] + sigma[2] * c[2]
    assert_close(model.words.weight.grad[1], by_formula)
    assert_close(model.contexts.weight.grad[3], sigma[3] * w[1])
    assert_close(model.contexts.weight.grad[2], (2 * sigma[2] - 1) * w[1])
    untouched = [row for row in range(VOCAB) if row != 1]
    assert model.words.weight.grad[untouched].abs().sum() == 0


def test_the_best_score_of_a_pair_is_its_pmi_less_the_log_of_the_negatives():
    """With a column for each word nothing is in the way of the optimum."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([[30, 10], [10, 50]])
    cells = [(w, c) for w in (0, 1) for c in (0, 1) for _ in range(counts[w, c] // 2)]
    ids = torch.tensor(cells)  # each cell is a sentence of a word and its context
    counts = cooccurrences(ids, 2, window=1)
    torch.manual_seed(0)
    model = SkipGram(2, 2)
    train_skipgram(
        model, ids, window=1, steps=3000, negatives=3, lr=0.03, generator=generator
    )
    n = counts.double()
    pmi = (n * n.sum() / (n.sum(dim=1, keepdim=True) * n.sum(dim=0))).log()
    scores = (model.words.weight @ model.contexts.weight.T).detach().double()
    assert_close(scores, pmi - math.log(3), atol=0.1, rtol=0)


def test_training_depends_on_its_generator_alone():
    ids = text((20, 5, 0))

    def trained(seed):
        model = a_model()
        generator = torch.Generator().manual_seed(seed)
        train_skipgram(model, ids, window=2, steps=5, generator=generator)
        return model.words.weight.detach()

    first = trained(1)
    torch.rand(3)  # moves the global generator
    assert torch.equal(trained(1), first)
    assert not torch.equal(trained(2), first)


def test_the_rate_falls_to_0_in_equal_steps():
    model, tables = a_model(), []
    options = {"window": 1, "steps": 50, "generator": torch.Generator().manual_seed(0)}
    tables.append(model.words.weight.detach().clone())
    train_skipgram(
        model,
        text((9, 4, 0)),
        after_step=lambda _: tables.append(model.words.weight.detach().clone()),
        **options,
    )
    moved = [(b - a).abs().max() for a, b in itertools.pairwise(tables)]
    assert moved[-1] < 0.05 * moved[0]


def test_every_step_is_told():
    told, model, generator = [], a_model(), torch.Generator().manual_seed(0)
    options = {"window": 1, "steps": 4, "generator": generator}
    train_skipgram(model, text((3, 4, 0)), after_step=told.append, **options)
    assert told == [1, 2, 3, 4]


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match=r"window must be at least 1.*got 0"):
        neighbour_pairs(text((2, 3, 0)), window=0)


@pytest.mark.parametrize("wrong", [-1, VOCAB])
def test_an_id_outside_the_vocabulary_is_refused(wrong):
    with pytest.raises(IndexError, match=f"must be 0 to 5.*{wrong}"):
        cooccurrences(torch.tensor([[0, wrong]]), VOCAB, window=1)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (torch.zeros(2, 2).long(), "got 0 below 0, and a sum of 0"),
        (torch.tensor([[3, 0, 1, -1]]), "got 1 below 0, and a sum of 3"),
    ],
)
def test_counts_that_are_none_are_refused(counts, told):
    with pytest.raises(ValueError, match=f"counts must be 0 or more.* {told}"):
        positive_pmi(counts)


@pytest.mark.parametrize("width", [0, 4])
def test_more_columns_than_directions_are_refused(width):
    with pytest.raises(ValueError, match=rf"1 to 3.*\(5, 3\).*got {width}"):
        svd_table(torch.ones(5, 3), width)


@pytest.mark.parametrize("name", ["steps", "batch_size", "negatives", "lr"])
def test_training_with_nothing_is_refused(name):
    options = {"window": 1, "generator": torch.Generator()}
    options[name] = 0.0 if name == "lr" else 0
    with pytest.raises(ValueError, match=f"{name} must be above 0.*got 0"):
        train_skipgram(a_model(), text((3, 4, 0)), **options)


def test_a_text_without_pairs_is_refused():
    with pytest.raises(ValueError, match=r"at least two words.*\(3, 1\)"):
        train_skipgram(
            a_model(), text((3, 1, 0)), window=1, generator=torch.Generator()
        )
