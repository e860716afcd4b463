import dataclasses
import logging
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from embeddings_lib.model_shape import BYTES, ModelShape, bytes_per_number
from embeddings_lib.published_models import PUBLISHED, published_shape

by_name = pytest.mark.parametrize("name", PUBLISHED)

# What the publishers count, number by number: the safetensors files of the releases,
# and for Gemma table 2 of its report.
EXACT = {
    "GPT-2 124M": 124_439_808,
    "GPT-2 355M": 354_823_168,
    "GPT-2 774M": 774_030_080,
    "GPT-2 1.5B": 1_557_611_200,
    "Llama 1 7B": 6_738_415_616,
    "Llama 1 13B": 13_015_864_320,
    "Llama 1 33B": 32_528_943_616,
    "Llama 1 65B": 65_285_660_672,
    "Llama 2 7B": 6_738_415_616,
    "Llama 2 13B": 13_015_864_320,
    "Llama 2 70B": 68_976_648_192,
    "Llama 3 8B": 8_030_261_248,
    "Llama 3 70B": 70_553_706_496,
    "Llama 3.1 405B": 405_853_388_800,
    "Mistral 7B": 7_241_732_096,
    "Gemma 2B": 524_550_144 + 1_981_884_416,
    "Gemma 7B": 786_825_216 + 7_751_248_896,
    "Qwen2.5 0.5B": 494_032_768,
    "Qwen2.5 7B": 7_615_616_512,
}

# Brown et al. 2020, table 2.1: what each model is called there, in millions.
ROUNDED = {
    "GPT-3 125M": 125,
    "GPT-3 350M": 350,
    "GPT-3 760M": 760,
    "GPT-3 1.3B": 1_300,
    "GPT-3 2.7B": 2_700,
    "GPT-3 6.7B": 6_700,
    "GPT-3 13B": 13_000,
    "GPT-3 175B": 175_000,
}


@by_name
def test_the_published_count_comes_out(name):
    total = published_shape(name).total()
    if name in EXACT:
        assert total == EXACT[name]
    else:
        assert math.isclose(total / 1e6, ROUNDED[name], rel_tol=0.022)


@by_name
def test_every_shape_says_where_it_is_published(name):
    source = published_shape(name).source
    assert " 20" in source
    assert "table" in source or "section" in source


@by_name
def test_a_model_really_built_has_these_parts(name):
    shape, model = published_shape(name), build(published_shape(name), name)
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    body = getattr(model, "transformer", None) or model.model
    blocks, norm = (body.h, body.ln_f) if "GPT" in name else (body.layers, body.norm)
    assert shape.parameters() == {
        "token table": count(table),
        "positions": count(body.wpe) if "GPT" in name else 0,
        "blocks": count(blocks),
        "norm": count(norm),
        "head": 0 if head.weight is table.weight else count(head),
    }
    assert shape.total() == count(model)


def build(shape, name, device="meta", **more):
    """The model in transformers' own code; on the meta device it has no weights."""
    transformers = quiet_transformers()
    if "GPT" in name:
        config = transformers.GPT2Config(
            vocab_size=shape.vocab_size,
            n_embd=shape.embed_dim,
            n_layer=shape.layers,
            n_head=shape.heads,
            n_positions=shape.learned_positions,
            **more,
        )
    else:
        q, _, mlp = shape.widths()
        kinds = ("Mistral", "Gemma", "Qwen2", "Llama")
        kind = next(kind for kind in kinds if name.startswith(kind))
        config = getattr(transformers, f"{kind}Config")(
            vocab_size=shape.vocab_size,
            hidden_size=shape.embed_dim,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=q // shape.heads,
            intermediate_size=mlp,
            tie_word_embeddings=shape.tied,
            **more,
        )
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config)


def quiet_transformers():
    import transformers

    transformers.logging.set_verbosity(logging.ERROR)
    return transformers


def count(module):
    return sum(weight.numel() for weight in module.parameters())


DEFAULTS = {
    "GPT-2 124M": "GPT2Config",
    "Llama 1 7B": "LlamaConfig",
    "Mistral 7B": "MistralConfig",
    "Gemma 7B": "GemmaConfig",
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_the_model_that_transformers_takes_by_default(name):
    shape, config = (
        published_shape(name),
        getattr(quiet_transformers(), DEFAULTS[name])(),
    )
    q, kv, mlp = shape.widths()
    assert config.hidden_size == shape.embed_dim
    assert config.num_hidden_layers == shape.layers
    assert config.num_attention_heads == shape.heads
    if name == "GPT-2 124M":
        assert config.n_positions == shape.learned_positions
    else:
        assert config.intermediate_size == mlp
        assert (config.num_key_value_heads or shape.heads) == shape.heads * kv // q
    # The report of Gemma counts 256,128 tokens, the configuration 256,000.
    assert config.vocab_size in (shape.vocab_size, 256_000)


# Brown et al. 2020, table 2.1: n_layers, d_model and n_heads.
GPT3 = {
    "GPT-3 125M": (12, 768, 12),
    "GPT-3 350M": (24, 1024, 16),
    "GPT-3 760M": (24, 1536, 16),
    "GPT-3 1.3B": (24, 2048, 24),
    "GPT-3 2.7B": (32, 2560, 32),
    "GPT-3 6.7B": (32, 4096, 32),
    "GPT-3 13B": (40, 5140, 40),
    "GPT-3 175B": (96, 12288, 96),
}


@pytest.mark.parametrize("name", GPT3)
def test_gpt3_is_as_in_its_table_but_for_two_slips(name):
    """5,140 is no multiple of 40, and 24 heads of 128 are wider than 2,048."""
    slips = {"GPT-3 13B": (40, 5120, 40), "GPT-3 1.3B": (24, 2048, 16)}
    shape = published_shape(name)
    found = (shape.layers, shape.embed_dim, shape.heads)
    assert found == slips.get(name, GPT3[name])


def test_gpt2s_smallest_model_part_by_part():
    assert published_shape("GPT-2 124M").parameters() == {
        "token table": 38_597_376,
        "positions": 786_432,
        "blocks": 85_054_464,
        "norm": 1_536,
        "head": 0,
    }


def test_gemmas_report_counts_the_table_apart():
    assert published_shape("Gemma 2B").parameters()["token table"] == 524_550_144
    assert published_shape("Gemma 7B").parameters()["token table"] == 786_825_216


@pytest.mark.parametrize("name", ["Llama 1 7B", "Llama 1 13B", "Llama 1 33B"])
def test_llamas_mlp_is_eight_thirds_of_d_rounded_up(name):
    shape = published_shape(name)
    assert shape.mlp_dim == 256 * math.ceil(8 * shape.embed_dim / 3 / 256)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "GPT-2" in name])
def test_gpt2s_heads_have_64_numbers(name):
    shape = published_shape(name)
    assert shape.embed_dim == 64 * shape.heads


# Laws, for any shape.

few = st.integers(1, 5)


@st.composite
def shapes(draw):
    kv_heads, groups, head_dim = draw(few), draw(few), draw(few)
    heads = kv_heads * groups
    return ModelShape(
        vocab_size=draw(few),
        embed_dim=heads * draw(few),
        layers=draw(few),
        heads=heads,
        kv_heads=draw(st.sampled_from([None, kv_heads])),
        head_dim=draw(st.sampled_from([None, head_dim])),
        mlp_dim=draw(st.sampled_from([None, 7])),
        gated=draw(st.booleans()),
        biases=draw(st.sampled_from(["all", "qkv", "none"])),
        learned_positions=draw(st.integers(0, 5)),
        tied=draw(st.booleans()),
    )


def by_hand(shape):
    """One `nn` layer for each matrix and each norm."""
    d, (q, kv, mlp) = shape.embed_dim, shape.widths()
    everywhere = shape.biases == "all"

    def norm():
        return nn.LayerNorm(d) if everywhere else nn.RMSNorm(d)

    def block():
        into_qkv = [
            nn.Linear(d, width, bias=shape.biases != "none") for width in (q, kv, kv)
        ]
        into_mlp = [nn.Linear(d, mlp, bias=everywhere) for _ in range(1 + shape.gated)]
        out = [nn.Linear(width, d, bias=everywhere) for width in (q, mlp)]
        return nn.ModuleList([*into_qkv, *into_mlp, *out, norm(), norm()])

    tables = [nn.Embedding(shape.vocab_size, d)]
    if shape.learned_positions:
        tables.append(nn.Embedding(shape.learned_positions, d))
    if not shape.tied:
        tables.append(nn.Linear(d, shape.vocab_size, bias=False))
    return nn.ModuleList([*tables, *(block() for _ in range(shape.layers)), norm()])


@given(shapes())
def test_the_count_is_that_of_layers_put_together_by_hand(shape):
    with torch.device("meta"):
        assert (
            shape.total() == count(by_hand(shape)) == sum(shape.parameters().values())
        )


@given(shapes(), few)
def test_blocks_grow_with_the_layers_and_nothing_else_does(shape, times):
    more = dataclasses.replace(shape, layers=times * shape.layers)
    grown, before = more.parameters(), shape.parameters()
    assert grown.pop("blocks") == times * before.pop("blocks")
    assert grown == before


@given(shapes())
def test_a_head_of_its_own_costs_one_more_table(shape):
    tied, untied = (dataclasses.replace(shape, tied=tied) for tied in (True, False))
    assert untied.total() - tied.total() == shape.vocab_size * shape.embed_dim
    assert untied.flops(3) == tied.flops(3)


@given(shapes())
def test_fewer_key_heads_save_parameters_and_cache_but_no_products(shape):
    one, all_heads = (
        dataclasses.replace(shape, kv_heads=kv_heads) for kv_heads in (1, shape.heads)
    )
    assert one.total() <= all_heads.total()
    pairs = [
        a.flops(1, 9)["blocks"] - a.flops(1, 0)["blocks"] for a in (one, all_heads)
    ]
    assert pairs[0] == pairs[1] == 9 * 4 * shape.layers * shape.widths()[0]
    caches = [
        a.bytes_moved(1, 9)["blocks"] - a.bytes_moved(1, 0)["blocks"]
        for a in (one, all_heads)
    ]
    assert caches[1] == shape.heads * caches[0]
    keys_and_values = 2 * 9 * shape.widths()[0] // shape.heads
    assert caches[0] == shape.layers * keys_and_values * bytes_per_number("float32")


@given(shapes(), st.sampled_from(list(BYTES)))
def test_bytes_are_parameters_times_the_width_of_the_format(shape, dtype):
    assert shape.bytes(dtype) == shape.total() * bytes_per_number(dtype)
    assert shape.input_bytes(2, 3, dtype) * shape.vocab_size == (
        6 * shape.parameters()["token table"] * bytes_per_number(dtype)
    )


@pytest.mark.parametrize("dtype", [dtype for dtype in BYTES if dtype != "float8"])
def test_the_formats_are_as_wide_as_pytorchs(dtype):
    assert bytes_per_number(dtype) == getattr(torch, dtype).itemsize


def test_float8_is_one_byte_in_both_of_pytorchs_variants():
    widths = {torch.float8_e4m3fn.itemsize, torch.float8_e5m2.itemsize}
    assert widths == {bytes_per_number("float8")}


@given(shapes())
def test_a_pass_in_two_parts_does_the_work_of_the_whole(shape):
    """But for the pairs of an early query with a late key, which a cache never sees."""
    whole, first, second = shape.flops(5), shape.flops(2), shape.flops(3, offset=2)
    for part in ("lookup", "head"):
        assert first[part] + second[part] == whole[part]
    masked = 4 * shape.layers * shape.widths()[0] * 2 * 3
    assert first["blocks"] + second["blocks"] == whole["blocks"] - masked


SMALL = {
    "GPT-2": ModelShape(
        vocab_size=11, embed_dim=12, layers=2, heads=3, learned_positions=16
    ),
    "Llama": ModelShape(
        vocab_size=11,
        embed_dim=12,
        layers=2,
        heads=6,
        kv_heads=2,
        mlp_dim=20,
        gated=True,
        biases="none",
        tied=False,
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_pytorchs_own_counter_counts_the_same_work(name):
    shape, seq = SMALL[name], 7
    model = build(shape, name, device="cpu", attn_implementation="eager")
    ids = torch.zeros(1, seq, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, use_cache=False)
    expected = shape.flops(seq)
    assert counter.get_total_flops() == expected["blocks"] + expected["head"]


@pytest.mark.parametrize("name", SMALL)
def test_adamw_really_keeps_what_the_bill_says(name):
    shape = SMALL[name]
    model = by_hand(shape)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    sum(weight.sum() for weight in model.parameters()).backward()
    optimizer.step()
    bill = shape.training_bytes(mixed=False)
    assert bill["weights"] == sum(p.nbytes for p in model.parameters())
    assert bill["gradients"] == sum(p.grad.nbytes for p in model.parameters())
    for key, name_of_it in (("exp_avg", "first"), ("exp_avg_sq", "second")):
        kept = sum(state[key].nbytes for state in optimizer.state.values())
        assert bill[f"{name_of_it} moment"] == kept


@given(shapes())
def test_both_ways_to_train_take_sixteen_bytes_a_parameter(shape):
    for mixed in (True, False):
        assert sum(shape.training_bytes(mixed=mixed).values()) == 16 * shape.total()


@given(shapes(), few, st.sampled_from(list(BYTES)))
def test_the_lookup_moves_rows_and_never_the_table(shape, seq, dtype):
    moved = shape.bytes_moved(seq, dtype=dtype)["lookup"]
    rows = 3 if shape.learned_positions else 2
    assert moved == seq * (8 + rows * shape.embed_dim * bytes_per_number(dtype))
    bigger = dataclasses.replace(shape, vocab_size=1000 * shape.vocab_size)
    assert bigger.bytes_moved(seq, dtype=dtype)["lookup"] == moved


def test_without_a_cache_the_blocks_move_their_weights_once():
    shape = published_shape("Llama 3 8B")
    moved = shape.bytes_moved(1, dtype="bfloat16")
    assert moved["blocks"] + moved["head"] == 2 * (
        shape.total() - shape.parameters()["token table"] - shape.embed_dim
    )


# What is refused.

GOOD = {"vocab_size": 10, "embed_dim": 12, "layers": 2, "heads": 3}


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize("name", [*GOOD, "kv_heads", "head_dim", "mlp_dim"])
@pytest.mark.parametrize("size", [0, -1, 2.5, "3"])
def test_a_size_that_is_no_count_is_named(name, size):
    message = f"{name} must be a whole number from 1 on; got {size!r}"
    with pytest.raises(ValueError, match=message):
        ModelShape(**GOOD | {name: size})


def test_a_negative_number_of_positions_is_refused():
    with pytest.raises(ValueError, match=r"learned_positions must .* from 0 on.* -1"):
        ModelShape(**GOOD, learned_positions=-1)


def test_heads_that_do_not_divide_are_refused_as_in_gpt3s_table():
    with pytest.raises(ValueError, match=r"multiple of heads.*got 5140 and 40"):
        ModelShape(vocab_size=50_257, embed_dim=5140, layers=40, heads=40)
    assert ModelShape(**GOOD | {"embed_dim": 13}, head_dim=4).widths()[0] == 12


def test_key_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"multiple of kv_heads.*got 3 and 2"):
        ModelShape(**GOOD, kv_heads=2)


def test_an_unknown_kind_of_biases_is_refused():
    with pytest.raises(ValueError, match=r"'all', 'qkv' or 'none'.*got 'some'"):
        ModelShape(**GOOD, biases="some")


@pytest.mark.parametrize("method", ["bytes", "bytes_moved"])
def test_an_unknown_format_is_refused_with_the_known_ones(method):
    shape = ModelShape(**GOOD)
    options = {"dtype": "float12"} | ({"seq": 1} if method == "bytes_moved" else {})
    with pytest.raises(ValueError, match=r"must be 'float32', 'bfloat.*got 'float12'"):
        getattr(shape, method)(**options)


@pytest.mark.parametrize("method", ["flops", "bytes_moved"])
@pytest.mark.parametrize(("seq", "offset"), [(0, 0), (-1, 0), (1, -1)])
def test_a_span_that_is_none_is_refused(method, seq, offset):
    with pytest.raises(ValueError, match=r"(seq|offset) must be a whole number from"):
        getattr(ModelShape(**GOOD), method)(seq, offset)


@pytest.mark.parametrize(("batch", "seq"), [(0, 1), (1, 0)])
def test_an_empty_input_is_refused(batch, seq):
    with pytest.raises(ValueError, match=r"must be a whole number from 1 on.* got 0"):
        ModelShape(**GOOD).input_bytes(batch, seq)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"must be 'GPT-2 124M', 'GPT-2.*got 'GPT-5'"):
        published_shape("GPT-5")


def test_a_shape_is_a_value():
    shape = ModelShape(**GOOD)
    assert shape == ModelShape(**GOOD, source="elsewhere")
    with pytest.raises(dataclasses.FrozenInstanceError):
        shape.layers = 3


@pytest.mark.parametrize("name", ROUNDED)
def test_gpt3_reads_2048_tokens(name):
    """Brown et al. 2020, section 2.1: all models have a context of 2,048 tokens."""
    assert published_shape(name).learned_positions == 2048
