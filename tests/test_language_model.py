import copy
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch.testing import assert_close

from embeddings_lib import (
    InputEmbedding,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    T5Bias,
    TinyLM,
    TokenEmbedding,
    alibi_bias,
)
from embeddings_lib.llama import left_pad
from embeddings_lib.training import train

VOCAB, DIM, HEADS = 7, 16, 2


def model(scheme="rotary", seed=0, **options):
    torch.manual_seed(seed)
    positions = {
        "learned": lambda: LearnedPositions(12, DIM),
        "sinusoidal": lambda: SinusoidalPositions(DIM),
    }.get(scheme, lambda: None)()
    if scheme == "rotary":
        options["rotary"] = RotaryPositions(DIM // HEADS)
    if scheme == "ALiBi":
        options["bias"] = partial(alibi_bias, HEADS)
    if scheme == "T5":
        options["bias"] = T5Bias(HEADS, buckets=6, max_distance=9)
        torch.nn.init.normal_(options["bias"].weight)
    if scheme == "bias":
        options["bias"] = lambda seq_q, seq_k: (
            -torch.ones(HEADS, seq_q, seq_k).cumsum(1)
        )
    inputs = InputEmbedding(TokenEmbedding(VOCAB, DIM), positions)
    return TinyLM(inputs, heads=HEADS, **options)


WITH_POSITIONS = ["none", "learned", "sinusoidal", "rotary", "ALiBi", "T5"]
SCHEMES = [*WITH_POSITIONS, "bias"]


def text(*shape, seed=0):
    return torch.randint(0, VOCAB, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_score_sees_no_later_token(scheme):
    lm, tokens = model(scheme), text(2, 8)
    changed = tokens.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % VOCAB
    before, after = lm(tokens), lm(changed)
    assert_close(before[:, :5], after[:, :5])
    assert (before[:, 5:] - after[:, 5:]).abs().max() > 1e-4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_learns_what_follows_what(scheme):
    torch.manual_seed(1)
    rule = torch.randperm(VOCAB)
    tokens = torch.arange(VOCAB)[:, None]
    for _ in range(8):
        tokens = torch.cat([tokens, rule[tokens[:, -1:]]], dim=1)
    losses = train(model(scheme), [tokens] * 60, lr=1e-2)
    assert losses[0] > 1.5
    assert losses[-1] < 0.1


def test_its_loss_is_the_cross_entropy_of_each_next_token():
    lm, tokens = model(), text(2, 3, 6)
    losses = lm.losses(tokens)
    assert losses.shape == (2, 3, 5)
    chances = lm(tokens).softmax(dim=-1)
    for t in range(5):
        chance = chances[1, 2, t, tokens[1, 2, t + 1]]
        assert_close(losses[1, 2, t], -chance.log())
    assert_close(
        losses.mean(),
        F.cross_entropy(
            lm(tokens)[..., :-1, :].flatten(0, 2), tokens[..., 1:].flatten()
        ),
    )


def test_a_tied_head_is_the_table_and_not_a_copy():
    lm = model(tied=True)
    table = lm.inputs.token_table.weight
    assert lm.head.weight is table
    train(lm, [text(4, 8)] * 3)
    assert lm.head.weight is table
    with torch.no_grad():
        table[3] += 1.0
    assert torch.equal(lm.head.weight[3], lm.inputs(torch.tensor([3]))[0])
    one, two = (
        sum(w.numel() for w in model(tied=tied).parameters()) for tied in (True, False)
    )
    assert two - one == VOCAB * DIM


def test_without_positions_a_set_of_earlier_tokens_is_read_by_one_layer():
    tokens = text(1, 6)
    shuffled = tokens[:, [3, 0, 4, 1, 2, 5]]
    for scheme in SCHEMES:
        lm = model(scheme, layers=1).double()
        difference = (lm(tokens)[0, -1] - lm(shuffled)[0, -1]).abs().max()
        blind = scheme in ("none", "bias")  # this bias is the same for every key
        assert (difference < 1e-9) == blind, scheme


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_text_is_read_alone_whatever_the_batch(scheme):
    lm, tokens = model(scheme), text(2, 3, 6)
    assert_close(lm(tokens)[1, 2], lm(tokens[1, 2]))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("sizes", [[1] * 9, [3, 1, 4, 1], [8, 1]])
def test_read_in_parts_with_a_cache_it_is_read_at_once(scheme, sizes):
    lm, tokens, cache = model(scheme).double(), text(2, 9), []
    parts = [lm(part, cache=cache) for part in tokens.split(sizes, dim=1)]
    assert_close(torch.cat(parts, dim=1), lm(tokens))
    assert [(k.shape, v.shape) for k, v in cache] == [((2, 9, 2, 8),) * 2] * 2


def padded():
    """Three texts that end together, where each token stands, and which are real."""
    tokens, real = left_pad([text(n, seed=n).tolist() for n in (7, 2, 4)])
    return tokens, (real.cumsum(-1) - 1).clamp(min=0), real


@pytest.mark.parametrize("scheme", WITH_POSITIONS)
def test_a_padded_text_is_read_as_alone(scheme):
    lm = model(scheme).double()
    tokens, positions, real = padded()
    together = lm(tokens, positions=positions, mask=real[:, None])
    for row, is_real, scores in zip(tokens, real, together, strict=True):
        assert_close(scores[is_real], lm(row[is_real]))
    together[real].square().sum().backward()
    assert all(w.grad.isfinite().all() for w in lm.parameters() if w.grad is not None)


@pytest.mark.parametrize("scheme", WITH_POSITIONS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_padded_texts_go_on_with_a_cache(scheme, dtype):
    lm, cache = model(scheme).to(dtype), []
    tokens, positions, real = padded()
    mask, rows = real[:, None], []
    at_once = lm(tokens, positions=positions, mask=mask)
    for start, end in ((0, 5), (5, 6), (6, 7)):
        new = slice(start, end)
        places, seen = positions[:, new], mask[..., :end]
        rows.append(lm(tokens[:, new], positions=places, mask=seen, cache=cache))
    steps = 0 if dtype == torch.float64 else 4 * torch.finfo(dtype).eps
    found, expected = torch.cat(rows, dim=1)[real], at_once[real]
    assert_close(found, expected, rtol=steps + 1e-9, atol=steps + 1e-9)


@pytest.mark.parametrize("scheme", WITH_POSITIONS)
def test_packed_texts_are_read_as_each_alone(scheme):
    lm = model(scheme).double()
    texts = [text(length, seed=length) for length in (4, 1, 6)]
    number = torch.tensor([0] * 4 + [1] + [2] * 6)
    packed = lm(
        torch.cat(texts),
        positions=torch.cat([torch.arange(len(one)) for one in texts]),
        mask=number[:, None] == number,
    )
    assert_close(packed, torch.cat([lm(one) for one in texts]))


@pytest.mark.parametrize("scheme", WITH_POSITIONS)
def test_positions_may_have_gaps_as_if_tokens_between_were_hidden(scheme):
    lm, tokens = model(scheme).double(), text(2, 9)
    seen = torch.tensor([True, False, True, True, False, False, True, False, True])
    positions = torch.arange(9)[seen]
    alone = lm(tokens[:, seen], positions=positions)
    assert_close(alone, lm(tokens, mask=seen)[:, seen])
    if scheme != "none":
        assert not torch.allclose(alone, lm(tokens[:, seen]), atol=1e-3)


@pytest.mark.parametrize("scheme", WITH_POSITIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_16_bits_it_is_the_same_model_up_to_their_rounding(scheme, dtype):
    exact = model(scheme).to(dtype).double()
    lm = copy.deepcopy(exact).to(dtype)
    tokens, positions, real = padded()
    found = lm(tokens, positions=positions, mask=real[:, None])
    expected = exact(tokens, positions=positions, mask=real[:, None])
    assert found.dtype == dtype
    error = (found.double() - expected)[real].abs().max()
    assert error < 8 * torch.finfo(dtype).eps * expected[real].abs().max()


def test_a_call_that_fails_leaves_the_cache_as_it_was():
    lm, cache = model(), []
    lm(text(2, 3), cache=cache)
    before = list(cache)
    with pytest.raises(RuntimeError):
        lm(text(2, 1), mask=torch.ones(2, 1, 7, dtype=torch.bool), cache=cache)
    assert len(before) == len(cache)
    assert all(one is other for one, other in zip(before, cache, strict=True))


# The name of a weight in transformers' GPT-2 -> in ours.
GPT2_NAMES = {
    "transformer.wte": "inputs.token_table",
    "transformer.wpe": "inputs.positions",
    "transformer.h": "blocks",
    "transformer.ln_f": "norm",
    "lm_head": "head",
    "attn.c_attn": "qkv",
    "attn.c_proj": "out",
    "mlp.c_fc": "up",
    "mlp.c_proj": "down",
    "ln_1": "norm_1",
    "ln_2": "norm_2",
}


@pytest.fixture
def gpt2():
    """A random GPT-2 of transformers, and the same model of ours."""
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=VOCAB,
            n_positions=12,
            n_embd=DIM,
            n_layer=2,
            n_head=HEADS,
            activation_function="gelu",
        )
    ).eval()
    weights = {}
    for name, weight in theirs.state_dict().items():
        ours = re.sub("|".join(GPT2_NAMES), lambda match: GPT2_NAMES[match[0]], name)
        weights[ours] = weight.T if "c_" in name and weight.ndim == 2 else weight
    lm = model("learned", layers=2)
    lm.load_state_dict(weights)
    return lm, theirs


def test_with_learned_positions_it_is_gpt2(gpt2):
    lm, theirs = gpt2
    tokens = text(3, 9)
    assert_close(lm(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)


def test_padded_and_with_a_cache_it_is_gpt2_too(gpt2):
    lm, theirs = gpt2
    tokens, positions, real = padded()
    cache, past = [], None
    for new, end in ((slice(0, 5), 5), (slice(5, 7), 7)):
        places = positions[:, new]
        ours = lm(
            tokens[:, new], positions=places, mask=real[:, None, :end], cache=cache
        )
        out = theirs(
            tokens[:, new],
            attention_mask=real[:, :end].long(),
            position_ids=places,
            past_key_values=past,
        )
        past = out.past_key_values
        among = real[:, new]
        assert_close(ours[among], out.logits[among], rtol=1e-4, atol=1e-5)


def test_one_head_is_a_model_too():
    lm = TinyLM(InputEmbedding(TokenEmbedding(VOCAB, DIM)), heads=1)
    assert lm(text(2, 3)).shape == (2, 3, VOCAB)


def test_heads_that_do_not_divide_the_features_are_refused():
    for heads in (0, 3):
        with pytest.raises(
            ValueError,
            match=f"embed_dim must be a multiple of heads; got 16 and {heads}",
        ):
            TinyLM(InputEmbedding(TokenEmbedding(VOCAB, DIM)), heads=heads)
