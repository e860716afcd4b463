"""One tiny model, many schemes of positions, two kinds of text (chapter 10)."""

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embeddings_lib.biases import T5Bias, alibi_bias
from embeddings_lib.combined import InputEmbedding
from embeddings_lib.learned import LearnedPositions
from embeddings_lib.rotary import RotaryPositions
from embeddings_lib.sinusoidal import SinusoidalPositions
from embeddings_lib.tiny_lm import Block, TinyLM
from embeddings_lib.token_table import TokenEmbedding

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
    known = SCHEMES + VARIANTS
    if scheme not in known:
        raise ValueError(
            "scheme must be a known one, because it says where positions enter; got "
            f"{scheme!r}, and known are {'; '.join(known)}"
        )
    torch.manual_seed(seed)
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
        self, x: Float[Tensor, "*batch seq embed_dim"], *_
    ) -> Float[Tensor, "*batch seq embed_dim"]:
        return super().forward(x)


class MarkovText:
    """A text in which each letter depends on the two before it, and on nothing else.

    >>> text = MarkovText(letters=12)
    >>> ids = text.sample(4, 10, torch.Generator().manual_seed(0))
    >>> ids.shape, text.surprises(ids).shape
    (torch.Size([4, 10]), torch.Size([4, 8]))

    `chances[a, b]` holds the chance of each letter after a and b. They come from one
    draw, which `seed` fixes, and a text starts with two random letters.
    """

    def __init__(self, letters: int = 12, *, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        chances = torch.rand(letters, letters, letters, generator=generator) ** 6
        self.chances = chances / chances.sum(dim=-1, keepdim=True)

    def sample(
        self, texts: int, seq: int, generator: torch.Generator
    ) -> Int[Tensor, "texts seq"]:
        """Draw so many texts of `seq` letters."""
        letters = len(self.chances)
        ids = torch.randint(letters, (texts, seq), generator=generator)
        draws = torch.rand(texts, seq, 1, generator=generator)
        up_to = self.chances.cumsum(dim=-1)
        for t in range(2, seq):
            passed = draws[:, t] > up_to[ids[:, t - 2], ids[:, t - 1]]
            ids[:, t] = passed.sum(dim=-1).clamp(max=letters - 1)
        return ids

    def surprises(self, ids: Int[Tensor, "texts seq"]) -> Float[Tensor, "texts seq-2"]:
        """The loss, in nats, of one who knows the chances: no model can do better."""
        chances = self.chances[ids[:, :-2], ids[:, 1:-1]]
        return -chances.gather(-1, ids[:, 2:, None]).squeeze(-1).log()


def repeated_blocks(
    blocks: Int[Tensor, " texts"],
    seq: int,
    *,
    letters: int,
    generator: torch.Generator,
) -> Int[Tensor, "texts seq"]:
    """For each text a block of so many different letters, over and over.

    >>> generator = torch.Generator().manual_seed(0)
    >>> repeated_blocks(torch.tensor([2, 3]), 7, letters=9, generator=generator)
    tensor([[2, 3, 2, 3, 2, 3, 2],
            [3, 4, 5, 3, 4, 5, 3]])

    From the second time on, the next letter is known: it is the one that followed the
    present letter the last time.
    """
    order = torch.rand(len(blocks), letters, generator=generator).argsort(dim=1)
    return order.gather(1, torch.arange(seq) % blocks[:, None])
