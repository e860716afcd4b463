import copy
import math
import pickle

import mpmath
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.testing import assert_close

from embeddings_lib.exact_angles import ExactAngles, wave_rates

LAST = 2**20 - 1
EXACT = 2e-7  # four roundings to float32

positions = st.lists(st.integers(0, LAST), min_size=1, max_size=8)
bases = st.sampled_from([2.0, 100.0, 10_000.0, 500_000.0, 1e7])
dims = st.integers(1, 16).map(lambda half: 2 * half)


@given(dims, bases)
def test_rates_fall_from_1_by_one_factor_to_nearly_1_over_base(dim, base):
    rates = wave_rates(dim, base)
    assert rates[0] == 1
    ratios = rates[1:] / rates[:-1]
    assert_close(ratios, torch.full_like(ratios, base ** (-2 / dim)))
    assert_close(rates[-1].item() * base ** (-2 / dim), 1 / base)


@pytest.mark.parametrize("base", [1.0, 0.5, 0.0, -2.0, math.inf, math.nan])
def test_a_base_by_which_no_wave_is_slower_is_refused(base):
    with pytest.raises(ValueError, match=f"base must be above 1.* got {base}"):
        wave_rates(4, base)


def exact(position, rate, start=0.0):
    angle = mpmath.mpf(start) + position * mpmath.mpf(rate)
    return complex(mpmath.cos(angle), mpmath.sin(angle))


@given(positions, dims, bases, st.sampled_from([0.0, 1.5]), st.sampled_from([1, -1]))
@example([LAST], 128, 10_000.0, 0.0, 1)
def test_a_wave_is_the_formula_computed_with_forty_digits(
    places, dim, base, start, way
):
    rates = way * wave_rates(dim, base)
    waves = ExactAngles(rates, start=start)
    rows = waves(torch.tensor(places)).view(torch.complex64)
    with mpmath.workdps(40):
        for row, place in zip(rows.tolist(), places, strict=True):
            for point, rate in zip(row, rates.tolist(), strict=True):
                assert abs(point - exact(place, rate, start)) < EXACT


def test_the_code_for_compilers_computes_the_same(monkeypatch):
    waves = ExactAngles(wave_rates(8), start=1.5, radius=1.25)
    places = torch.tensor([[0, 1023], [1024, LAST]])
    rows, span = waves(places), waves.span(2000, 5000)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert_close(waves(places), rows, rtol=0, atol=EXACT)
    assert_close(waves.span(2000, 5000), span, rtol=0, atol=EXACT)


def test_no_position_is_off_by_more_than_two_ten_millionths():
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(0, LAST + 1, (50_000,), generator=generator)
    waves = ExactAngles(wave_rates(128))
    angles = places[:, None].double() * waves.rates
    exactly = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(-2)
    assert (waves(places) - exactly).abs().max() < EXACT


@given(st.integers(0, LAST), st.integers(0, LAST), dims)
def test_a_turn_by_a_sum_is_a_turn_by_one_and_then_by_the_other(a, b, dim):
    waves = ExactAngles(wave_rates(dim))
    if a + b <= LAST:
        points = waves(torch.tensor([a, b, a + b])).view(torch.complex64)
        first, second, both = points
        assert_close(first * second, both, rtol=0, atol=3 * EXACT)


@given(st.integers(0, 2100), st.integers(0, LAST + 1 - 2100), dims)
@example(seq=2, offset=1023, dim=4)  # across the end of the table of low positions
@example(seq=1, offset=LAST, dim=4)
def test_a_span_is_the_waves_at_its_positions(seq, offset, dim):
    waves = ExactAngles(wave_rates(dim))
    rows = waves(torch.arange(offset, offset + seq))
    assert_close(waves.span(seq, offset), rows, rtol=0, atol=EXACT)
    assert torch.equal(waves.span(seq), waves.span(seq, 0))


@pytest.mark.parametrize("shape", [(0,), (2, 0), (2, 3), (2, 2, 1)])
def test_positions_may_have_any_batch(shape):
    places = torch.randint(0, 9, shape, generator=torch.Generator().manual_seed(0))
    rows = ExactAngles(wave_rates(4))(places)
    assert rows.shape == (*shape, 4)
    assert_close(rows.flatten(0, -2), ExactAngles(wave_rates(4))(places.flatten()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_change_of_dtype_does_not_touch_the_tables(dtype):
    waves = ExactAngles(wave_rates(8)).to(dtype)
    before = ExactAngles(wave_rates(8))
    for table in ("high", "low"):
        assert torch.equal(getattr(waves, table), getattr(before, table))
    assert list(waves.state_dict()) == []


def test_a_copy_and_a_pickle_give_the_same_waves():
    waves = ExactAngles(wave_rates(8), start=0.5)
    for other in (copy.deepcopy(waves), pickle.loads(pickle.dumps(waves))):
        assert torch.equal(other.span(3, 5000), waves.span(3, 5000))


def test_made_without_memory_it_is_whole_once_it_has_a_device():
    with torch.device("meta"):
        waves = ExactAngles(wave_rates(8))
    assert waves.low.is_meta
    assert waves(torch.arange(3, device="meta")).is_meta
    waves = waves.to_empty(device="cpu")
    assert torch.equal(waves.span(3, 5000), ExactAngles(wave_rates(8)).span(3, 5000))


def test_made_in_inference_mode_it_serves_training():
    with torch.inference_mode():
        waves = ExactAngles(wave_rates(4))
    assert not any(x.is_inference() for x in (waves.high, waves.low))
    weight = torch.ones(2, 4, requires_grad=True)
    (waves(torch.arange(2)) * weight).sum().backward()
    assert weight.grad.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_has_the_same_waves():
    waves = ExactAngles(wave_rates(8)).cuda()
    places = torch.tensor([3, LAST])
    assert_close(waves(places.cuda()).cpu(), ExactAngles(wave_rates(8))(places))
    with pytest.raises(IndexError, match="got 1048576 at index"):
        waves(torch.tensor([LAST + 1], device="cuda"))


@pytest.mark.parametrize("place", [-1, LAST + 1, 2**40])
def test_a_position_out_of_reach_is_named_with_its_place(place):
    with pytest.raises(
        IndexError, match=rf"0 to {LAST}, because two.*got {place} at index \(0, 1\)"
    ):
        ExactAngles(wave_rates(4))(torch.tensor([[0, place]]))


@pytest.mark.parametrize(("seq", "offset"), [(-1, 0), (1, -1), (2, LAST)])
def test_a_span_out_of_reach_is_refused(seq, offset):
    with pytest.raises(
        IndexError,
        match=f"0 to {LAST}, because two.*got {seq} tokens from .* {offset}:",
    ):
        ExactAngles(wave_rates(4)).span(seq, offset)


def test_positions_on_another_device_are_refused():
    with pytest.raises(ValueError, match=r"positions on meta and a table on cpu"):
        ExactAngles(wave_rates(4))(torch.arange(3, device="meta"))


@pytest.mark.usefixtures("as_users_call_it")
def test_positions_between_tokens_are_refused():
    with pytest.raises(TypeError, match=r"int64 or int32.*got torch\.float32"):
        ExactAngles(wave_rates(4))(torch.tensor([0.5]))
