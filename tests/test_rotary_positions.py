"""Rotary positions: their laws, every way to call them, and four reference models."""

import cmath
import copy
import pickle

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers.models.cohere import modeling_cohere
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.gptj import modeling_gptj
from transformers.models.llama import modeling_llama
from transformers.models.mistral import modeling_mistral

from embeddings_lib import (
    RotaryPositions,
    rotary_from_config,
    rotate,
    to_halves,
    to_pairs,
)
from embeddings_lib.attention import attention

LAYOUTS = ["halves", "pairs"]
layouts = st.sampled_from(LAYOUTS)
halves = st.integers(1, 8)
seeds = st.integers(0, 1000)


def normal(seed, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def angles_of(positions, head_dim, base=10_000.0):
    """Position × rate in float64, in radians."""
    rates = [base ** (-2 * i / head_dim) for i in range(head_dim // 2)]
    return positions[..., None].double() * torch.tensor(rates, dtype=torch.float64)


# The rotation itself


@given(seeds, halves, layouts, st.integers(0, 2))
def test_each_pair_is_multiplied_by_a_complex_number(seed, pairs, layout, unturned):
    x = normal(seed, 3, 2, 2 * pairs + unturned, dtype=torch.float64)
    angles = 10 * normal(seed + 1, 3, pairs, dtype=torch.float64)
    turned = rotate(x, angles, layout=layout)
    for t in range(3):
        for head in range(2):
            for i in range(pairs):
                one, other = (2 * i, 2 * i + 1) if layout == "pairs" else (i, i + pairs)
                before = complex(x[t, head, one], x[t, head, other])
                after = before * cmath.exp(1j * angles[t, i].item())
                found = complex(turned[t, head, one], turned[t, head, other])
                assert abs(found - after) < 1e-12
    assert torch.equal(turned[..., 2 * pairs :], x[..., 2 * pairs :])


@given(seeds, halves, layouts)
def test_turning_keeps_the_length_of_every_pair(seed, pairs, layout):
    x = normal(seed, 3, 2, 2 * pairs, dtype=torch.float64)
    turned = rotate(x, normal(seed, 3, pairs, dtype=torch.float64), layout=layout)
    assert_close(turned.norm(dim=-1), x.norm(dim=-1))


@given(seeds, halves, layouts)
def test_turning_twice_is_turning_by_the_sum(seed, pairs, layout):
    x = normal(seed, 3, 2, 2 * pairs, dtype=torch.float64)
    a, b = normal(seed + 1, 2, 3, pairs, dtype=torch.float64)
    twice = rotate(rotate(x, a, layout=layout), b, layout=layout)
    assert_close(twice, rotate(x, a + b, layout=layout))
    assert_close(rotate(rotate(x, a, layout=layout), -a, layout=layout), x)


def test_angles_that_are_learned_get_a_gradient():
    x = normal(0, 2, 1, 4, dtype=torch.float64).requires_grad_()
    angles = normal(1, 2, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(rotate, (x, angles))


# Queries and keys


@given(
    seeds,
    halves,
    layouts,
    st.integers(0, 2**19 - 1),
    st.integers(0, 2**19 - 1),
    st.integers(0, 2**19 - 1),
)
def test_a_score_depends_on_the_distance_only(seed, pairs, layout, m, n, further):
    rotary = RotaryPositions(2 * pairs, layout=layout)
    q, k = (normal(seed + i, 2, 1, 2 * pairs) for i in (0, 1))
    q[1], k[1] = q[0], k[0]
    turned_q, _ = rotary(q, k, torch.tensor([m, m + further]))
    _, turned_k = rotary(q, k, torch.tensor([n, n + further]))
    here, there = (turned_q * turned_k).sum(dim=-1)
    scale = q[0].norm() * k[0].norm()
    assert (here - there).abs() < 1e-6 * scale


@given(seeds, halves, layouts)
def test_the_token_at_position_0_stays_as_it_is(seed, pairs, layout):
    q, k = normal(seed, 2, 1, 3, 2 * pairs)
    turned = RotaryPositions(2 * pairs, layout=layout)(q, k)
    assert torch.equal(turned[0], q)
    assert torch.equal(turned[1], k)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rotary_dim", [None, 4])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("with_gradient", [False, True])
@pytest.mark.parametrize("offset", [0, 1020, 1_048_570])
def test_however_it_is_called_it_is_the_formula_in_float64(
    layout, rotary_dim, inplace, with_gradient, offset
):
    rotary = RotaryPositions(12, layout=layout, rotary_dim=rotary_dim)
    q, k = normal(0, 2, 6, 3, 12), normal(1, 2, 6, 1, 12)
    angles = angles_of(torch.arange(offset, offset + 6), rotary_dim or 12)
    expected = [rotate(x.double(), angles, layout=layout).float() for x in (q, k)]
    given_q, given_k = q.clone(), k.clone()
    if with_gradient:
        given_q, given_k = (x.requires_grad_().clone() for x in (given_q, given_k))
    found = rotary(given_q, given_k, offset=offset, inplace=inplace)
    assert_close(list(found), expected, rtol=0, atol=2e-6)
    if not inplace:
        assert torch.equal(given_q, q)
        assert torch.equal(given_k, k)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)]
)
def test_a_long_text_is_turned_slab_by_slab(layout, inplace, dtype, atol):
    rotary = RotaryPositions(64, layout=layout)
    q = normal(0, 2, 700, 8, 64, dtype=dtype)
    positions = torch.stack([torch.arange(700), torch.arange(5000, 5700)])
    exact = rotate(q.double(), angles_of(positions, 64), layout=layout)
    before = q.clone()
    turned, _ = rotary(q, q.clone(), positions, inplace=inplace)
    assert_close(turned.double(), exact, rtol=0, atol=atol)
    assert (turned is q) == inplace
    assert inplace or torch.equal(q, before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_part_of_one_projection_need_not_be_contiguous(layout):
    rotary = RotaryPositions(4, layout=layout)
    joined = normal(0, 2, 5, 3 * 4 + 3)
    q, k = joined[..., :12].unflatten(-1, (3, 4)), joined[..., 3:].unflatten(-1, (3, 4))
    expected = rotary(q.contiguous(), k.contiguous())
    assert_close(rotary(q, k), expected)
    by_heads = [x.transpose(-3, -2).contiguous().transpose(-3, -2) for x in (q, k)]
    assert_close(rotary(*by_heads), expected)
    every_other = torch.stack([q, k], dim=-1)
    assert_close(rotary(every_other[..., 0], every_other[..., 1]), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("size", "stride", "start"),
    [
        ((3, 1, 4), (1, 1, 0), 0),  # one number, seen as four
        ((5, 1, 2), (3, 3, 1), 0),  # pairs that start at odd places
        ((1, 1, 2), (0, 0, 1), 1),
    ],
)
def test_any_strides_will_do(layout, size, stride, start):
    rotary, numbers = RotaryPositions(size[-1], layout=layout), normal(0, 20)
    view = numbers.as_strided(size, stride, start)
    expected = rotary(view.contiguous(), view.contiguous(), offset=7)
    assert_close(rotary(view, view, offset=7), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_token_of_many_texts_is_turned_as_in_one(layout, dtype):
    rotary = RotaryPositions(64, layout=layout)
    q = normal(0, 4096, 1, 2, 64, dtype=dtype)
    turned, _ = rotary(q, q.clone(), offset=9)
    assert_close(turned[7], rotary(q[7], q[7].clone(), offset=9)[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_sample_may_have_positions_of_its_own(layout):
    rotary = RotaryPositions(8, layout=layout)
    q, k = normal(0, 2, 2, 3, 1, 8)
    positions = torch.tensor([[0, 1, 2], [7, 5, 3000]])
    together = rotary(q, k, positions)
    for sample in range(2):
        angles = angles_of(positions[sample], 8)
        for x, turned in zip((q, k), together, strict=True):
            alone = rotate(x[sample].double(), angles, layout=layout).float()
            assert_close(turned[sample], alone, rtol=0, atol=2e-6)
    for_all = rotary(q, k, positions[:1])
    assert_close(for_all, rotary(q, k, positions[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("chunk", [1, 3])
def test_decoding_with_a_cache_is_the_full_pass(layout, chunk):
    rotary = RotaryPositions(8, layout=layout)
    q, k, v = normal(0, 3, 1, 7, 2, 8)
    full = attention(*rotary(q, k), v)
    keys, rows = [], []
    for start in range(0, 7, chunk):
        new = slice(start, start + chunk)
        turned_q, turned_k = rotary(q[:, new], k[:, new], offset=start)
        keys.append(turned_k)
        rows.append(attention(turned_q, torch.cat(keys, dim=1), v[:, : start + chunk]))
    assert_close(torch.cat(rows, dim=1), full, rtol=0, atol=1e-6)


# One at a time


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("inplace", [False, True])
def test_one_tensor_may_be_turned_alone(layout, dtype, inplace):
    rotary = RotaryPositions(12, layout=layout, rotary_dim=8)
    x = normal(0, 2, 5, 3, 12, dtype=dtype)
    positions = torch.tensor([[0, 1, 2, 3, 4], [9, 1023, 1024, 7, 1_000_003]])
    for where, places in (
        ({}, torch.arange(5)),
        ({"offset": 70_000}, torch.arange(70_000, 70_005)),
        ({"positions": positions}, positions),
    ):
        exact = rotate(x.double(), angles_of(places, 8), layout=layout)
        given_x = x.clone()
        found = rotary.rotate(given_x, **where, inplace=inplace)
        step = torch.finfo(dtype).eps / 2
        assert ((found.double() - exact).abs() <= step * exact.abs() + 2e-6).all()
        assert found.dtype == dtype
        assert inplace or torch.equal(given_x, x)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keys_that_are_cached_before_they_turn_are_turned_at_their_own_places(layout):
    rotary = RotaryPositions(8, layout=layout)
    q, k, v = normal(0, 3, 2, 7, 2, 8)
    full = attention(*rotary(q, k), v)
    for t in range(7):
        newest, keys = q[:, t : t + 1], k[:, : t + 1]
        turned = rotary.rotate(newest, offset=t), rotary.rotate(keys)
        row = attention(*turned, v[:, : t + 1])
        assert_close(row, full[:, t : t + 1], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("where", [{}, {"offset": 9}, {"positions": [[4, 0, 99]]}])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_heads_may_stand_before_the_text(layout, where, inplace, compiled):
    if "positions" in where:
        where = {"positions": torch.tensor(where["positions"])}
    rotary = RotaryPositions(8, layout=layout)
    q, k = normal(0, 2, 3, 4, 8), normal(1, 2, 3, 2, 8)  # four heads, and two
    expected = rotary(q, k, **where)
    by_heads = tuple(x.transpose(1, 2).clone() for x in (q, k))
    call = torch.compile(rotary, backend="eager") if compiled else rotary
    found = call(
        *(x.clone() for x in by_heads), **where, inplace=inplace, heads_first=True
    )
    alone = rotary.rotate(by_heads[0], **where, heads_first=True)
    assert_close(found, tuple(x.transpose(1, 2) for x in expected), rtol=0, atol=2e-6)
    assert_close(alone, found[0], rtol=0, atol=2e-6)


def test_with_heads_first_it_takes_what_transformers_takes():
    q, k = normal(0, 2, 4, 1024, 64), normal(1, 2, 2, 1024, 64)
    embedding = modeling_llama.LlamaRotaryEmbedding(llama_config())
    cos, sin = embedding(q, torch.arange(1024)[None])
    theirs = modeling_llama.apply_rotary_pos_emb(q, k, cos, sin)
    assert_close(RotaryPositions(64)(q, k, heads_first=True), theirs, **FLOAT32_ANGLES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_its_first_and_second_derivatives_are_right(layout):
    rotary = RotaryPositions(6, layout=layout, rotary_dim=4)
    q, k = normal(0, 2, 2, 1, 6, dtype=torch.float64)
    q.requires_grad_(), k.requires_grad_()
    assert torch.autograd.gradcheck(rotary, (q, k))
    assert torch.autograd.gradgradcheck(rotary, (q, k))


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:DeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_function_transforms_go_through(layout):
    rotary = RotaryPositions(4, layout=layout)
    x = normal(0, 5, 3, 1, 4)
    rows = torch.func.vmap(lambda q: rotary(q, q)[0])(x)
    assert_close(rows, rotary(x, x)[0])
    _, tangent = torch.func.jvp(lambda q: rotary(q, q)[0], (x,), (x,))
    assert_close(tangent, rotary(x, x)[0])  # a rotation is linear
    bend = torch.func.hessian(lambda q: (rotary(q, q)[0] ** 2).sum() / 2)(x[0])
    assert_close(bend.reshape(12, 12), torch.eye(12))  # and keeps lengths


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "step"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)]
)
@pytest.mark.parametrize("with_gradient", [False, True])
def test_16_bits_are_rounded_once(layout, dtype, step, with_gradient):
    rotary = RotaryPositions(64, layout=layout).to(dtype)
    q, k = normal(0, 2, 5, 2, 64, dtype=dtype)
    q.requires_grad_(with_gradient)
    positions = torch.tensor([0, 1, 1000, 65_535, 1_000_003])
    turned, _ = rotary(q, k, positions)
    assert turned.dtype == dtype
    exact = rotate(q.double(), angles_of(positions, 64), layout=layout)
    assert ((turned.double() - exact).abs() <= step * exact.abs() + 1e-6).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_autocast_changes_nothing(layout):
    rotary = RotaryPositions(8, layout=layout)
    q, k = normal(0, 2, 3, 1, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(rotary(q, k), rotary(q, k), rtol=0, atol=0)
        assert rotary(q, k)[0].dtype == torch.float32


def test_after_inference_it_trains():
    rotary = RotaryPositions(4)
    q = normal(0, 3, 1, 4)
    with torch.inference_mode():
        rotary(q, q)
    weight = torch.ones(4, requires_grad=True)
    rotary(q * weight, q)[0].sum().backward()
    assert weight.grad.isfinite().all()


def test_it_has_no_weights_and_its_copies_are_the_same():
    rotary = RotaryPositions(8, base=500_000.0, layout="pairs", rotary_dim=4)
    assert list(rotary.state_dict()) == []
    q, k = normal(0, 2, 3, 1, 8)
    for other in (copy.deepcopy(rotary), pickle.loads(pickle.dumps(rotary))):
        assert_close(other(q, k), rotary(q, k), rtol=0, atol=0)


def test_scaling_maps_the_rates():
    slower = RotaryPositions(8, scaling=lambda rates: rates / 4)
    q, k = normal(0, 2, 3, 1, 8)
    positions = torch.tensor([0, 4, 40])
    expected = RotaryPositions(8)(q, k, positions // 4)
    assert_close(slower(q, k, positions), expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiled_it_is_one_graph_for_every_offset(layout, graphs):
    rotary = RotaryPositions(8, layout=layout, rotary_dim=6)
    compiled = torch.compile(rotary, fullgraph=True, backend=graphs.keep, dynamic=True)
    q, k = normal(0, 2, 1, 4, 2, 8)
    for offset in (2, 3, 500, 1023, 1024, 70_000, 1_048_571):
        found = compiled(q, k, offset=offset)
        assert_close(found, rotary(q, k, offset=offset), rtol=0, atol=2e-6)
    assert len(graphs) == 1
    positions = torch.tensor([3, 1, 70_000, 0])
    assert_close(compiled(q, k, positions), rotary(q, k, positions), rtol=0, atol=2e-6)


@pytest.mark.parametrize("layout", ["halves", "pairs"])
def test_the_code_for_the_compiler_computes_the_same(layout, monkeypatch):
    rotary = RotaryPositions(8, rotary_dim=4, layout=layout)
    q, k = torch.randn(2, 2, 5, 3, 8)
    positions = torch.randint(1_000_000, (2, 5))
    named, counted = rotary(q, k, positions), rotary(q, k, offset=1_021)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert_close(rotary(q, k, positions), named, rtol=0, atol=2e-6)
    assert_close(rotary(q, k, offset=1_021), counted, rtol=0, atol=2e-6)


@pytest.mark.usefixtures("as_users_call_it")
# PyTorch 2.6 warns of tables that are no buffers, and exports them.
@pytest.mark.filterwarnings("ignore:.*get_attr:UserWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_exported_it_gives_the_same(layout):
    rotary = RotaryPositions(8, layout=layout)
    q, k = normal(0, 2, 1, 4, 2, 8)
    positions = torch.tensor([3, 1, 70_000, 0])
    exported = torch.export.export(rotary, (q, k, positions)).module()
    assert_close(exported(q, k, positions), rotary(q, k, positions), rtol=0, atol=2e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_gpu_turns_the_same(layout):
    rotary = RotaryPositions(64, layout=layout)
    q, k = normal(0, 2, 2, 5, 3, 64)
    expected = rotary(q, k, offset=1_000_000)
    found = rotary.cuda()(q.cuda(), k.cuda(), offset=1_000_000)
    assert_close([x.cpu() for x in found], list(expected), rtol=0, atol=2e-6)


# The two layouts


@given(seeds, st.integers(1, 3), halves, st.booleans())
def test_reordered_projections_give_the_same_scores(seed, heads, pairs, partial):
    head_dim = 2 * pairs
    rotary_dim = 2 * max(1, pairs // 2) if partial else None
    x = normal(seed, 5, 7, dtype=torch.float64)
    w_q, w_k = normal(seed + 1, 2, heads * head_dim, 7, dtype=torch.float64)
    b_q, b_k = normal(seed + 2, 2, heads * head_dim, dtype=torch.float64)

    def scores(layout, change):
        rotary = RotaryPositions(head_dim, layout=layout, rotary_dim=rotary_dim)
        q, k = (
            (x @ change(w).T + change(b)).unflatten(-1, (heads, head_dim))
            for w, b in ((w_q, b_q), (w_k, b_k))
        )
        q, k = rotary(q, k)
        return torch.einsum("qhd,khd->hqk", q, k)

    own = scores("halves", lambda w: w)
    moved = scores("pairs", lambda w: to_pairs(w, head_dim, rotary_dim=rotary_dim))
    assert_close(moved, own, rtol=0, atol=1e-9 * head_dim * 100)


@given(seeds, st.integers(1, 3), halves)
def test_to_halves_undoes_to_pairs(seed, heads, pairs):
    weight = normal(seed, heads * 2 * pairs, 3)
    there = to_pairs(weight, 2 * pairs)
    assert torch.equal(to_halves(there, 2 * pairs), weight)
    assert_close(there.sort(dim=0).values, weight.sort(dim=0).values)


def test_the_wrong_layout_changes_scores_and_raises_nothing():
    q, k = normal(0, 2, 5, 1, 8)
    scores = [
        torch.einsum("qhd,khd->hqk", *RotaryPositions(8, layout=layout)(q, k))
        for layout in LAYOUTS
    ]
    assert (scores[0] - scores[1]).abs().max() > 0.5


# Reference models. They compute angles in float32, which are wrong by up to 6e-5 radian
# at position 1,000; features near 4 then differ by up to 3e-4.
FLOAT32_ANGLES = {"rtol": 0, "atol": 3e-4}


def llama_config(**rope):
    parameters = {"rope_type": "default", "rope_theta": 10_000.0} | rope
    sizes = {"hidden_size": 4 * 64, "num_attention_heads": 4, "head_dim": 64}
    return transformers.LlamaConfig(
        **sizes, max_position_embeddings=1024, rope_parameters=parameters
    )


YARN = {
    "rope_type": "yarn",
    "factor": 8.0,
    "original_max_position_embeddings": 128,
}


@pytest.mark.parametrize("rope", [{}, {"rope_theta": 500_000.0}, YARN], ids=str)
def test_its_tables_are_those_of_transformers_under_their_names(rope):
    config = llama_config(**rope)
    theirs = modeling_llama.LlamaRotaryEmbedding(config)
    ours = rotary_from_config(config)
    assert_close(ours.inv_freq.float(), theirs.inv_freq)
    assert ours.attention_scaling == theirs.attention_scaling
    positions = torch.stack([torch.arange(1024), torch.arange(1024).flip(0)])
    x = torch.ones(1)
    assert_close(ours.cos_sin(positions), theirs(x, positions), **FLOAT32_ANGLES)


def test_for_pairs_its_tables_are_those_of_cohere():
    sizes = {"hidden_size": 4 * 64, "num_attention_heads": 4}
    theirs = modeling_cohere.CohereRotaryEmbedding(transformers.CohereConfig(**sizes))
    positions = torch.arange(1024)[None]
    ours = RotaryPositions(64, layout="pairs", base=500_000.0)
    assert_close(ours.inv_freq.float(), theirs.inv_freq)
    x = torch.ones(1)
    assert_close(ours.cos_sin(positions), theirs(x, positions), **FLOAT32_ANGLES)


@given(seeds, halves, layouts, st.sampled_from([1.0, 1.25]))
def test_its_tables_say_in_float64_precision_how_it_turns(seed, pairs, layout, grown):
    rotary = RotaryPositions(2 * pairs, layout=layout, attention_factor=grown)
    positions = torch.tensor([0, 1, 1024, 1_000_003])
    assert rotary.attention_scaling == grown
    angles = positions[:, None] * rotary.inv_freq
    cos, sin = rotary.cos_sin(positions)
    x = normal(seed, 4, 1, 2 * pairs, dtype=torch.float64)
    quarter = rotate(x, torch.full((4, pairs), torch.pi / 2).double(), layout=layout)
    turned = x * cos[:, None] + quarter * sin[:, None]
    exact = grown * rotate(x, angles, layout=layout)
    assert_close(turned, exact, rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    ("config", "module", "embedding"),
    [
        (transformers.LlamaConfig, modeling_llama, "LlamaRotaryEmbedding"),
        (transformers.MistralConfig, modeling_mistral, "MistralRotaryEmbedding"),
    ],
)
@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
def test_halves_are_llama_and_mistral(config, module, embedding, base):
    parameters = {"rope_type": "default", "rope_theta": base}
    sizes = {"hidden_size": 4 * 64, "num_attention_heads": 4, "head_dim": 64}
    settings = config(**sizes, num_key_value_heads=2, rope_parameters=parameters)
    q, k = normal(0, 2, 1024, 4, 64), normal(1, 2, 1024, 2, 64)
    cos, sin = getattr(module, embedding)(settings)(q, torch.arange(1024)[None])
    theirs = module.apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2)
    assert_close(RotaryPositions(64, base=base)(q, k), theirs, **FLOAT32_ANGLES)


def test_partial_halves_are_gpt_neox():
    settings = transformers.GPTNeoXConfig(
        hidden_size=4 * 64,
        num_attention_heads=4,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "partial_rotary_factor": 0.25,
        },
    )
    q, k = normal(0, 2, 2, 1024, 4, 64)
    embedding = modeling_gpt_neox.GPTNeoXRotaryEmbedding(settings)
    cos, sin = embedding(q, torch.arange(1024)[None])
    theirs = modeling_gpt_neox.apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2)
    ours = RotaryPositions(64, rotary_dim=16)(q, k)
    assert_close(ours, theirs, **FLOAT32_ANGLES)


def test_partial_pairs_are_gpt_j():
    q, k = normal(0, 2, 2, 1024, 4, 64)
    sin, cos = modeling_gptj.create_sinusoidal_positions(1024, 16)[None].chunk(
        2, dim=-1
    )
    theirs = tuple(
        torch.cat(
            [modeling_gptj.apply_rotary_pos_emb(x[..., :16], sin, cos), x[..., 16:]], -1
        )
        for x in (q, k)
    )
    ours = RotaryPositions(64, rotary_dim=16, layout="pairs")(q, k)
    assert_close(ours, theirs, **FLOAT32_ANGLES)


# What is refused


@pytest.mark.parametrize("head_dim", [-2, 0, 5])
def test_an_odd_head_is_refused_with_the_reason(head_dim):
    message = (
        f"head_dim must be even, because features rotate in pairs; got {head_dim}$"
    )
    with pytest.raises(ValueError, match=message):
        RotaryPositions(head_dim)
    with pytest.raises(ValueError, match=message):
        to_pairs(torch.ones(10), head_dim)


@pytest.mark.parametrize("rotary_dim", [-2, 0, 3, 10])
def test_a_part_that_cannot_rotate_is_refused(rotary_dim):
    with pytest.raises(ValueError, match=f"got {rotary_dim} with head_dim 8"):
        RotaryPositions(8, rotary_dim=rotary_dim)


def test_an_unknown_layout_is_refused():
    for call in (
        lambda: RotaryPositions(8, layout="interleaved"),
        lambda: rotate(torch.ones(1, 1, 2), torch.ones(1, 1), layout="interleaved"),
    ):
        with pytest.raises(ValueError, match=r"'halves' or 'pairs'.*'interleaved'"):
            call()


def test_more_angles_than_pairs_are_refused():
    with pytest.raises(ValueError, match="got 3 angles for 4 features"):
        rotate(torch.ones(1, 2, 1, 4), torch.ones(1, 2, 3))


def test_rows_that_are_no_whole_heads_are_refused():
    with pytest.raises(ValueError, match="got 10 rows and head_dim 4"):
        to_halves(torch.ones(10, 3), 4)


META = {"device": "meta"}
REFUSED = [
    ((2, 3, 1, 6), (2, 3, 1, 6), None, {}, ValueError, r"got \(2, 3, 1, 6\) with"),
    ((3, 8), (3, 8), None, {}, ValueError, r"shape \(\*batch, seq, heads, head_dim\)"),
    # Heads before seq: told by the keys' fewer heads, or by the positions.
    (
        (2, 4, 7, 8),
        (2, 2, 7, 8),
        None,
        {},
        ValueError,
        r"same batch.*heads_first=True, or .*\.transpose",
    ),
    (
        (2, 4, 7, 8),
        (2, 4, 7, 8),
        (7,),
        {},
        ValueError,
        r"positions must have.*heads_first=True, or .*\.transpose",
    ),
    # Seq before heads, though heads_first says otherwise.
    (
        (2, 7, 4, 8),
        (2, 7, 2, 8),
        None,
        {"heads_first": True},
        ValueError,
        r"got \(2, 7, 4, 8\) and \(2, 7, 2, 8\), with heads_first=True",
    ),
    (
        (2, 7, 4, 8),
        (2, 7, 4, 8),
        (7,),
        {"heads_first": True},
        ValueError,
        r"q of shape \(2, 7, 4, 8\), with heads_first=True$",
    ),
    # Keys of a cache.
    ((2, 1, 4, 8), (2, 7, 4, 8), None, {}, ValueError, "differ in length, .* rotate$"),
    ((2, 7, 4, 8), (2, 7, 4, 8), (3, 7), {}, ValueError, r"got \(3, 7\) and q of"),
    ((2, 7, 4, 8), (2, 7, 4, 8), (7,), {"offset": 5}, ValueError, "both, and offset 5"),
    ((7, 4, 8), (7, 4, 8), None, {"offset": -1}, IndexError, "7 tokens from .* -1:"),
    ((7, 4, 8), (7, 4, 8), None, {"offset": 2**20 - 6}, IndexError, "0 to 1048575"),
]


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(("q", "k", "positions", "options", "kind", "words"), REFUSED)
def test_shapes_and_places_that_do_not_fit_are_refused(
    q, k, positions, options, kind, words
):
    places = None if positions is None else torch.ones(positions, dtype=torch.int64)
    with pytest.raises(kind, match=words):
        RotaryPositions(8)(torch.ones(q), torch.ones(k), places, **options)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize(
    ("positions", "kind", "words"),
    [
        ([0, 1, 2], TypeError, r"got list: wrap it in torch\.tensor"),
        (torch.arange(3.0), TypeError, r"int64 or int32; got torch\.float32"),
        (torch.tensor([0, -1, 2]), IndexError, r"0 to 1048575.*got -1 at index \(1,\)"),
        (torch.tensor([0, 1, 2**20]), IndexError, "reach no further; got 1048576"),
    ],
)
def test_positions_that_it_cannot_turn_by_are_refused(positions, kind, words):
    rotary, x = RotaryPositions(8), torch.ones(3, 1, 8)
    for call in (
        lambda: rotary(x, x, positions),
        lambda: rotary.rotate(x, positions),
        lambda: rotary.cos_sin(positions),
    ):
        with pytest.raises(kind, match=f"^positions must be .*{words}"):
            call()


@pytest.mark.usefixtures("as_users_call_it")
def test_one_tensor_that_does_not_fit_is_refused_by_its_name():
    rotary, x = RotaryPositions(8), torch.ones(3, 1, 8)
    with pytest.raises(ValueError, match=r"^x must have the shape.*got \(3, 1, 7\)"):
        rotary.rotate(x[..., 1:])
    with pytest.raises(ValueError, match=r"\(\*batch, heads, seq, head_dim\)"):
        rotary.rotate(x[0], heads_first=True)
    with pytest.raises(TypeError, match=r"^x must .*floating-point.*got torch\.int64$"):
        rotary.rotate(x.long())
    with pytest.raises(ValueError, match=r"got \(4,\) and x of shape \(3, 1, 8\)"):
        rotary.rotate(x, torch.arange(4))


@pytest.mark.usefixtures("as_users_call_it")
def test_devices_and_dtypes_that_do_not_fit_are_refused():
    rotary, x = RotaryPositions(8), torch.ones(3, 1, 8)
    with pytest.raises(
        ValueError, match=r"got meta and a module on cpu: .*to\('meta'\)"
    ):
        rotary(x.to("meta"), x.to("meta"))
    with pytest.raises(TypeError, match=r"got torch\.float32 and torch\.bfloat16"):
        rotary(x, x.bfloat16())
    with pytest.raises(TypeError, match="one floating-point dtype"):
        rotary(x.int(), x.int())
    with pytest.raises(ValueError, match="positions on meta and a table on cpu"):
        rotary(x, x, torch.arange(3, device="meta"))


def test_it_says_what_it_is():
    assert "head_dim=8, base=10000.0, rotary_dim=4, layout='pairs'" in repr(
        RotaryPositions(8, rotary_dim=4, layout="pairs")
    )
