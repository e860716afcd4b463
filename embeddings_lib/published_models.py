"""The sizes of published models, each with its source (chapter 11)."""

from embeddings_lib import _guards
from embeddings_lib.model_shape import ModelShape


def published_shape(name: str) -> ModelShape:
    """The shape of a published model, with its source.

    >>> published_shape("GPT-2 124M").total()
    124439808

    Raises ValueError for a name that is not in `PUBLISHED`.
    """
    _guards.one_of(PUBLISHED, name=name)
    return PUBLISHED[name]


def _gpt(layers, embed_dim, heads, learned_positions, source) -> ModelShape:
    """GPT-2 and GPT-3: a plain MLP of 4 d, biases everywhere, 50,257 tokens."""
    return ModelShape(
        vocab_size=50_257,
        embed_dim=embed_dim,
        layers=layers,
        heads=heads,
        learned_positions=learned_positions,
        source=source,
    )


def _llama(
    layers, embed_dim, heads, kv_heads, mlp_dim, vocab_size, source, **more
) -> ModelShape:
    """Llama and its kin: a gated MLP, rotary positions, no biases, an untied head."""
    sizes = {"biases": "none", "tied": False} | more
    return ModelShape(
        vocab_size=vocab_size,
        embed_dim=embed_dim,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        mlp_dim=mlp_dim,
        gated=True,
        source=source,
        **sizes,
    )


_GPT2 = "Radford et al. 2019, table 2; heads of 64 from the code released with it"
_GPT3 = "Brown et al. 2020, table 2.1"
_XL = f"{_GPT3}, with 16 heads: its 24 heads of 128 are not 2,048"
_13B = f"{_GPT3}, with 5,120: its 5,140 is not 40 heads of 128"
_LLAMA1 = "Touvron et al. 2023a, table 2; MLP of 8/3 d, rounded up as in its code"
_LLAMA2 = "Touvron et al. 2023b, section 2.2: the architecture of Llama 1"
_LLAMA2_70B = "Touvron et al. 2023b, table 1; sizes from its config.json"
_LLAMA3 = "Llama Team 2024, table 3; 128,256 tokens from its config.json"
_MISTRAL = "Jiang et al. 2023, table 1"
_GEMMA = "Gemma Team 2024, tables 1 and 2"
_QWEN = "Qwen Team 2024, table 1; sizes from its config.json"

PUBLISHED = {
    "GPT-2 124M": _gpt(12, 768, 12, 1024, _GPT2),
    "GPT-2 355M": _gpt(24, 1024, 16, 1024, _GPT2),
    "GPT-2 774M": _gpt(36, 1280, 20, 1024, _GPT2),
    "GPT-2 1.5B": _gpt(48, 1600, 25, 1024, _GPT2),
    "GPT-3 125M": _gpt(12, 768, 12, 2048, _GPT3),
    "GPT-3 350M": _gpt(24, 1024, 16, 2048, _GPT3),
    "GPT-3 760M": _gpt(24, 1536, 16, 2048, _GPT3),
    "GPT-3 1.3B": _gpt(24, 2048, 16, 2048, _XL),
    "GPT-3 2.7B": _gpt(32, 2560, 32, 2048, _GPT3),
    "GPT-3 6.7B": _gpt(32, 4096, 32, 2048, _GPT3),
    "GPT-3 13B": _gpt(40, 5120, 40, 2048, _13B),
    "GPT-3 175B": _gpt(96, 12288, 96, 2048, _GPT3),
    "Llama 1 7B": _llama(32, 4096, 32, 32, 11008, 32_000, _LLAMA1),
    "Llama 1 13B": _llama(40, 5120, 40, 40, 13824, 32_000, _LLAMA1),
    "Llama 1 33B": _llama(60, 6656, 52, 52, 17920, 32_000, _LLAMA1),
    "Llama 1 65B": _llama(80, 8192, 64, 64, 22016, 32_000, _LLAMA1),
    "Llama 2 7B": _llama(32, 4096, 32, 32, 11008, 32_000, _LLAMA2),
    "Llama 2 13B": _llama(40, 5120, 40, 40, 13824, 32_000, _LLAMA2),
    "Llama 2 70B": _llama(80, 8192, 64, 8, 28672, 32_000, _LLAMA2_70B),
    "Llama 3 8B": _llama(32, 4096, 32, 8, 14336, 128_256, _LLAMA3),
    "Llama 3 70B": _llama(80, 8192, 64, 8, 28672, 128_256, _LLAMA3),
    "Llama 3.1 405B": _llama(126, 16384, 128, 8, 53248, 128_256, _LLAMA3),
    "Mistral 7B": _llama(32, 4096, 32, 8, 14336, 32_000, _MISTRAL),
    "Gemma 2B": _llama(18, 2048, 8, 1, 16384, 256_128, _GEMMA, head_dim=256, tied=True),
    "Gemma 7B": _llama(
        28, 3072, 16, 16, 24576, 256_128, _GEMMA, head_dim=256, tied=True
    ),
    "Qwen2.5 0.5B": _llama(
        24, 896, 14, 2, 4864, 151_936, _QWEN, biases="qkv", tied=True
    ),
    "Qwen2.5 7B": _llama(28, 3584, 28, 4, 18944, 152_064, _QWEN, biases="qkv"),
}
