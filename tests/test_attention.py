import math

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention.bias import causal_lower_right
from torch.testing import assert_close

from embeddings_lib.attention import attention, attention_weights

sizes = st.integers(1, 5)
seeds = st.integers(0, 2**31)
masks = st.booleans()


def qkv(seed, seq_q, seq_k, batch=(2,), heads=3, head_dim=4, kv_heads=None):
    generator = torch.Generator().manual_seed(seed)

    def draw(seq, heads):
        shape = (*batch, seq, heads, head_dim)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    kv_heads = kv_heads or heads
    return draw(seq_q, heads), draw(seq_k, kv_heads), draw(seq_k, kv_heads)


def reference(q, k, v, **options):
    """PyTorch's own, which has the heads before the sequence."""
    q, k, v = (x.transpose(-3, -2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, **options).transpose(-3, -2)


@given(seeds, sizes, st.sampled_from([(), (2,), (2, 3)]), masks)
def test_it_is_pytorchs_attention(seed, seq, batch, causal):
    q, k, v = qkv(seed, seq, seq, batch)
    assert_close(
        attention(q, k, v, causal=causal), reference(q, k, v, is_causal=causal)
    )


@given(seeds, sizes, sizes)
def test_without_a_mask_queries_and_keys_may_differ_in_number(seed, seq_q, seq_k):
    q, k, v = qkv(seed, seq_q, seq_k)
    assert_close(attention(q, k, v, causal=False), reference(q, k, v))


@given(seeds, sizes, sizes)
def test_with_a_mask_the_last_query_stands_at_the_last_key(seed, seq_q, more):
    q, k, v = qkv(seed, seq_q, seq_q + more)
    mask = causal_lower_right(seq_q, seq_q + more)
    assert_close(attention(q, k, v), reference(q, k, v, attn_mask=mask))


@given(seeds, sizes)
def test_decoding_one_token_at_a_time_equals_the_full_pass(seed, seq):
    q, k, v = qkv(seed, seq, seq)
    steps = [
        attention(q[:, t : t + 1], k[:, : t + 1], v[:, : t + 1]) for t in range(seq)
    ]
    assert_close(torch.cat(steps, dim=1), attention(q, k, v))


@given(seeds, sizes, st.sampled_from([(3, 1, 1), (1, 1), (3,)]))
def test_a_bias_is_added_to_the_scores(seed, seq, shape):
    q, k, v = qkv(seed, seq, seq)
    if shape == (3,):
        shape = (3, seq, seq)
    bias = torch.randn(shape, dtype=torch.float64)
    ours = attention(q, k, v, causal=False, bias=bias)
    assert_close(ours, reference(q, k, v, attn_mask=bias.expand(2, 3, seq, seq)))


@given(seeds, sizes, st.sampled_from([(), (2,)]), st.sampled_from([1, 2, 3, 6]), masks)
def test_a_key_serves_a_group_of_neighbouring_heads(seed, seq, batch, kv_heads, causal):
    q, k, v = qkv(seed, seq, seq, batch, heads=6, kv_heads=kv_heads)
    assert_close(
        attention(q, k, v, causal=causal),
        reference(q, k, v, is_causal=causal, enable_gqa=True),
    )


@given(seeds, sizes, st.integers(0, 3), masks)
def test_a_mask_says_where_a_query_may_look(seed, seq_q, more, causal):
    seq_k = seq_q + more
    q, k, v = qkv(seed, seq_q, seq_k)
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(2, 1, seq_q, seq_k, generator=generator) < 0.5
    seen = mask & torch.ones(seq_q, seq_k).tril(more).bool() if causal else mask
    assert_close(
        attention(q, k, v, causal=causal, mask=mask),
        reference(q, k, v, attn_mask=seen.expand(2, 3, seq_q, seq_k)),
    )


@given(seeds, sizes, st.sampled_from([0.125, 1.0, 3.0]), masks)
def test_another_scale_may_be_given(seed, seq, scale, causal):
    q, k, v = qkv(seed, seq, seq)
    assert_close(
        attention(q, k, v, causal=causal, scale=scale),
        reference(q, k, v, is_causal=causal, scale=scale),
    )


LEFT_PADDING = torch.tensor([-math.inf, -math.inf, 0.0, 0.0, 0.0])


def test_minus_infinity_in_a_bias_is_a_mask_and_does_not_spread():
    def two_blocks(attend, x):
        for _ in range(2):
            x = x + attend(x)
        return x

    x, _, _ = qkv(0, 5, 5)
    seen = torch.ones(5, 5).tril().bool() & (LEFT_PADDING == 0)
    ours = two_blocks(lambda x: attention(x, x, x, bias=LEFT_PADDING), x)
    theirs = two_blocks(lambda x: reference(x, x, x, attn_mask=seen), x)
    assert ours.isfinite().all()
    assert_close(ours[:, 2:], theirs[:, 2:])
    assert torch.equal(ours[:, :2], x[:, :2])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gradients_are_finite_where_a_row_is_hidden_by_a_bias(dtype):
    q, k, v = (x.to(dtype).requires_grad_() for x in qkv(0, 5, 5))
    bias = LEFT_PADDING.clone().requires_grad_()
    attention(q, k, v, bias=bias).square().sum().backward()
    for x in (q, k, v, bias):
        assert x.grad.isfinite().all()
    for x in (q, k, v):
        assert not x.grad[:, :2].any()
        assert x.grad[:, 3:].any()


STEPS = {torch.bfloat16: 2**-8, torch.float16: 2**-11}


@pytest.mark.parametrize("dtype", STEPS)
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_16_bits_are_rounded_once_and_no_worse_than_pytorchs(dtype, kv_heads):
    q, k, v = (
        x.to(dtype) for x in qkv(0, 60, 60, heads=4, head_dim=64, kv_heads=kv_heads)
    )
    exact = reference(*(x.double() for x in (q, k, v)), is_causal=True, enable_gqa=True)
    found = attention(q, k, v)
    error = (found.double() - exact).abs()
    assert found.dtype == dtype
    assert (error <= STEPS[dtype] * exact.abs() + 1e-6).all()
    theirs = reference(q, k, v, is_causal=True, enable_gqa=True).double()
    assert error.square().mean() <= 1.01 * (theirs - exact).square().mean()


@pytest.mark.parametrize("dtype", STEPS)
def test_a_score_may_be_larger_than_16_bits_can_say(dtype):
    x = torch.full((5, 2, 128), 23.0, dtype=dtype)  # 128 · 23 · 23 is above 65,504
    assert torch.equal(attention(x, x, x), x)
    assert (attention_weights(x, x, scale=1.0)[:, 1, :2] == 0.5).all()


@pytest.mark.parametrize("dtype", STEPS)
def test_a_bias_may_have_more_bits_than_the_queries(dtype):
    q, k, v = (x.to(dtype) for x in qkv(0, 9, 9))
    bias = torch.randn(3, 9, 9) * 40
    exact = attention(*(x.double() for x in (q, k, v)), bias=bias.double())
    found = attention(q, k, v, bias=bias)
    assert found.dtype == dtype
    error = (found.double() - exact).abs()
    assert (error <= STEPS[dtype] * exact.abs() + 1e-4).all()


def test_a_query_that_may_look_nowhere_takes_nothing_and_learns_nothing():
    q, k, v = (x.requires_grad_() for x in qkv(0, 3, 3))
    mask = torch.tensor([False, True, True])  # so that the first query sees no key
    out = attention(q, k, v, mask=mask)
    assert not out[:, 0].any()
    out.sum().backward()
    assert not q.grad[:, 0].any()
    assert not k.grad[:, 0].any()
    assert q.grad[:, 2].all()


@given(seeds, sizes, masks)
def test_weights_are_positive_sum_to_one_and_see_no_future(seed, seq, causal):
    q, k, _ = qkv(seed, seq, seq)
    weights = attention_weights(q, k, causal=causal)
    assert (weights >= 0).all()
    assert_close(weights.sum(dim=-1), torch.ones(2, 3, seq, dtype=torch.float64))
    assert not causal or not weights.triu(1).any()


@given(seeds, sizes)
def test_without_a_mask_permuted_tokens_give_permuted_outputs(seed, seq):
    q, k, v = qkv(seed, seq, seq)
    order = torch.randperm(seq, generator=torch.Generator().manual_seed(seed))
    permuted = attention(q[:, order], k[:, order], v[:, order], causal=False)
    assert_close(permuted, attention(q, k, v, causal=False)[:, order])


@given(seeds, sizes)
def test_with_a_mask_the_last_token_ignores_the_order_of_its_prefix(seed, seq):
    q, k, v = qkv(seed, seq, seq)
    order = torch.randperm(seq - 1, generator=torch.Generator().manual_seed(seed))
    order = torch.cat([order, torch.tensor([seq - 1])])
    permuted = attention(q[:, order], k[:, order], v[:, order])
    assert_close(permuted[:, -1], attention(q, k, v)[:, -1])


def test_with_a_mask_permuted_tokens_do_not_give_permuted_outputs():
    q, k, v = qkv(0, 4, 4)
    permuted = attention(q.flip(1), k.flip(1), v.flip(1))
    assert (permuted - attention(q, k, v).flip(1)).abs().max() > 0.1


def test_the_worked_example():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[:, None]
    e = math.exp(1 / math.sqrt(2))
    share = e / (2 * e + e * e)
    expected = torch.tensor([[share, share, 1 - 2 * share]])
    assert_close(attention_weights(x, x)[:, -1], expected)


def test_its_derivatives_are_right():
    q, k, v = (x.requires_grad_() for x in qkv(0, 2, 2, (), heads=1, head_dim=2))
    assert torch.autograd.gradcheck(attention, (q, k, v))


@pytest.mark.usefixtures("as_users_call_it")
def test_compiled_it_is_one_graph_with_the_same_result():
    q, k, v = qkv(0, 3, 3)
    compiled = torch.compile(attention, fullgraph=True, backend="eager")
    assert_close(compiled(q, k, v), attention(q, k, v))


def test_nothing_in_gives_nothing_out():
    q, k, v = qkv(0, 0, 0)
    assert attention(q, k, v).shape == (2, 0, 3, 4)


def test_more_queries_than_keys_are_refused():
    q, k, v = qkv(0, 3, 2)
    with pytest.raises(ValueError, match="3 queries and 2 keys: were the keys of"):
        attention(q, k, v)


def test_heads_that_keys_do_not_divide_are_refused():
    q, k, v = qkv(0, 3, 3, heads=4, kv_heads=3)
    with pytest.raises(
        ValueError, match="heads must be a multiple of kv_heads; got 4 and 3"
    ):
        attention(q, k, v)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_a_mask_of_numbers_is_refused(dtype):
    q, k, v = qkv(0, 3, 3)
    with pytest.raises(
        TypeError, match=f"mask must be a boolean tensor.*got {dtype}.*are a bias"
    ):
        attention(q, k, v, mask=torch.ones(3, dtype=dtype))


def test_shapes_that_do_not_fit_are_found_while_the_tests_run():
    q, k, v = qkv(0, 3, 3)
    with pytest.raises(jaxtyping.TypeCheckError):
        attention(q, k[..., :2], v)
