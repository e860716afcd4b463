"""The input layer: its equation, and what enters the first block of three models."""

import copy
import math

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch.testing import assert_close
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from embeddings_lib import (
    InputEmbedding,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    TokenEmbedding,
    downloads,
)

VOCAB, CONTEXT, DIM = 11, 9, 6


def layer(kind="learned", **options):
    tables = {
        "none": lambda: None,
        "learned": lambda: LearnedPositions(CONTEXT, DIM, std=1.0),
        "sinusoidal": lambda: SinusoidalPositions(DIM),
    }
    return InputEmbedding(
        TokenEmbedding(VOCAB, DIM, std=1.0), tables[kind](), **options
    )


def ids(*shape):
    return torch.randint(
        0, VOCAB, shape, generator=torch.Generator().manual_seed(sum(shape))
    )


BITS = [torch.float32, torch.bfloat16, torch.float16]
KINDS = ["none", "learned", "sinusoidal"]
kinds = st.sampled_from(KINDS)


@given(kinds, st.integers(0, 3), st.integers(0, 5), st.sampled_from([None, 2.0]))
def test_each_vector_is_the_tokens_row_plus_the_positions_row(kind, seq, offset, scale):
    both = layer(kind, scale=scale)
    tokens = ids(2, seq)
    output = both(tokens, offset=offset)
    for sample in range(2):
        for t in range(seq):
            row = (scale or 1.0) * both.token_table.weight[tokens[sample, t]]
            if kind != "none":
                row = row + both.positions(torch.tensor([offset + t]))[0]
            assert_close(output[sample, t], row)


@given(kinds, st.integers(1, 8))
def test_reading_in_parts_is_reading_at_once(kind, cut):
    both, tokens = layer(kind), ids(2, 9)
    parts = both(tokens[:, :cut]), both(tokens[:, cut:], offset=cut)
    assert_close(torch.cat(parts, dim=1), both(tokens))


@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_positions_may_be_named(kind):
    both, tokens = layer(kind), ids(2, 3)
    positions = torch.tensor([[0, 1, 2], [5, 6, 7]])
    rows = both(tokens, positions)
    assert_close(rows[0], both(tokens[0]))
    assert_close(rows[1], both(tokens[1], offset=5))


@pytest.mark.parametrize("kind", KINDS)
def test_no_table_changes_when_a_text_is_read(kind):
    both = layer(kind, scale=3.0)
    before = copy.deepcopy(both.state_dict())
    with torch.no_grad():
        both(ids(2, 5))
    for name, value in both.state_dict().items():
        assert torch.equal(value, before[name])


def test_its_derivatives_are_right():
    both, tokens = layer(scale=2.0).double(), ids(2, 3)

    def read(token_weight, position_weight):
        weights = {
            "token_table.weight": token_weight,
            "positions.weight": position_weight,
        }
        return torch.func.functional_call(both, weights, (tokens,))

    assert torch.autograd.gradcheck(read, tuple(both.parameters()))


def test_dropout_zeroes_some_features_in_training_only():
    both = layer(dropout=0.5)
    tokens = ids(4, 9)
    torch.manual_seed(0)
    dropped = both(tokens)
    kept = dropped != 0
    assert 0.3 < kept.float().mean() < 0.7
    assert_close(dropped[kept], 2 * both.eval()(tokens)[kept])


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_it_is_one_graph_with_the_same_result(kind):
    both, tokens = layer(kind), ids(2, 4)
    compiled = torch.compile(both, fullgraph=True, backend="eager")
    assert_close(compiled(tokens, offset=3), both(tokens, offset=3))


def test_sinusoids_serve_tables_of_16_bits():
    both = layer("sinusoidal").to(torch.bfloat16)
    exact = both.token_table.weight[ids(4)].float() + both.positions.span(4)
    assert_close(both(ids(4)).float(), exact, rtol=2**-7, atol=2**-7)
    assert both(ids(4)).dtype == torch.bfloat16


# Reference models, small and random, and the trained tables of GPT-2 where they are.


def test_gpt_2s_tables_give_gpt_2s_first_input():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=CONTEXT, n_embd=8, n_layer=1, n_head=2
    )
    model = transformers.GPT2Model(config).eval()
    ours = InputEmbedding(TokenEmbedding(VOCAB, 8), LearnedPositions(CONTEXT, 8))
    ours.token_table.load_state_dict(model.wte.state_dict())
    ours.positions.load_state_dict(model.wpe.state_dict())
    tokens = ids(2, CONTEXT)
    theirs = model(tokens, output_hidden_states=True).hidden_states[0]
    assert_close(ours(tokens), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["Llama", "Mistral"])
def test_llama_and_mistral_read_rows_alone_and_rotate_queries_and_keys(name):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    model = getattr(transformers, f"{name}Model")(config).eval()
    ours = InputEmbedding(TokenEmbedding(VOCAB, 32))
    ours.token_table.load_state_dict(model.embed_tokens.state_dict())
    tokens = ids(2, 9)
    x = ours(tokens)
    theirs = model(tokens, output_hidden_states=True).hidden_states[0]
    assert_close(x, theirs, rtol=0, atol=1e-6)

    layer = model.layers[0]
    x = layer.input_layernorm(x)
    q, k = layer.self_attn.q_proj(x), layer.self_attn.k_proj(x)
    q, k = q.unflatten(-1, (4, 8)), k.unflatten(-1, (2, 8))
    cos, sin = model.rotary_emb(q, torch.arange(9)[None])
    theirs = apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2)
    assert_close(RotaryPositions(8)(q, k), theirs, rtol=0, atol=2e-6)


def test_gpt_2s_trained_tables_give_gpt_2s_first_input():
    file = downloads.cache_folder() / downloads.ASSETS["gpt2_weights"].filename
    if not file.exists():
        pytest.skip("to fetch them: python -m embeddings_lib.downloads gpt2_weights")
    ours = InputEmbedding(TokenEmbedding(50_257, 768), LearnedPositions(1024, 768))
    model = transformers.GPT2Model(transformers.GPT2Config(n_layer=1)).eval()
    with safe_open(file, framework="pt") as weights:
        tables = [weights.get_tensor(f"{name}.weight") for name in ("wte", "wpe")]
    for table, mine, theirs in zip(
        tables, (ours.token_table, ours.positions), (model.wte, model.wpe), strict=True
    ):
        mine.load_state_dict({"weight": table})
        theirs.load_state_dict({"weight": table})
    tokens = torch.randint(
        50_257, (2, 1024), generator=torch.Generator().manual_seed(0)
    )
    theirs = model(tokens, output_hidden_states=True).hidden_states[0]
    assert_close(ours(tokens), theirs, rtol=0, atol=1e-6)


# Hooks, and what they keep


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_hooks_on_its_parts_run_and_what_they_keep_stays(kind):
    both, kept, gradients = layer(kind, scale=2.0), [], []
    both.token_table.register_forward_hook(lambda *call: kept.append(call[-1]))
    both.token_table.register_full_backward_hook(
        lambda *call: gradients.append(call[-1][0])
    )
    both(ids(2, 3)).sum().backward()
    assert torch.equal(kept[0], both.token_table.weight[ids(2, 3)])
    assert torch.equal(gradients[0], torch.full((2, 3, DIM), 2.0))


def test_a_weight_that_is_computed_before_each_call_is_taken():
    both = layer("none")
    table = torch.nn.utils.parametrizations.weight_norm(both.token_table, dim=0)
    torch.nn.init.ones_(table.parametrizations.weight.original0)
    lengths = both(ids(2, 3)).norm(dim=-1)
    assert_close(lengths, torch.ones(2, 3))


@given(kinds, st.sampled_from([None, 2.0]), st.sampled_from(BITS))
def test_in_place_it_computes_the_same(kind, scale, dtype):
    plain = layer(kind, scale=scale).to(dtype)
    writes = InputEmbedding(
        plain.token_table, plain.positions, scale=scale, inplace=True
    )
    assert torch.equal(writes(ids(2, 3)), plain(ids(2, 3)))


# What is refused


def test_tables_of_different_width_are_refused():
    with pytest.raises(ValueError, match=r"same width.*got 6 and 4"):
        InputEmbedding(TokenEmbedding(VOCAB, 6), LearnedPositions(CONTEXT, 4))
    with pytest.raises(ValueError, match=r"same width.*got 6 and 8"):
        InputEmbedding(TokenEmbedding(VOCAB, 6), SinusoidalPositions(8))


def test_a_text_beyond_the_context_is_refused():
    with pytest.raises(IndexError, match=r"context_length is 9; got 4 tokens.*6"):
        layer()(ids(2, 4), offset=6)


def test_an_id_outside_the_table_is_refused():
    with pytest.raises(IndexError, match=r"token IDs must be 0 to 10.*got 11 at"):
        layer()(torch.tensor([11]))


def test_tables_of_different_dtype_or_device_are_refused():
    both = layer()
    both.positions.to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"got torch\.float32 on cpu and torch\.bfl"):
        both(ids(3))
    both = layer("sinusoidal")
    both.positions.to("meta")
    with pytest.raises(ValueError, match=r"on cpu and torch.float32 on meta: move the"):
        both(ids(3))


@pytest.mark.parametrize("dropout", [-0.1, 1.5])
def test_a_share_that_is_none_is_refused(dropout):
    with pytest.raises(ValueError, match=f"between 0 and 1, but got {dropout}"):
        layer(dropout=dropout)


def test_a_scale_of_sqrt_d_multiplies_the_token_alone():
    both = layer(scale=math.sqrt(DIM))
    place = both.positions.span(1)
    token = both.token_table.weight[3]
    assert_close(both(torch.tensor([3])) - place, math.sqrt(DIM) * token[None])


def test_it_says_what_it_is():
    layer = InputEmbedding(TokenEmbedding(5, 4), scale=2.0)
    assert "scale=2.0" in repr(layer)
