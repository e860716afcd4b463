import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama import modeling_llama as llama

from embeddings_lib import RotaryPositions, rotary_from_config
from embeddings_lib.exact_angles import wave_rates
from embeddings_lib.rotary_scaling import (
    dynamic_ntk,
    linear,
    llama3,
    longrope,
    longrope_attention_factor,
    ntk,
    proportional,
    yarn,
    yarn_attention_factor,
)

LLAMA_31 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 16.0,
    "original_max_position_embeddings": 4096,
}
CONFIGS = [
    LLAMA_31,
    LLAMA_31 | {"factor": 32.0, "high_freq_factor": 5.0},
    YARN,
    YARN | {"original_max_position_embeddings": 131_072},  # all pairs turn
    YARN | {"original_max_position_embeddings": 64},  # no pair turns 32 times
    YARN | {"beta_fast": 24.0, "beta_slow": 2.0, "attention_factor": 1.1},
    YARN | {"rope_theta": 150_000.0, "factor": 32.0, "truncate": False},
    {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.5},
]

dims = st.integers(2, 64).map(lambda half: 2 * half)
bases = st.sampled_from([100.0, 10_000.0, 500_000.0, 1e6])
factors = st.floats(1.0, 64.0)
lengths = st.integers(64, 2**17)

RULES = {
    "linear": lambda rates, factor, length: linear(rates, factor=factor),
    "ntk": lambda rates, factor, length: ntk(rates, factor=factor),
    "dynamic": lambda rates, factor, length: dynamic_ntk(
        rates, factor=factor, original_length=length, seq=2 * length
    ),
    "yarn": lambda rates, factor, length: yarn(
        rates, factor=factor, original_length=length
    ),
    "llama3": lambda rates, factor, length: llama3(
        rates, factor=factor, original_length=length
    ),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


def theirs(config, head_dim, *, length=None, seq=None):
    length = length or config.get("original_max_position_embeddings", 2048)
    parameters = dict(config)
    model = LlamaConfig(
        hidden_size=4 * head_dim,
        num_attention_heads=4,
        max_position_embeddings=int(length * parameters["factor"])
        if not seq
        else length,
        rope_parameters=parameters,
    )
    return model, ROPE_INIT_FUNCTIONS[config["rope_type"]](model, "cpu", seq_len=seq)


@pytest.mark.parametrize("head_dim", [64, 96, 128])
@pytest.mark.parametrize("config", CONFIGS)
def test_rates_are_those_of_transformers(config, head_dim):
    rotary = rotary_from_config(config, head_dim)
    _, (rates, attention_factor) = theirs(config, head_dim)
    # Theirs are computed in float32.
    assert_close(rotary.angles.rates, rates.double(), rtol=2e-6, atol=1e-6)
    assert_close(rotary.angles.rates, rates.double(), rtol=2e-6, atol=0)
    assert rotary.angles.radius == pytest.approx(attention_factor, rel=1e-12)


def test_yarn_counts_two_numbers_a_pair_where_even_the_last_turns():
    """In 10,000,000 tokens the third pair of a head of four would make a turn."""
    config = YARN | {
        "original_max_position_embeddings": 10**7,
        "beta_fast": 1e6,
        "beta_slow": 1.0,
    }
    _, (rates, _) = theirs(config, 4)
    ours = rotary_from_config(config, 4).angles.rates
    assert_close(ours, rates.double(), rtol=2e-6, atol=0)


@pytest.mark.parametrize("seq", [1, 2048, 2049, 5000, 32_768])
def test_dynamic_rates_are_those_of_transformers_at_every_length(seq):
    config = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}
    _, (rates, _) = theirs(config, 64, length=2048, seq=seq)
    ours = rotary_from_config(
        config | {"original_max_position_embeddings": 2048}, 64, seq=seq
    )
    assert_close(ours.angles.rates, rates.double(), rtol=2e-6, atol=0)


@pytest.mark.parametrize("config", [LLAMA_31, YARN])
def test_rotated_queries_and_keys_are_those_of_transformers(config):
    model, _ = theirs(config, 64)
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 100, 4, 64, generator=generator)
    cos, sin = llama.LlamaRotaryEmbedding(model)(q, torch.arange(100)[None])
    expected = llama.apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2)
    # Their angles are computed in float32: at 100 rad they are off by 4e-6.
    assert_close(rotary_from_config(config, 64)(q, k), expected, atol=4e-5, rtol=0)


def test_llama_31_keeps_29_pairs_and_slows_29_down_by_8():
    """The published values: head_dim 128, base 500,000, factor 8, 1, 4, 8192."""
    rates = wave_rates(128, 500_000.0)
    slower = rates / llama3(rates, factor=8.0, original_length=8192)
    wavelengths = 2 * math.pi / rates
    assert_close(slower[wavelengths < 8192 / 4], torch.ones(29).double())
    assert_close(slower[wavelengths > 8192], torch.full((29,), 8.0).double())
    between = slower[29:35]
    assert (between.diff() > 0).all()
    assert between[0] > 1
    assert between[-1] < 8


def test_ntk_is_a_larger_base():
    for dim in (8, 64, 128):
        scaled = ntk(wave_rates(dim, 10_000.0), factor=8.0)
        assert_close(scaled, wave_rates(dim, 10_000.0 * 8 ** (dim / (dim - 2))))


@given(dims, bases, factors)
def test_ntk_keeps_the_fastest_pair_and_interpolates_the_slowest(dim, base, factor):
    rates = wave_rates(dim, base)
    scaled = ntk(rates, factor=factor)
    assert scaled[0] == rates[0]
    assert_close(scaled[-1], rates[-1] / factor)


@every_rule
@given(dims, bases, lengths)
def test_factor_1_changes_nothing(rule, dim, base, length):
    rates = wave_rates(dim, base)
    if rule is RULES["dynamic"]:
        scaled = dynamic_ntk(rates, factor=1.0, original_length=length, seq=length)
    else:
        scaled = rule(rates, 1.0, length)
    assert_close(scaled, rates)


@every_rule
@given(dims, bases, factors, lengths)
def test_pairs_become_slower_and_stay_in_order(rule, dim, base, factor, length):
    rates = wave_rates(dim, base)
    scaled = rule(rates, factor, length)
    assert (scaled <= rates * (1 + 1e-12)).all()
    assert (scaled.diff() <= 0).all()
    if rule is not RULES["dynamic"]:
        assert (scaled >= rates / factor * (1 - 1e-12)).all()


@given(dims, bases, factors, lengths)
def test_llama3_is_linear_in_the_turns(dim, base, factor, length):
    rates = wave_rates(dim, base)
    scaled = llama3(rates, factor=factor, original_length=length)
    for rate, slower in zip(rates.tolist(), scaled.tolist(), strict=True):
        turns = length * rate / (2 * math.pi)
        keep = min(max((turns - 1) / 3, 0), 1)
        assert slower == pytest.approx(rate * keep + rate / factor * (1 - keep))


@given(dims, bases, factors, lengths)
def test_yarn_keeps_pairs_of_32_turns_and_interpolates_pairs_of_less_than_1(
    dim, base, factor, length
):
    rates = wave_rates(dim, base)
    scaled = yarn(rates, factor=factor, original_length=length, truncate=False)
    turns = length * rates / (2 * math.pi)
    kept, slow = turns >= 32 * (1 + 1e-9), turns <= 1 - 1e-9
    assert_close(scaled[kept], rates[kept])
    assert_close(scaled[slow], rates[slow] / factor)


def test_yarn_makes_scores_larger_by_the_square_of_its_factor():
    q = k = torch.ones(1, 1, 16)
    rotary = rotary_from_config(YARN | {"factor": 4.0}, 16)
    turned_q, turned_k = rotary(q, k)
    score = (turned_q * turned_k).sum()
    assert_close(score.item(), 16 * (0.1 * math.log(4) + 1) ** 2, rtol=1e-6, atol=0)


def test_the_attention_factor_reaches_every_way_to_turn():
    q, k = torch.randn(2, 1, 5, 2, 8, generator=torch.Generator().manual_seed(0))
    plain, grown = RotaryPositions(8), RotaryPositions(8, attention_factor=1.5)
    expected = tuple(1.5 * x for x in plain(q, k))
    assert_close(grown(q, k), expected)
    assert_close(grown(q, k, torch.arange(5)), expected)
    assert_close(
        grown(q, k, offset=2000), tuple(1.5 * x for x in plain(q, k, offset=2000))
    )
    lengths = grown.angles(torch.arange(5)).view(torch.complex64).abs()
    assert_close(lengths, torch.full((5, 4), 1.5))


def test_older_names_of_a_configuration_are_understood():
    config = {"type": "linear", "factor": 4.0, "rope_theta": 100.0}
    assert_close(rotary_from_config(config, 8).angles.rates, wave_rates(8, 100.0) / 4)
    config = {"rope_theta": 100.0}
    assert_close(rotary_from_config(config, 8).angles.rates, wave_rates(8, 100.0))


def test_a_configuration_may_turn_part_of_the_features():
    config = {"rope_theta": 10_000.0, "partial_rotary_factor": 0.25}
    assert rotary_from_config(config, 64).rotary_dim == 16


@every_rule
@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, math.nan, math.inf])
def test_a_factor_below_1_is_refused(rule, factor):
    with pytest.raises(ValueError, match=r"factor must be at least 1.*got"):
        rule(wave_rates(8), factor, 512)
    with pytest.raises(ValueError, match="at least 1"):
        yarn_attention_factor(factor)


def test_bands_must_be_in_order():
    rates = wave_rates(8)
    with pytest.raises(ValueError, match=r"low_freq_factor must be .*most.*5.0 and 4"):
        llama3(rates, factor=8.0, original_length=512, low_freq_factor=5.0)
    with pytest.raises(ValueError, match=r"beta_slow must be .*most.*33.0 and 32.0"):
        yarn(rates, factor=8.0, original_length=512, beta_slow=33.0)
    with pytest.raises(ValueError, match=r"beta_slow must be above 0 .*0.0 and 32.0"):
        yarn(rates, factor=8.0, original_length=512, beta_slow=0.0)


@given(dims, bases, factors, lengths, st.floats(0.5, 64.0))
def test_equal_bands_are_a_step(dim, base, factor, length, limit):
    rates = wave_rates(dim, base)
    turns = length * rates / (2 * math.pi)
    bands = {"low_freq_factor": limit, "high_freq_factor": limit}
    scaled = llama3(rates, factor=factor, original_length=length, **bands)
    expected = torch.where(turns > limit, rates, rates / factor)
    clear = (turns - limit).abs() > 1e-6
    assert_close(scaled[clear], expected[clear])


lists = st.lists(st.floats(1.0, 64.0), min_size=4, max_size=4)


@given(bases, lists, lists, lengths, st.integers(-2, 2))
def test_longrope_slows_each_pair_by_its_own_factor(base, short, long, length, beyond):
    known = {"short_factor": short, "long_factor": long, "original_length": length}
    scaled = longrope(wave_rates(8, base), **known, seq=length + beyond)
    factors = wave_rates(8, base) / scaled
    assert_close(factors.tolist(), long if beyond > 0 else short)


@given(dims, bases, factors, st.floats(0.01, 1.0))
def test_proportional_stops_the_slow_pairs(dim, base, factor, share):
    rates = wave_rates(dim, base)
    scaled = proportional(rates, share=share, factor=factor)
    turning = int(share * len(rates))
    assert_close(scaled[:turning], rates[:turning] / factor)
    assert (scaled[turning:] == 0).all()


@given(factors, st.floats(0.1, 2.0))
def test_equal_numbers_of_deepseek_leave_queries_and_keys_as_long(factor, mscale):
    same = {"mscale": mscale, "mscale_all_dim": mscale}
    assert yarn_attention_factor(factor, **same) == 1.0


def test_one_number_of_deepseek_alone_is_refused():
    with pytest.raises(ValueError, match=r"must stand together.*got 1.0 and None"):
        yarn_attention_factor(40.0, mscale=1.0)


def test_longrope_has_a_factor_above_0_for_each_pair():
    def scaled(short, long):
        lists = {"short_factor": short, "long_factor": long}
        longrope(wave_rates(4), **lists, original_length=8, seq=8)

    with pytest.raises(ValueError, match=r"for each pair; got 1 and 2 .* for 2 pairs"):
        scaled([1.0], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"long_factor must be above 0.*got 0.0"):
        scaled([1.0, 1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match=r"original_length must be at least 2; got 1"):
        longrope_attention_factor(2.0, original_length=1)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, math.nan])
def test_a_share_of_the_pairs_is_above_0_and_at_most_1(share):
    with pytest.raises(ValueError, match=r"above 0 and at most 1.*got"):
        proportional(wave_rates(8), share=share)


@pytest.mark.parametrize("rule", [yarn, llama3])
def test_the_original_length_must_be_a_length(rule):
    with pytest.raises(ValueError, match=r"original_length must be at least 1.*got 0"):
        rule(wave_rates(8), factor=8.0, original_length=0)


@pytest.mark.parametrize("rule", [RULES["ntk"], RULES["dynamic"], RULES["yarn"]])
def test_one_pair_has_no_slowest_and_fastest(rule):
    with pytest.raises(ValueError, match=r"at least two pairs.*got 1"):
        rule(wave_rates(2), 2.0, 512)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rope_type": "longer"}, "must be 'default', 'linear', .*got 'longer'"),
        ({"rope_type": "linear"}, "the keys factor; this one lacks factor$"),
        (YARN | {"original_max_position_embeddings": None}, "lacks original_max_pos"),
        (YARN | {"mscale": 1.0}, "mscale_all_dim must stand together"),
        ({"rope_type": "llama3", "factor": 8.0}, "lacks original_max_.*, high_freq_f"),
        ({"rope_type": "dynamic", "factor": 8.0}, "lacks original_max_.*, seq"),
        (LLAMA_31 | {"facter": 8.0}, "whose effect is known.*got facter"),
        (LLAMA_31 | {"rope_theta": None}, "a guessed base.*: pass the whole config"),
        (
            YARN | {"rope_type": None},
            "rope_type must be given .*got .*factor.* without",
        ),
        ({"factor": 4.0}, "rope_type must be given where .*got factor without it$"),
        (LLAMA_31 | {"factor": "4"}, "factor must be numeric; got '4'"),
        (LLAMA_31 | {"rope_theta": "1e4"}, "rope_theta must be numeric; got '1e4'"),
        (LLAMA_31 | {"partial_rotary_factor": 0.0}, "above 0 and at most 1.*got 0.0"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        rotary_from_config({"rope_theta": 1e4} | config, 64)


def test_an_entry_alone_needs_the_size_of_a_head():
    with pytest.raises(ValueError, match=r"head_dim must be given.*: pass the whole"):
        rotary_from_config(LLAMA_31)
