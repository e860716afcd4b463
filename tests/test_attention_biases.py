"""ALiBi and T5, against BLOOM, MPT and T5 of transformers, and the papers' numbers."""

import io
import math

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import T5Config
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from embeddings_lib import T5Bias, alibi_bias
from embeddings_lib.attention import attention, attention_weights
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


@pytest.mark.parametrize("heads", [2, 3, 8])
@pytest.mark.parametrize("padding", [0, 3, 7])
def test_in_a_left_padded_text_alibi_weights_are_those_of_bloom(heads, padding):
    q, k = torch.randn(2, 1, 12, heads, 8, generator=torch.Generator().manual_seed(0))
    real = torch.arange(12)[None] >= padding
    theirs = build_alibi_tensor(real.long(), heads, torch.float32)
    positions = (real.cumsum(-1) - 1).clamp(min=0)
    ours = alibi_bias(heads, 12, positions=positions)
    assert ours.shape == (1, heads, 12, 12)
    weights = [
        attention_weights(q, k, bias=bias, mask=real)[:, :, padding:]
        for bias in (ours, theirs)
    ]
    assert_close(*weights)


@pytest.mark.parametrize("heads", [1, 2, 3, 8, 12, 40])
@pytest.mark.parametrize("alibi_bias_max", [4, 8, 16])
def test_alibi_is_that_of_mpt(heads, alibi_bias_max):
    theirs = build_mpt_alibi_tensor(heads, 20, alibi_bias_max)
    slopes = alibi_slopes(heads, alibi_bias_max=alibi_bias_max)
    assert_close(alibi_bias(heads, 1, 20, slopes=slopes), theirs)


def test_slopes_for_eight_heads_are_those_that_the_paper_writes():
    assert alibi_slopes(8).tolist() == [1 / 2**h for h in range(1, 9)]


@given(st.integers(1, 12), st.integers(0, 6), st.integers(0, 3), st.booleans())
def test_each_alibi_bias_is_its_formula(heads, seq_q, more, symmetric):
    found = alibi_bias(heads, seq_q, seq_q + more, symmetric=symmetric)
    slopes = alibi_slopes(heads).tolist()
    for h in range(heads):
        for m in range(seq_q):
            for n in range(seq_q + more):
                behind = more + m - n
                distance = abs(behind) if symmetric else max(behind, 0)
                assert found[h, m, n].item() == pytest.approx(-slopes[h] * distance)


def test_slopes_may_be_learned():
    slopes = torch.tensor([0.3, 0.7], requires_grad=True)
    bias = alibi_bias(2, 3, slopes=slopes)
    assert_close(bias[:, 2, 0], -2 * slopes)
    bias[1, 2, 0].backward()
    assert slopes.grad.tolist() == [0, -2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_default_dtype_changes_no_bias(dtype):
    names = {
        "slopes": lambda: alibi_slopes(12),
        "bias": lambda: alibi_bias(12, 1, 1024),
        "buckets": lambda: t5_buckets(torch.arange(1024)),
    }
    usual = {name: make() for name, make in names.items()}
    torch.set_default_dtype(dtype)
    try:
        found = {name: make() for name, make in names.items()}
    finally:
        torch.set_default_dtype(torch.float32)
    for name in names:
        assert torch.equal(found[name], usual[name]), name
    for head in found["bias"]:
        assert head.unique().numel() == 1024


TEXTS = (4, 1, 6)  # lengths, packed in one row


def packed():
    positions = torch.cat([torch.arange(length) for length in TEXTS])
    return positions, [slice(0, 4), slice(4, 5), slice(5, 11)]


def test_with_positions_a_packed_text_has_the_bias_that_it_has_alone():
    t5 = T5Bias(2, buckets=8, max_distance=12, bidirectional=True)
    torch.nn.init.normal_(t5.weight)
    positions, texts = packed()
    for make in (
        lambda *sizes, **where: alibi_bias(2, *sizes, **where),
        lambda *sizes, **where: alibi_bias(2, *sizes, symmetric=True, **where),
        t5,
    ):
        together = make(11, positions=positions)
        assert torch.equal(make(2, 11, positions=positions), together[:, 9:])
        for text, length in zip(texts, TEXTS, strict=True):
            assert torch.equal(together[:, text, text], make(length))


@given(st.integers(0, 2**31), st.booleans())
def test_with_positions_a_bias_looks_at_their_differences(seed, both):
    generator = torch.Generator().manual_seed(seed)
    positions = torch.randint(0, 300, (2, 5), generator=generator)
    t5 = T5Bias(2, bidirectional=both)
    torch.nn.init.normal_(t5.weight)
    alibi = alibi_bias(2, 3, positions=positions, symmetric=both)
    learned = t5(3, positions=positions)
    assert alibi.shape == learned.shape == (2, 2, 3, 5)
    for sample in range(2):
        for m in range(3):
            for n in range(5):
                distance = positions[sample, 2 + m] - positions[sample, n]
                bucket = T5Attention._relative_position_bucket(
                    -distance[None], bidirectional=both
                )
                assert torch.equal(learned[sample, :, m, n], t5.weight[bucket[0]])
                far = distance.abs() if both else distance.clamp(min=0)
                assert_close(alibi[sample, :, m, n], -alibi_slopes(2) * far)


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


def attention_of_t5(is_decoder, heads=3, **options):
    torch.manual_seed(0)
    config = T5Config(
        d_model=12, d_kv=4, num_heads=heads, is_decoder=is_decoder, **options
    )
    return T5Attention(config, has_relative_attention_bias=True, layer_idx=0)


@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (16, 64), (8, 1000)])
def test_t5_bias_is_that_of_transformers(buckets, max_distance):
    theirs = attention_of_t5(
        is_decoder=True,
        relative_attention_num_buckets=buckets,
        relative_attention_max_distance=max_distance,
    )
    ours = T5Bias(3, buckets=buckets, max_distance=max_distance)
    ours.load_state_dict(theirs.relative_attention_bias.state_dict())
    assert torch.equal(ours(600), theirs.compute_bias(600, 600)[0])


@pytest.mark.parametrize(
    ("buckets", "max_distance"), [(32, 128), (16, 64), (8, 1000), (33, 40), (4, 3)]
)
@pytest.mark.parametrize("is_decoder", [False, True])
def test_a_bias_taken_from_transformers_knows_its_direction(
    buckets, max_distance, is_decoder
):
    theirs = attention_of_t5(
        is_decoder,
        relative_attention_num_buckets=buckets,
        relative_attention_max_distance=max_distance,
    )
    ours = T5Bias.from_transformers(theirs)
    assert ours.bidirectional == (not is_decoder)
    assert torch.equal(ours(300), theirs.compute_bias(300, 300)[0])
    assert ours.weight is not theirs.relative_attention_bias.weight


@pytest.mark.parametrize("is_decoder", [False, True])
def test_with_its_bias_and_no_scale_attention_is_that_of_t5(is_decoder):
    theirs = attention_of_t5(is_decoder).double().eval()
    x = torch.randn(2, 30, 12, dtype=torch.float64)
    seen = torch.ones(30, 30).tril().bool() if is_decoder else torch.ones(30, 30).bool()
    hidden = torch.zeros(30, 30).double().masked_fill(~seen, -math.inf)[None, None]
    expected = theirs(x, mask=hidden)[0]
    q, k, v = (w(x).unflatten(-1, (3, 4)) for w in (theirs.q, theirs.k, theirs.v))
    bias = T5Bias.from_transformers(theirs)(30)
    ours = attention(q, k, v, causal=is_decoder, scale=1.0, bias=bias)
    assert_close(theirs.o(ours.flatten(-2)), expected)


@given(
    st.lists(st.integers(-700, 700), min_size=1),
    st.integers(4, 40),
    st.integers(21, 300),
    st.booleans(),
)
def test_buckets_are_those_of_transformers(distances, buckets, max_distance, both):
    distances = torch.tensor(distances)
    theirs = T5Attention._relative_position_bucket(
        -distances, bidirectional=both, num_buckets=buckets, max_distance=max_distance
    )
    sizes = {"buckets": buckets, "max_distance": max_distance}
    assert torch.equal(t5_buckets(distances, **sizes, bidirectional=both), theirs)


@pytest.mark.parametrize("kind", ["T5", "MT5", "LongT5", "SwitchTransformers"])
def test_an_encoder_and_a_decoder_each_have_one_table(kind):
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2
    )
    model = transformers.AutoModelForSeq2SeqLM.from_config(config)
    for part, both in ((model.encoder, True), (model.decoder, False)):
        bias = T5Bias.from_transformers(part)
        assert bias.bidirectional == both
        (theirs,) = [
            weight
            for name, weight in part.named_parameters()
            if name.endswith(".relative_attention_bias.weight")
        ]
        assert torch.equal(bias.weight, theirs)
    with pytest.raises(ValueError, match=r"one table .*; got 2: pass the encoder or"):
        T5Bias.from_transformers(model)
    with pytest.raises(ValueError, match=r"one table .*; got 0"):
        T5Bias.from_transformers(model.shared)


class Model(torch.nn.Module):
    """Something that has a bias among its parts."""

    def __init__(self, bidirectional):
        super().__init__()
        self.part = torch.nn.ModuleList([T5Bias(2, bidirectional=bidirectional)])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_a_table_of_the_other_direction_is_refused(both, assign, strict):
    source, same, other = Model(both), Model(both), Model(not both)
    torch.nn.init.normal_(source.part[0].weight)
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    assert list(saved) == ["part.0.weight"]
    same.load_state_dict(saved, strict=strict, assign=assign)
    assert torch.equal(same.part[0].weight, source.part[0].weight)
    with pytest.raises(
        RuntimeError,
        match=rf"part\.0\.weight must come .* bidirectional={not both}.*got .*={both}",
    ):
        other.load_state_dict(saved, strict=strict, assign=assign)
    assert not other.part[0].weight.any()


def test_after_to_empty_it_starts_anew():
    with torch.device("meta"):
        bias = T5Bias(2)
    bias = bias.to_empty(device="cpu")
    torch.nn.init.normal_(bias.weight)
    bias.reset_parameters()
    assert torch.equal(bias.weight, T5Bias(2).weight)
    assert not bias.weight.any()


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
        with pytest.raises(
            ValueError, match=f"^half .* got {buckets} .*{max_distance}"
        ):
            T5Bias(2, buckets=buckets, max_distance=max_distance)
    for buckets, max_distance in [(3, 128), (0, 128), (32, 8)]:
        with pytest.raises(ValueError, match=f"^a quarter .*got {buckets} .*"):
            T5Bias(2, buckets=buckets, max_distance=max_distance, bidirectional=True)
    for alibi_bias_max in (0, -1, math.inf):
        with pytest.raises(ValueError, match=f"alibi_bias_max .*got {alibi_bias_max}"):
            alibi_slopes(2, alibi_bias_max=alibi_bias_max)


def test_slopes_and_positions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"for each head; got the shape \(3,\) for 2"):
        alibi_bias(2, 3, slopes=torch.ones(3))
    for make in (lambda *sizes, **where: alibi_bias(2, *sizes, **where), T5Bias(2)):
        with pytest.raises(ValueError, match=r"all keys.*shape \(3,\) for 4 keys"):
            make(2, 4, positions=torch.arange(3))
        with pytest.raises(ValueError, match=r"got 4 queries and 3 keys"):
            make(4, positions=torch.arange(3))


def test_it_says_what_it_is():
    assert repr(T5Bias(2, buckets=8, max_distance=16)) == (
        "T5Bias(heads=2, buckets=8, max_distance=16)"
    )
    assert repr(T5Bias(2, bidirectional=True)) == (
        "T5Bias(heads=2, buckets=32, max_distance=128, bidirectional=True)"
    )


def test_the_buckets_are_those_of_t5_unless_told():
    distances = torch.arange(200)
    usual = t5_buckets(distances, buckets=32, max_distance=128)
    assert torch.equal(t5_buckets(distances), usual)
    assert repr(T5Bias(2)) == "T5Bias(heads=2, buckets=32, max_distance=128)"
