"""One tiny model, many schemes of positions (chapter 13)."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from embeddings_lib import _guards
from embeddings_lib.attention_biases import T5Bias, alibi_bias
from embeddings_lib.input_embedding import InputEmbedding
from embeddings_lib.language_model import Block, TinyLM
from embeddings_lib.learned_positions import LearnedPositions
from embeddings_lib.rotary_positions import RotaryPositions
from embeddings_lib.sinusoidal_positions import SinusoidalPositions
from embeddings_lib.token_embedding import TokenEmbedding

SCHEMES = ("none", "learned", "sinusoidal", "RoPE", "ALiBi", "T5")
VARIANTS = ("RoPE, quarter", "RoPE, layer 1")


def model_with(
    scheme: str,
    *,
    vocab_size: int,
    length: int,
    seed: int,
    embed_dim: int = 32,
    heads: int = 4,
) -> TinyLM:
    """A model of two layers in which only the scheme of positions differs.

    >>> model = model_with("ALiBi", vocab_size=12, length=32, seed=0)
    >>> model(torch.zeros(1, 5).long()).shape
    torch.Size([1, 5, 12])

    `length` is the length in tokens that it will be trained with. It is the end of the
    table for "learned", and of the buckets for "T5". "RoPE, quarter" turns a
    quarter of the features, as in GPT-NeoX, and "RoPE, layer 1" turns nothing in the
    second layer. Token rows, and learned ones of positions, have the standard
    deviation 1 / √embed_dim.

    Raises ValueError for a scheme that is not one of `SCHEMES` or `VARIANTS`.
    """
    _guards.one_of(SCHEMES + VARIANTS, scheme=scheme)
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on
        torch.manual_seed(seed)
        return _build(scheme, vocab_size, length, embed_dim, heads)


def _build(
    scheme: str, vocab_size: int, length: int, embed_dim: int, heads: int
) -> TinyLM:
    std = embed_dim**-0.5
    tokens = TokenEmbedding(vocab_size, embed_dim, std=std)
    positions = rotary = bias = None
    if scheme == "learned":
        positions = LearnedPositions(length, embed_dim, std=std)
    elif scheme == "sinusoidal":
        positions = SinusoidalPositions(embed_dim)
    elif scheme.startswith("RoPE"):
        head_dim = embed_dim // heads
        turning = head_dim // 4 if scheme == "RoPE, quarter" else head_dim
        rotary = RotaryPositions(head_dim, rotary_dim=turning)
    elif scheme == "ALiBi":
        bias = partial(alibi_bias, heads)
    elif scheme == "T5":
        bias = T5Bias(heads, buckets=length // 2, max_distance=length)
    inputs = InputEmbedding(tokens, positions)
    model = TinyLM(inputs, heads=heads, rotary=rotary, bias=bias, tied=False)
    if scheme == "RoPE, layer 1":
        model.blocks[1] = BlindBlock(embed_dim, heads)
    return model


class BlindBlock(Block):
    """A block without rotations or biases: it compares what tokens are, not where.

    >>> BlindBlock(embed_dim=8, heads=2)(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def forward(
        self, x: Float[Tensor, "*batch seq embed_dim"], rotary=None, bias=None, *rest
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        return super().forward(x, None, None, *rest)
