"""What the sizes of a model cost, by counting: parameters, bytes, work (chapter 11)."""

from dataclasses import dataclass, field

from embeddings_lib import _guards

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float8": 1, "int8": 1}


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a decoder-only transformer, from which its costs follow.

    >>> tiny = ModelShape(vocab_size=100, embed_dim=8, layers=2, heads=2)
    >>> tiny.parameters()
    {'token table': 800, 'positions': 0, 'blocks': 1744, 'norm': 16, 'head': 0}
    >>> tiny.total()
    2560

    `kv_heads`, `head_dim` and `mlp_dim` are `heads`, `embed_dim / heads` and
    `4 * embed_dim` unless they are given. `gated` is for an MLP of three matrices
    (SwiGLU), `biases` for "all" layers (then the norms shift, too), "qkv" or "none".
    `learned_positions` counts the rows of a position table, 0 for none. A `tied` head
    is the token table. `source` says where the numbers are published.

    Raises ValueError for a size that is not a whole number from 1 on, and for heads
    that do not divide.

    Source: the block of Radford et al. 2019, and that of Touvron et al. 2023.
    """

    vocab_size: int
    embed_dim: int
    layers: int
    heads: int
    kv_heads: int | None = None
    head_dim: int | None = None
    mlp_dim: int | None = None
    gated: bool = False
    biases: str = "all"
    learned_positions: int = 0
    tied: bool = True
    source: str = field(default="", compare=False)

    def __post_init__(self):
        _guards.shape(self)

    def widths(self) -> tuple[int, int, int]:
        """The columns of the queries, of the keys, and of the MLP, in numbers.

        >>> from embeddings_lib import published_shape
        >>> published_shape("Llama 3 8B").widths()
        (4096, 1024, 14336)
        """
        head_dim = self.head_dim or self.embed_dim // self.heads
        kv_heads = self.kv_heads or self.heads
        mlp = self.mlp_dim or 4 * self.embed_dim
        return self.heads * head_dim, kv_heads * head_dim, mlp

    def block(self) -> dict[str, int]:
        """Parameters of one block: its matrices, its biases, its two norms.

        >>> from embeddings_lib import published_shape
        >>> published_shape("GPT-2 124M").block()
        {'attention': 2359296, 'mlp': 4718592, 'biases': 6912, 'norms': 3072}

        Equation: attention = 2 d (q + kv) and mlp = 2 d m, or 3 d m if gated, with d
        the embed_dim and (q, kv, m) the widths. With kv = d and m = 4 d: 12 d².
        """
        d, (q, kv, mlp) = self.embed_dim, self.widths()
        into_mlp = 2 if self.gated else 1
        biases = {"none": 0, "qkv": q + 2 * kv, "all": q + 2 * kv + into_mlp * mlp}
        return {
            "attention": 2 * d * (q + kv),
            "mlp": (into_mlp + 1) * d * mlp,
            "biases": biases[self.biases] + (2 * d if self.biases == "all" else 0),
            "norms": 2 * self._norm(),
        }

    def parameters(self) -> dict[str, int]:
        """Numbers that training sets, by part. A tied head has none of its own."""
        table = self.vocab_size * self.embed_dim
        return {
            "token table": table,
            "positions": self.learned_positions * self.embed_dim,
            "blocks": self.layers * sum(self.block().values()),
            "norm": self._norm(),
            "head": 0 if self.tied else table,
        }

    def total(self) -> int:
        """All parameters: the sum of `parameters()`."""
        return sum(self.parameters().values())

    def bytes(self, dtype: str = "float32") -> int:
        """The weights in memory, in bytes.

        >>> from embeddings_lib import published_shape
        >>> published_shape("GPT-2 124M").bytes("bfloat16")
        248879616

        Raises ValueError for a dtype that is not in `BYTES`.
        """
        return self.total() * bytes_per_number(dtype)

    def training_bytes(self, *, mixed: bool = True) -> dict[str, int]:
        """What AdamW keeps for each step, in bytes; activations come on top.

        >>> from embeddings_lib import published_shape
        >>> sum(published_shape("GPT-2 124M").training_bytes().values())
        1991036928

        Equation: 16 bytes a parameter. In float32: 4 each for the weight, the gradient
        and both running means. With `mixed` precision the weight and the gradient take
        2, and a float32 copy of the weight 4.

        Source: Rajbhandari et al. 2020, section 3.1.
        """
        sizes = {"weights": 4, "gradients": 4, "first moment": 4, "second moment": 4}
        if mixed:
            sizes |= {"weights": 2, "gradients": 2, "float32 copy": 4}
        return {name: size * self.total() for name, size in sizes.items()}

    def input_bytes(self, batch: int, seq: int, dtype: str = "float32") -> int:
        """The vectors that enter the first block, (batch, seq, embed_dim), in bytes."""
        _guards.whole(1, batch=batch, seq=seq)
        return batch * seq * self.embed_dim * bytes_per_number(dtype)

    def flops(self, seq: int, offset: int = 0) -> dict[str, int]:
        """Additions and multiplications of one forward pass over `seq` new tokens.

        >>> from embeddings_lib import published_shape
        >>> published_shape("GPT-2 124M").flops(seq=1, offset=1023)
        {'lookup': 768, 'blocks': 207618048, 'head': 77194752}

        Equation: 2 for each weight of a matrix and each token, and 4 q for each pair of
        a query with a key, the masked pairs included. `offset` tokens before are in the
        cache of keys and values. Norms, softmax and biases are left out.
        """
        _guards.new_tokens(seq, offset)
        q, _, _ = self.widths()
        matrices = self.block()["attention"] + self.block()["mlp"]
        pairs = seq * (offset + seq)
        return {
            "lookup": seq * self.embed_dim if self.learned_positions else 0,
            "blocks": self.layers * (2 * seq * matrices + 4 * q * pairs),
            "head": 2 * seq * self.vocab_size * self.embed_dim,
        }

    def bytes_moved(
        self, seq: int, offset: int = 0, dtype: str = "float32"
    ) -> dict[str, int]:
        """Bytes that a forward pass over `seq` new tokens must move, at the least.

        >>> from embeddings_lib import published_shape
        >>> published_shape("GPT-2 124M").bytes_moved(seq=1)["lookup"]
        9224

        The lookup reads an ID of 8 bytes and a row, or two rows with learned positions,
        and writes one. The blocks and the head read each weight once, and the blocks
        the cached keys and values.
        """
        _guards.new_tokens(seq, offset)
        size, (_, kv, _) = bytes_per_number(dtype), self.widths()
        parts, rows = self.parameters(), 3 if self.learned_positions else 2
        cache = 2 * self.layers * kv * offset
        return {
            "lookup": seq * (8 + rows * self.embed_dim * size),
            "blocks": (parts["blocks"] + cache) * size,
            "head": parts["token table"] * size,
        }

    def _norm(self) -> int:
        return (2 if self.biases == "all" else 1) * self.embed_dim


def bytes_per_number(dtype: str) -> int:
    """The bytes that one number takes in a format.

    >>> bytes_per_number("bfloat16")
    2

    Raises ValueError for a format that is not in `BYTES`.
    """
    _guards.one_of(BYTES, dtype=dtype)
    return BYTES[dtype]
