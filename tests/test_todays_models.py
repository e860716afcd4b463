"""What chapter 14 builds, against the modules of transformers, built small.

The functions are the chapter's own, taken from its cells.
"""

import ast
import math
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from transformers import (
    DeepseekV3Config,
    Gemma3nTextConfig,
    Gemma3nTextModel,
    GptOssConfig,
    Llama4TextConfig,
    Olmo2Config,
    Qwen3Config,
)
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Attention
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3RotaryEmbedding as DeepseekV3Rotary,
)
from transformers.models.gpt_oss.modeling_gpt_oss import (
    GptOssAttention,
    GptOssRotaryEmbedding,
)
from transformers.models.llama4.modeling_llama4 import Llama4TextAttention
from transformers.models.olmo2.modeling_olmo2 import (
    Olmo2Attention,
    Olmo2RotaryEmbedding,
)
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLRotaryEmbedding,
)
from transformers.models.qwen3.modeling_qwen3 import (
    Qwen3Attention,
    Qwen3RotaryEmbedding,
)

from book._ext.chapters import chapters
from embeddings_lib import TokenEmbedding, rotary_from_config
from embeddings_lib.attention import attention
from tests.test_configurations import ROWS, their_config

SEQ, WIDTH = 12, 32
SIZES = {
    "vocab_size": 50,
    "hidden_size": WIDTH,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "intermediate_size": WIDTH,
    "head_dim": 8,
}
(CHAPTER,) = (chapter for chapter in chapters() if chapter.number == 14)
SOURCE = "\n".join(ast.unparse(tree) for _, tree in CHAPTER.code)


def definitions():
    """The chapter's imports and functions, without what it runs."""
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef)
    body = [node for node in ast.parse(SOURCE).body if isinstance(node, kept)]
    names = {}
    exec(compile(ast.Module(body, []), CHAPTER.docname, "exec"), names)
    return SimpleNamespace(**names)


MADE = definitions()


def small(kind, **more):
    config = kind(**SIZES | more)
    config._attn_implementation = "eager"
    return config


def random_weights(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) / 3
    return module.eval()


def text(width=WIDTH):
    return torch.randn(SEQ, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def their_output(module, turns, x):
    mask = torch.full((1, 1, SEQ, SEQ), -torch.inf).triu(1)
    return module(x[None], turns, mask)[0][0]


def turns_of(kind, config, x):
    return kind(config)(x, torch.arange(SEQ)[None])


def heads(x, size=8):
    return x.unflatten(-1, (-1, size))


def test_qwen_3_norms_each_head_and_then_turns_it():
    config, x = small(Qwen3Config), text()
    theirs = random_weights(Qwen3Attention(config, 0))
    q = MADE.norm(heads(theirs.q_proj(x)), theirs.q_norm.weight)
    k = MADE.norm(heads(theirs.k_proj(x)), theirs.k_norm.weight)
    q, k = rotary_from_config(config)(q, k)
    ours = theirs.o_proj(attention(q, k, heads(theirs.v_proj(x))).flatten(-2))
    turns = turns_of(Qwen3RotaryEmbedding, config, x)
    assert_close(ours, their_output(theirs, turns, x), rtol=1e-4, atol=1e-5)


def test_olmo_2_norms_all_heads_at_once():
    config, x = small(Olmo2Config, rms_norm_eps=1e-6), text()
    theirs = random_weights(Olmo2Attention(config, 0))
    q = heads(MADE.norm(theirs.q_proj(x), theirs.q_norm.weight))
    k = heads(MADE.norm(theirs.k_proj(x), theirs.k_norm.weight))
    q, k = rotary_from_config(config)(q, k)
    ours = theirs.o_proj(attention(q, k, heads(theirs.v_proj(x))).flatten(-2))
    turns = turns_of(Olmo2RotaryEmbedding, config, x)
    assert_close(ours, their_output(theirs, turns, x), rtol=1e-4, atol=1e-5)


def test_a_still_layer_of_llama_4_grows_its_queries_with_the_position():
    config, x = small(Llama4TextConfig, floor_scale=3), text()
    theirs = random_weights(Llama4TextAttention(config, 3))
    assert rotary_from_config(config, layer=3) is None
    grown = MADE.temperature(torch.arange(SEQ), config.attn_scale, floor=3)
    assert grown[-1] > 1.1
    q = heads(theirs.q_proj(x)) * grown[:, None, None]
    out = attention(q, heads(theirs.k_proj(x)), heads(theirs.v_proj(x)))
    ours = theirs.o_proj(out.flatten(-2))
    assert_close(ours, their_output(theirs, None, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("q_lora_rank", [None, 6])
def test_deepseek_reads_from_latents_what_it_reads_from_keys(q_lora_rank):
    sizes = {"qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5}
    sizes["head_dim"] = 4  # as its code sets it: what turns
    ranks = {"kv_lora_rank": 7, "q_lora_rank": q_lora_rank, "num_key_value_heads": 4}
    config, x = small(DeepseekV3Config, **sizes, **ranks), text()
    theirs = random_weights(DeepseekV3Attention(config, 0))
    if q_lora_rank is None:
        q = theirs.q_proj(x)
    else:
        q = theirs.q_b_proj(theirs.q_a_layernorm(theirs.q_a_proj(x)))
    q, q_place = heads(q, 10).split([6, 4], dim=-1)
    latent, k_place = theirs.kv_a_proj_with_mqa(x).split([7, 4], dim=-1)
    q_turned, k_turned = rotary_from_config(config)(q_place, k_place[:, None])
    up = theirs.kv_b_proj.weight.unflatten(0, (4, -1)).split([6, 5], dim=1)
    latent = theirs.kv_a_layernorm(latent)
    out = MADE.latent_attention(q, q_turned, latent, k_turned[:, 0], *up)
    ours = theirs.o_proj(out.flatten(-2))
    turns = turns_of(DeepseekV3Rotary, config, x)
    assert_close(ours, their_output(theirs, turns, x), rtol=1e-4, atol=1e-5)


def test_a_sink_of_gpt_oss_is_a_token_that_is_not_there():
    config, x = small(GptOssConfig), text()
    theirs = random_weights(GptOssAttention(config, 1))
    q, k = heads(theirs.q_proj(x)), heads(theirs.k_proj(x))
    q, k = rotary_from_config(config)(q, k)
    out = MADE.attention_with_sinks(q, k, heads(theirs.v_proj(x)), theirs.sinks)
    ours = theirs.o_proj(out.flatten(-2))
    turns = turns_of(GptOssRotaryEmbedding, config, x)
    assert_close(ours, their_output(theirs, turns, x), rtol=1e-4, atol=1e-5)


def test_pictures_turn_on_three_axes_as_in_qwen_vl():
    file = ROWS["Qwen2.5-VL 7B"]
    positions = torch.randint(40, (3, SEQ), generator=torch.Generator().manual_seed(0))
    theirs = Qwen2_5_VLRotaryEmbedding(their_config(file))
    cos, sin = theirs(torch.zeros(1), positions[:, None])
    sections = torch.tensor(file["rope_scaling"]["mrope_section"])
    axis = torch.repeat_interleave(torch.arange(3), sections)
    rates = rotary_from_config(file).angles.rates
    angles = MADE.angles_in_three(positions, rates, axis)
    assert_close(angles.cos().float(), cos[0, :, :64], rtol=0, atol=1e-5)
    assert_close(angles.sin().float(), sin[0, :, :64], rtol=0, atol=1e-5)


def test_gemma_3n_looks_a_token_up_for_each_layer():
    sizes = {"num_hidden_layers": 5, "vocab_size_per_layer_input": 50}
    width = {"hidden_size_per_layer_input": 6, "num_kv_shared_layers": 0}
    config = small(Gemma3nTextConfig, **SIZES | sizes | width, laurel_rank=4)
    theirs = random_weights(Gemma3nTextModel(config))
    ids, x = torch.tensor([7, 7, 3]), text()[:3]
    table = TokenEmbedding(50, 30)
    table.load_state_dict(theirs.embed_tokens_per_layer.state_dict())
    project, norm = theirs.per_layer_model_projection, theirs.per_layer_projection_norm
    ours = MADE.per_layer_inputs(ids, x, table, project, norm.weight)
    rows = theirs.get_per_layer_inputs(ids[None])
    expected = theirs.project_per_layer_inputs(x[None], rows)[0]
    assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_sizes_that_the_chapter_quotes_are_those_of_transformers():
    deepseek, gemma, llama = DeepseekV3Config(), Gemma3nTextConfig(), Llama4TextConfig()
    latent = (deepseek.kv_lora_rank, deepseek.v_head_dim)
    layers = (
        gemma.vocab_size_per_layer_input,
        gemma.num_hidden_layers,
        gemma.hidden_size_per_layer_input,
    )
    assert f"latent_dim, values = {latent}" in SOURCE
    assert f"rows, layers, width = {layers}" in SOURCE
    assert f"main = {gemma.vocab_size} * {gemma.hidden_size}" in SOURCE
    assert MADE.temperature.__defaults__ == (llama.attn_scale, llama.floor_scale)


def test_deepseek_moves_the_growth_of_yarn_into_the_softmax():
    file = ROWS["DeepSeek-V3"]
    with torch.device("meta"):
        theirs = DeepseekV3Attention(their_config(file), 0)
    growth = 0.1 * math.log(file["rope_scaling"]["factor"]) + 1
    assert rotary_from_config(file).angles.radius == 1
    assert theirs.scaling * math.sqrt(128 + 64) == pytest.approx(growth**2)
