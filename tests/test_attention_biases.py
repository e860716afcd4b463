import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import T5Config
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from embeddings_lib import T5Bias, alibi_bias
from embeddings_lib.attention import attention_weights
from embeddings_lib.attention_biases import alibi_slopes, t5_buckets


@pytest.mark.parametrize("heads", [1, 2, 3, 5, 8, 12, 16, 40])
def test_alibi_weights_are_those_of_bloom(heads):
    q, k = torch.randn(2, 20, heads, 8, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(1, 20, dtype=torch.long)
    # BLOOM adds slope · n, which differs from -slope · (m - n) by a number per query.
    theirs = attention_weights(
        q, k, bias=build_alibi_tensor(ones, heads, torch.float32)
    )
    assert_close(attention_weights(q, k, bias=alibi_bias(heads, 20)), theirs)


@pytest.mark.parametrize("heads", [1, 2, 4, 8, 16])
def test_slopes_are_a_geometric_series_that_ends_at_2_to_the_minus_8(heads):
    slopes = alibi_slopes(heads)
    assert slopes[-1] == 2**-8
    assert_close(slopes, slopes[0] ** torch.arange(1, heads + 1))


@given(st.integers(1, 64))
def test_every_head_has_its_own_slope_between_0_and_1(heads):
    slopes = alibi_slopes(heads)
    assert slopes.unique().numel() == heads
    assert ((slopes > 0) & (slopes < 1)).all()


@given(st.integers(1, 5), st.integers(0, 6), st.integers(0, 6))
def test_queries_stand_at_the_end_of_the_keys(heads, seq_q, more):
    bias = T5Bias(heads, buckets=6, max_distance=9)
    torch.nn.init.normal_(bias.weight)
    seq_k = seq_q + more
    assert torch.equal(
        alibi_bias(heads, seq_q, seq_k), alibi_bias(heads, seq_k)[:, more:]
    )
    assert torch.equal(bias(seq_q, seq_k), bias(seq_k)[:, more:])


@given(st.integers(2, 30))
def test_both_depend_on_the_distance_only(seq):
    bias = T5Bias(2, buckets=8, max_distance=12)
    torch.nn.init.normal_(bias.weight)
    for table in (alibi_bias(2, seq), bias(seq)):
        assert torch.equal(table[:, 1:, 1:], table[:, :-1, :-1])


@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (16, 64), (8, 1000)])
def test_t5_bias_is_that_of_transformers(buckets, max_distance):
    config = T5Config(
        num_heads=3,
        is_decoder=True,
        relative_attention_num_buckets=buckets,
        relative_attention_max_distance=max_distance,
    )
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    ours = T5Bias(3, buckets=buckets, max_distance=max_distance)
    ours.load_state_dict(theirs.relative_attention_bias.state_dict())
    seen = torch.ones(600, 600).tril().bool()
    assert torch.equal(
        ours(600)[:, seen], theirs.compute_bias(600, 600)[0][:, seen].detach()
    )


@given(st.integers(2, 40), st.integers(1, 300))
def test_buckets_are_single_at_first_and_never_go_back(buckets, beyond):
    half = buckets // 2
    distances = torch.arange(half + 2 * beyond)
    which = t5_buckets(distances, buckets=buckets, max_distance=half + beyond)
    assert torch.equal(which[:half], distances[:half])
    assert (which.diff() >= 0).all()
    assert (which[half + beyond :] == buckets - 1).all()
    assert which.max() <= buckets - 1


def test_only_the_buckets_of_a_text_get_a_gradient():
    bias = T5Bias(1, buckets=8, max_distance=16)
    bias(6).square().sum().backward()  # distances 0 to 5
    torch.nn.init.ones_(bias.weight)
    bias(6).sum().backward()
    touched = bias.weight.grad[:, 0] != 0
    assert torch.equal(touched, torch.arange(8) <= 4)


def test_sizes_that_cannot_be_are_refused():
    for make in (alibi_slopes, T5Bias, lambda heads: alibi_bias(heads, 3)):
        with pytest.raises(ValueError, match=r"heads must be at least 1.*got 0"):
            make(0)
    for buckets, max_distance in [(1, 128), (0, 128), (32, 16)]:
        with pytest.raises(ValueError, match=f"got {buckets} .* {max_distance}"):
            T5Bias(2, buckets=buckets, max_distance=max_distance)


def test_it_says_what_it_is():
    assert repr(T5Bias(2, buckets=8, max_distance=16)) == (
        "T5Bias(heads=2, buckets=8, max_distance=16)"
    )


def test_the_buckets_are_those_of_t5_unless_told():
    distances = torch.arange(200)
    usual = t5_buckets(distances, buckets=32, max_distance=128)
    assert torch.equal(t5_buckets(distances), usual)
    assert repr(T5Bias(2)) == "T5Bias(heads=2, buckets=32, max_distance=128)"
