import math

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from embeddings_lib import SinusoidalPositions, sinusoidal_encoding

places = st.lists(st.integers(0, 2**20), min_size=1, max_size=8).map(torch.tensor)
dims = st.integers(1, 16).map(lambda half: 2 * half)
bases = st.sampled_from([2.0, 100.0, 10_000.0, 500_000.0])


@given(places, dims, bases)
def test_it_is_the_papers_formula_computed_with_forty_digits(positions, dim, base):
    rows = sinusoidal_encoding(positions, dim, base=base)
    with mpmath.workdps(40):
        for row, position in zip(rows.tolist(), positions.tolist(), strict=True):
            for i in range(0, dim, 2):
                angle = position / mpmath.mpf(base) ** (mpmath.mpf(i) / dim)
                assert abs(row[i] - mpmath.sin(angle)) < 1e-7
                assert abs(row[i + 1] - mpmath.cos(angle)) < 1e-7


@given(dims, bases)
def test_row_zero_is_0_1_0_1(dim, base):
    row = sinusoidal_encoding(torch.tensor([0]), dim, base=base)[0]
    assert row.tolist() == [0.0, 1.0] * (dim // 2)


@given(places, dims, bases)
def test_every_row_has_the_same_length(positions, dim, base):
    lengths = sinusoidal_encoding(positions, dim, base=base).double().norm(dim=-1)
    assert_close(
        lengths, torch.full_like(lengths, math.sqrt(dim / 2)), rtol=1e-6, atol=0
    )


@given(places, st.integers(0, 10_000), dims)
def test_the_product_of_two_rows_depends_on_their_distance_only(positions, apart, dim):
    here = sinusoidal_encoding(positions, dim).double()
    there = sinusoidal_encoding(positions + apart, dim).double()
    at_zero = sinusoidal_encoding(torch.tensor([0, apart]), dim).double()
    products = (here * there).sum(dim=-1)
    expected = (at_zero[0] * at_zero[1]).sum().expand_as(products)
    assert_close(products, expected, rtol=0, atol=1e-6 * dim)


@given(places, st.integers(0, 10_000), dims)
def test_a_shift_is_one_rotation_for_every_position(positions, by, dim):
    rates = 10_000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    cos, sin = (by * rates).cos(), (by * rates).sin()
    here = sinusoidal_encoding(positions, dim).double()
    shifted = torch.stack(
        [
            here[..., 0::2] * cos + here[..., 1::2] * sin,
            here[..., 1::2] * cos - here[..., 0::2] * sin,
        ],
        dim=-1,
    ).flatten(-2)
    expected = sinusoidal_encoding(positions + by, dim).double()
    assert_close(shifted, expected, rtol=0, atol=1e-6)


@given(st.integers(0, 5), st.integers(0, 2**20 - 5), dims, bases)
def test_the_module_looks_up_what_the_function_computes(seq, offset, dim, base):
    module = SinusoidalPositions(dim, base=base)
    positions = torch.arange(offset, offset + seq)
    rows = sinusoidal_encoding(positions, dim, base=base)
    assert_close(module(positions), rows, rtol=0, atol=2e-7)
    assert_close(module.span(seq, offset), rows, rtol=0, atol=2e-7)


@pytest.mark.usefixtures("as_users_call_it")
def test_compiled_it_is_one_graph_with_the_same_result():
    module = SinusoidalPositions(6)
    positions = torch.tensor([[5, 2_000], [1_048_575, 0]])
    for call in (lambda: module(positions), lambda: module.span(3, 1_023)):
        compiled = torch.compile(call, fullgraph=True, backend="eager")
        assert_close(compiled(), call(), rtol=0, atol=2e-7)


def test_the_code_for_the_compiler_computes_the_same(monkeypatch):
    module, positions = SinusoidalPositions(8), torch.tensor([[0, 1_000, 1_000_000]])
    rows, span = module(positions), module.span(3, 1_023)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert_close(module(positions), rows, rtol=0, atol=2e-7)
    assert_close(module.span(3, 1_023), span, rtol=0, atol=2e-7)


def test_a_batch_may_have_positions_of_its_own():
    positions = torch.tensor([[0, 1], [7, 8]])
    rows = sinusoidal_encoding(positions, 6)
    assert_close(rows[1], sinusoidal_encoding(positions[1], 6), rtol=0, atol=0)


def test_a_position_between_two_tokens_has_a_row():
    half = sinusoidal_encoding(torch.tensor([0.5]), 2)
    assert_close(half, torch.tensor([[math.sin(0.5), math.cos(0.5)]]))


def test_it_has_no_weights_and_survives_a_change_of_dtype():
    module = SinusoidalPositions(6).to(torch.bfloat16)
    assert list(module.state_dict()) == []
    exact = sinusoidal_encoding(torch.tensor([100_003]), 6)
    assert_close(module.span(1, 100_003), exact, rtol=0, atol=2e-7)


def test_it_says_what_it_is():
    assert "embed_dim=6, base=10000.0" in repr(SinusoidalPositions(6))


@pytest.mark.parametrize("dim", [-2, 0, 1, 7])
def test_an_odd_dimension_is_refused_with_the_reason(dim):
    with pytest.raises(ValueError, match=f"even, because each sine.*got {dim}$"):
        sinusoidal_encoding(torch.tensor([0]), dim)
    with pytest.raises(ValueError, match=f"even, because each sine.*got {dim}$"):
        SinusoidalPositions(dim)


@pytest.mark.parametrize("base", [1.0, 0.0, -5.0, math.nan, math.inf])
def test_a_base_without_growing_waves_is_refused(base):
    with pytest.raises(ValueError, match="base must be above 1"):
        SinusoidalPositions(4, base=base)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_positions_that_are_already_rounded_are_refused(dtype):
    with pytest.raises(TypeError, match=f"skips whole numbers.*got {dtype}"):
        sinusoidal_encoding(torch.arange(3).to(dtype), 4)
