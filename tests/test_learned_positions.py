import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from embeddings_lib import LearnedPositions

CONTEXT, DIM = 9, 4
seeds = st.integers(0, 2**31)
spans = st.tuples(st.integers(0, CONTEXT), st.integers(0, CONTEXT)).filter(
    lambda span: sum(span) <= CONTEXT
)


def table(seed=0, **options):
    torch.manual_seed(seed)
    return LearnedPositions(CONTEXT, DIM, dtype=torch.float64, **options)


@given(seeds, spans)
def test_a_span_is_the_lookup_of_its_positions(seed, span):
    positions, (offset, seq) = table(seed), span
    looked_up = positions(torch.arange(offset, offset + seq))
    assert_close(positions.span(seq, offset), looked_up, rtol=0, atol=0)


@given(seeds)
def test_one_token_at_a_time_equals_the_full_pass(seed):
    positions = table(seed)
    steps = [positions.span(1, offset) for offset in range(CONTEXT)]
    assert_close(torch.cat(steps), positions.span(CONTEXT), rtol=0, atol=0)


def test_one_column_or_no_spread_is_a_table_too():
    assert LearnedPositions(3, 1, std=0.0).span(2).tolist() == [[0.0], [0.0]]


def test_a_span_is_a_view_of_the_table():
    positions = table()
    assert positions.span(3, 2).data_ptr() == positions.weight[2].data_ptr()


@given(seeds)
def test_it_is_pytorchs_embedding_with_the_same_weights(seed):
    ours, theirs = table(seed), nn.Embedding(CONTEXT, DIM, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    positions = torch.randint(CONTEXT, (2, 3))
    assert_close(ours(positions), theirs(positions), rtol=0, atol=0)


@given(st.lists(st.integers(0, CONTEXT), min_size=1, max_size=5))
def test_a_row_gets_the_gradient_of_every_sequence_that_reaches_it(lengths):
    positions = table()
    for length in lengths:
        positions.span(length).sum().backward()
    reached = [sum(length > t for length in lengths) for t in range(CONTEXT)]
    assert positions.weight.grad[:, 0].tolist() == reached


def test_rows_start_normal_with_gpt2s_spread():
    torch.manual_seed(0)
    weight = LearnedPositions(1024, 768).weight.detach()
    n = weight.numel()
    assert abs(weight.mean() / 0.01) < 5 / math.sqrt(n)
    assert abs(weight.std() / 0.01 - 1) < 5 / math.sqrt(2 * n)


def test_it_says_what_it_is():
    assert repr(LearnedPositions(5, 3)) == (
        "LearnedPositions(context_length=5, embed_dim=3, std=0.01)"
    )


@pytest.mark.parametrize(("seq", "offset"), [(10, 0), (1, 9), (2, 8), (-1, 0), (1, -1)])
def test_a_span_beyond_the_table_names_both_numbers(seq, offset):
    message = f"0 to 8.*context_length is 9; got {seq} tokens from position {offset}:"
    with pytest.raises(IndexError, match=message):
        table().span(seq, offset)


@pytest.mark.parametrize("wrong", [9, -1, 2**40])
def test_a_position_beyond_the_table_is_named_with_its_place(wrong):
    message = rf"0 to 8.*context_length is 9; got {wrong} at index \(0, 1\): cut the"
    with pytest.raises(IndexError, match=message):
        table()(torch.tensor([[0, wrong]]))


@pytest.mark.parametrize("size", [0, -2])
def test_an_empty_table_is_refused(size):
    with pytest.raises(
        ValueError, match=f"context_length must be at least 1; got {size}"
    ):
        LearnedPositions(size, 3)
    with pytest.raises(ValueError, match=f"embed_dim must be at least 1; got {size}"):
        LearnedPositions(3, size)


@pytest.mark.parametrize("std", [-0.1, math.nan])
def test_a_spread_that_is_none_is_refused(std):
    with pytest.raises(ValueError, match="std must be at least 0"):
        LearnedPositions(3, 3, std=std)
