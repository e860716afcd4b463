import re

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
    TinyLM,
    TokenEmbedding,
)
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
    if scheme == "bias":
        options["bias"] = lambda seq_q, seq_k: (
            -torch.ones(HEADS, seq_q, seq_k).cumsum(1)
        )
    inputs = InputEmbedding(TokenEmbedding(VOCAB, DIM), positions)
    return TinyLM(inputs, heads=HEADS, **options)


SCHEMES = ["none", "learned", "sinusoidal", "rotary", "bias"]


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


def test_with_learned_positions_it_is_gpt2():
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
    tokens = text(3, 9)
    assert_close(lm(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-5)


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
