"""Every check of the library, in one place, so that it is a line where it is called.

A refusal says the rule, then what it got, and then what helps, where something surely
does: "heads must divide embed_dim; got 3 heads and embed_dim 16".
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter
from itertools import permutations

import tiktoken
import torch
from torch import Tensor, nn

Number = int | float

# One value


def at_least(least: Number, **values: Number) -> None:
    """Each value, under the name that its caller knows, is `least` or more."""
    for name, value in values.items():
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}; got {value}")


def above(bound: Number, **values: Number) -> None:
    for name, value in values.items():
        if not bound < value < math.inf:
            raise ValueError(f"{name} must be above {bound} and finite; got {value}")


def between(least: Number, most: Number, **values: Number) -> None:
    for name, value in values.items():
        if not least <= value <= most:
            raise ValueError(f"{name} must be {least} to {most}; got {value}")


def whole(least: int, **values) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(
                f"{name} must be a whole number from {least} on; got {value!r}"
            )


def even(why: str, **values: int) -> None:
    for name, value in values.items():
        if value < 2 or value % 2:
            raise ValueError(f"{name} must be even, because {why}; got {value}")


def one_of(known: Iterable, **option) -> None:
    ((name, value),) = option.items()
    if value not in known:
        *others, last = map(repr, known)
        choice = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{name} must be {choice}; got {value!r}")


def multiple(of: dict, **value: int) -> None:
    ((name, number),), ((divisor_name, divisor),) = value.items(), of.items()
    if divisor < 1 or number % divisor:
        raise ValueError(
            f"{name} must be a multiple of {divisor_name}; got {number} and {divisor}"
        )


# Rows of a table


def explains_indices(
    what: str,
    *,
    table: str = "weight",
    rows: int | None = None,
    reason: str = "the table has {rows} rows",
    remedy: str,
) -> Callable:
    """A decorator for `forward(self, indices)`, which reads rows of `self.<table>`: a
    wrong index becomes an error that says which one and where it stands.

    PyTorch itself refuses a wrong index on a CPU, so there the indices are read again
    only after that. On a GPU they are read first, once a call, because there a wrong
    one ends the program's use of the GPU. Compiled code reads none: a wrong kind of
    indices is refused as it is made, and a wrong index by PyTorch's lookup as it runs.
    """

    def decorate(forward: Callable) -> Callable:
        def check_kind(self, indices: Tensor) -> None:
            _kind_of_indices(indices, getattr(self, table).device, what)

        def check_range(self, indices: Tensor) -> None:
            last = (rows or len(getattr(self, table))) - 1
            why = reason.format(rows=last + 1)
            _range_of_indices(indices, last, what, why, remedy)

        @functools.wraps(forward)
        def explained(self, indices: Tensor) -> Tensor:
            if torch.compiler.is_compiling():
                check_kind(self, indices)
                return forward(self, indices)
            if not _are_usual(indices):
                check_kind(self, indices)
            if fails_late(indices):
                check_range(self, indices)
            try:
                return forward(self, indices)
            except (IndexError, RuntimeError, TypeError):
                check_kind(self, indices)
                check_range(self, indices)
                raise

        return explained

    return decorate


INTEGERS = (torch.int64, torch.int32)


def _are_usual(indices: Tensor) -> bool:
    """Quick to say, and true of nearly all indices on a CPU."""
    return isinstance(indices, Tensor) and indices.is_cpu and indices.dtype in INTEGERS


def fails_late(indices: Tensor) -> bool:
    """Whether a wrong index would surface only later, as a dead GPU or silent zeros."""
    if indices.is_cpu or indices.is_meta:
        return False
    return not (indices.is_cuda and torch.cuda.is_current_stream_capturing())


def _kind_of_indices(indices: Tensor, device: torch.device, what: str) -> None:
    if not isinstance(indices, Tensor):
        raise TypeError(
            f"{what} must be a tensor; got {type(indices).__name__}: wrap it in "
            "torch.tensor(...)"
        )
    if indices.dtype not in INTEGERS:
        raise TypeError(f"{what} must be int64 or int32; got {indices.dtype}")
    if indices.device != device:
        raise ValueError(
            f"{what} must be on the table's device; got {what} on {indices.device} and "
            f"a table on {device}: move them with .to('{device}')"
        )


def _range_of_indices(
    indices: Tensor, last: int, what: str, why: str, remedy: str
) -> None:
    outside = (indices < 0) | (indices > last)
    if outside.any():
        place = tuple(outside.nonzero()[0].tolist())
        raise IndexError(
            f"{what} must be 0 to {last}, because {why}; got "
            f"{indices[place].item()} at index {place}: {remedy}"
        )


VOCABULARY = "was the text encoded with another vocabulary?"


def known_ids(
    token_ids: Tensor, vocab_size: int, device: torch.device, what: str = "token IDs"
) -> None:
    """IDs read before they are used, where what uses them would refuse none."""
    if not torch.compiler.is_compiling():
        why = f"vocab_size is {vocab_size}"
        _kind_of_indices(token_ids, device, what)
        _range_of_indices(token_ids, vocab_size - 1, what, why, VOCABULARY)


def span_within(seq: int, offset: int, *, rows: int, reason: str, remedy: str) -> None:
    if seq < 0 or offset < 0 or offset + seq > rows:
        raise IndexError(
            f"positions must be 0 to {rows - 1}, because {reason.format(rows=rows)}; "
            f"got {seq} tokens from position {offset}: {remedy}"
        )


# Positions


def one_origin(positions: Tensor | None, offset: int) -> None:
    if positions is not None and offset:
        raise ValueError(
            "positions and offset exclude each other, because both say where the text "
            f"stands; got both, and offset {offset}: add it to the positions"
        )


def sinusoids(embed_dim: int, positions: Tensor | None = None) -> None:
    even("each sine has a cosine beside it", embed_dim=embed_dim)
    if positions is not None and positions.dtype in (torch.bfloat16, torch.float16):
        raise TypeError(
            "positions must be integers, float32 or float64, because a 16-bit format "
            f"skips whole numbers from 256 or 2,048 on; got {positions.dtype}"
        )


def addable(rows: Tensor, places: Tensor, table: nn.Module) -> None:
    """Rows that a table without weights computes are float32, and may be rounded."""
    learned = rows.dtype != places.dtype and any(True for _ in table.parameters())
    if learned or rows.device != places.device:
        raise ValueError(
            "token rows and position rows must have one device and one dtype; got "
            f"{rows.dtype} on {rows.device} and {places.dtype} on {places.device}: "
            "move the whole layer with .to()"
        )


def same_width(rows: Tensor, places: Tensor) -> None:
    if rows.shape[-1] != places.shape[-1]:
        raise ValueError(
            "token rows and position rows must have the same width, because they are "
            f"added feature by feature; got {rows.shape[-1]} and {places.shape[-1]}: "
            "make both with one embed_dim"
        )


# Attention and rotation


def keys_for(seq_q: int, seq_k: int, positions: Tensor | None = None) -> None:
    if positions is not None and positions.shape[-1:] != (seq_k,):
        raise ValueError(
            "positions must be those of all keys, (seq_k) or (*batch, seq_k); got the "
            f"shape {tuple(positions.shape)} for {seq_k} keys"
        )
    if not 0 <= seq_q <= seq_k:
        raise ValueError(
            "there must be at least as many keys as queries, because the last query "
            f"stands at the last key; got {seq_q} queries and {seq_k} keys: were the "
            "keys of earlier tokens lost?"
        )


def attendable(q: Tensor, k: Tensor, causal: bool, mask: Tensor | None) -> None:
    multiple({"kv_heads": k.shape[-2]}, heads=q.shape[-2])
    if causal:
        keys_for(q.shape[-3], k.shape[-3])
    if mask is not None and mask.dtype != torch.bool:
        raise TypeError(
            "mask must be a boolean tensor, True where a query may look; got "
            f"{mask.dtype}: numbers to add to the scores are a bias"
        )


def alibi(heads: int, alibi_bias_max: Number) -> None:
    at_least(1, heads=heads)
    above(0, alibi_bias_max=alibi_bias_max)


def slopes(heads: int, given: Tensor | None) -> None:
    at_least(1, heads=heads)
    if given is not None and given.shape != (heads,):
        raise ValueError(
            "slopes must be a number for each head; got the shape "
            f"{tuple(given.shape)} for {heads} heads"
        )


def buckets(buckets: int, max_distance: int, bidirectional: bool) -> None:
    single = buckets // (4 if bidirectional else 2)
    if not 1 <= single < max_distance:
        part = "a quarter" if bidirectional else "half"
        raise ValueError(
            f"{part} of the buckets must be at least 1 and below max_distance, because "
            "so many are for single distances and as many for those up to "
            f"max_distance; got {buckets} buckets and max_distance {max_distance}"
        )


def t5(heads: int, number: int, max_distance: int, bidirectional: bool) -> None:
    at_least(1, heads=heads)
    buckets(number, max_distance, bidirectional)


def one_table(tables: Sequence) -> None:
    if len(tables) != 1:
        raise ValueError(
            "the part must hold one table of relative positions; got "
            f"{len(tables)}: pass the encoder or the decoder, or the attention of a "
            "layer where each has its own"
        )


def rotary_sizes(head_dim: int, rotary_dim: int, layout: str = "halves") -> None:
    one_of(("halves", "pairs"), layout=layout)
    even("features rotate in pairs", head_dim=head_dim)
    if not 2 <= rotary_dim <= head_dim or rotary_dim % 2:
        raise ValueError(
            "rotary_dim must be even and at most head_dim, because pairs of a head's "
            f"features rotate; got {rotary_dim} with head_dim {head_dim}"
        )


def turn_of(x: Tensor, angles: Tensor, layout: str) -> None:
    one_of(("halves", "pairs"), layout=layout)
    if 2 * angles.shape[-1] > x.shape[-1]:
        raise ValueError(
            "each angle needs a pair of features; got "
            f"{angles.shape[-1]} angles for {x.shape[-1]} features"
        )


def turnable(
    parts: tuple[Tensor, ...],
    positions: Tensor | None,
    head_dim: int,
    device: torch.device,
    heads_first: bool,
) -> None:
    """Queries and keys that one module can turn, and positions that fit them."""
    first = parts[0]
    for x in parts:
        if x.ndim < 3 or x.shape[-1] != head_dim:
            axes = "heads, seq" if heads_first else "seq, heads"
            raise ValueError(
                f"{_names(parts)} must have the shape (*batch, {axes}, head_dim); got "
                f"{tuple(x.shape)} with head_dim {head_dim}"
            )
        if not x.is_floating_point() or x.dtype != first.dtype:
            raise TypeError(
                f"{_names(parts)} must have one floating-point dtype; got "
                f"{' and '.join(str(part.dtype) for part in parts)}"
            )
        if x.device != device:
            raise ValueError(
                f"{_names(parts)} must be on the module's device; got {x.device} and a "
                f"module on {device}: move the module with .to('{x.device}')"
            )
    places = _places(first, heads_first)
    if any(_places(x, heads_first) != places for x in parts):
        raise ValueError(
            "q and k must have the same batch and seq; got "
            f"{' and '.join(str(tuple(part.shape)) for part in parts)}"
            f"{_order(heads_first)}; if their texts differ in length, turn each alone "
            "with rotate"
        )
    if positions is not None:
        _kind_of_indices(positions, device, "positions")
        *batch, seq = places
        *given, length = positions.shape or (None,)
        if length != seq or given not in ([], [1] * len(given), batch):
            raise ValueError(
                "positions must have the shape (seq) or (*batch, seq); got "
                f"{tuple(positions.shape)} and {_names(parts)[0]} of shape "
                f"{tuple(first.shape)}{_order(heads_first)}"
            )


def _places(x: Tensor, heads_first: bool) -> tuple[int, ...]:
    """The shape of the batch and the text."""
    return (*x.shape[:-3], x.shape[-2 if heads_first else -3])


def _names(parts: tuple[Tensor, ...]) -> str:
    return "q and k" if len(parts) == 2 else "x"


def _order(heads_first: bool) -> str:
    """Which order was expected of heads and seq, and how to say the other."""
    if heads_first:
        return ", with heads_first=True"
    return (
        ": if heads stand before seq, say heads_first=True, or swap them with "
        ".transpose(-3, -2)"
    )


def rotary_rows(weight: Tensor, head_dim: int, rotary_dim: int) -> None:
    rotary_sizes(head_dim, rotary_dim)
    if weight.shape[0] % head_dim:
        raise ValueError(
            "the rows must be heads times head_dim, because each head is reordered on "
            f"its own; got {weight.shape[0]} rows and head_dim {head_dim}"
        )


# Sizes of a model


def new_tokens(seq: int, offset: int) -> None:
    whole(1, seq=seq)
    whole(0, offset=offset)


def shape(model) -> None:
    """All sizes of a `ModelShape`."""
    needed = ("vocab_size", "embed_dim", "layers", "heads")
    whole(1, **{name: getattr(model, name) for name in needed})
    optional = ("kv_heads", "head_dim", "mlp_dim")
    given = {name: getattr(model, name) for name in optional}
    whole(1, **{name: size for name, size in given.items() if size is not None})
    whole(0, learned_positions=model.learned_positions)
    if model.head_dim is None:
        multiple({"heads": model.heads}, embed_dim=model.embed_dim)
    multiple({"kv_heads": model.kv_heads or model.heads}, heads=model.heads)
    one_of(("all", "qkv", "none"), biases=model.biases)


def llama_shape(shape) -> None:
    if not shape.gated or shape.biases != "none" or shape.learned_positions:
        raise ValueError(
            "a Llama has a gated MLP, no biases and no table of positions; got "
            f"gated={shape.gated}, biases={shape.biases!r} and learned_positions="
            f"{shape.learned_positions}"
        )


# The files of a model


def plain_llama(config: dict) -> None:
    """A configuration that asks for nothing that a Llama does not have."""
    one_of(("llama", "mistral"), model_type=config.get("model_type"))
    one_of(("silu",), hidden_act=config.get("hidden_act", "silu"))
    absent = ("attention_bias", "mlp_bias", "sliding_window", "quantization_config")
    for name in absent:
        if config.get(name):
            raise ValueError(f"a Llama has no {name}; got {name}={config[name]!r}")


def same_tensors(wanted: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """The tensors of a file are those that the model wants, in its shapes."""
    missing, left_over = (
        ", ".join(sorted(a.keys() - b.keys()))
        for a, b in ((wanted, given), (given, wanted))
    )
    if missing or left_over:
        raise ValueError(
            "the file must hold the tensors that its sizes ask for; missing: "
            f"{missing or 'none'}; left over: {left_over or 'none'}"
        )
    for name, tensor in wanted.items():
        if given[name].shape != tensor.shape:
            raise ValueError(
                f"{name} must have the shape {tuple(tensor.shape)}, by the sizes of "
                f"the model; got {tuple(given[name].shape)}"
            )


# Scaled rates


def slower(factor: Number, original_length: Number = 1) -> None:
    if not 1 <= factor < math.inf:
        raise ValueError(
            f"factor must be at least 1, because rates only become slower; got {factor}"
        )
    at_least(1, original_length=original_length)


def slowed(rates: Tensor, factor: Number, original_length: Number = 1) -> None:
    slower(factor, original_length)
    if len(rates) < 2:
        raise ValueError(
            "there must be at least two pairs, because the fastest and the slowest are "
            f"treated differently; got {len(rates)}"
        )


def yarn(
    rates: Tensor, factor: Number, length: Number, beta_slow: Number, beta_fast: Number
) -> None:
    slowed(rates, factor, length)
    if not 0 < beta_slow <= beta_fast:
        raise ValueError(
            "beta_slow must be above 0 and at most beta_fast, because they are the "
            "turns at which a pair is interpolated or kept; got "
            f"{beta_slow} and {beta_fast}"
        )


def yarn_growth(factor: Number, mscale: Number | None, all_dim: Number | None) -> None:
    slower(factor)
    if (mscale is None) != (all_dim is None):
        raise ValueError(
            "mscale and mscale_all_dim must stand together, because programs differ in "
            f"what one of them means alone; got {mscale} and {all_dim}"
        )


def llama3(factor: Number, length: Number, low: Number, high: Number) -> None:
    slower(factor, length)
    if not low <= high:
        raise ValueError(
            "low_freq_factor must be at most high_freq_factor, because pairs with "
            "fewer turns are interpolated and pairs with more are kept; got "
            f"{low} and {high}"
        )


def longrope(rates: Tensor, short: Sequence, long: Sequence, length: Number) -> None:
    at_least(1, original_length=length)
    if not len(short) == len(long) == len(rates):
        raise ValueError(
            "short_factor and long_factor must have a number for each pair; got "
            f"{len(short)} and {len(long)} numbers for {len(rates)} pairs"
        )
    above(0, short_factor=min(short), long_factor=min(long))


def longrope_growth(factor: Number, length: Number) -> None:
    slower(factor)
    at_least(2, original_length=length)


def turning_share(share: Number, factor: Number) -> None:
    slower(factor)
    some_share(share)


# Configurations


def layer(given, count: int, types: list[str], first, others: list) -> None:
    """One of `count` layers or of their types; none where all turn as the first."""
    differ = any(other != first for other in others)
    known = given in types or given in range(count) or not (count or types)
    if not known if given is not None else differ:
        choice = [f"0 to {count - 1}"] * (count > 0) + list(map(repr, types))
        raise ValueError(
            f"layer must be {' or '.join(choice)}, because layers of this model "
            f"{'turn differently' if differ else 'end there'}; got {given!r}"
        )


def entry_for_each(types: Sequence[str], by_type: Mapping) -> None:
    lacking = [kind for kind in types if by_type and kind not in by_type]
    if lacking:
        raise ValueError(
            "each type of layer must have an entry, because types turn differently; "
            f"got none for {lacking[0]!r}"
        )


def known_keys(entry: Iterable[str], known: set[str]) -> None:
    strange = [key for key in entry if key not in known]
    if strange:
        raise ValueError(
            "each key about rotation must be one whose effect is known, because it may "
            f"change the rates; got {', '.join(strange)}"
        )


def numeric(values: Mapping) -> None:
    """Each value is a number, or a list of them."""
    for name, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, bool) or not isinstance(each, Number):
                raise ValueError(f"{name} must be numeric; got {each!r}")


def some_type(kind: str | None, scaling: Sequence[str]) -> None:
    if scaling and not kind:
        raise ValueError(
            "rope_type must be given where keys scale the rates, because each type "
            f"uses them in its own way; got {', '.join(scaling)} without it"
        )


def keys_of(kind: str, wanted: dict[str, Parameter], given: Iterable[str]) -> None:
    """The keys that a configuration of this kind must have."""
    bands = ("low_freq_factor", "high_freq_factor")  # no file leaves them out
    needed = [
        key for key, one in wanted.items() if one.default is one.empty or key in bands
    ]
    lacking = [key for key in needed if key not in given]
    if lacking:
        seq = ": give seq, the length of the text in tokens"
        raise ValueError(
            f"rope_type {kind!r} must have the keys {', '.join(needed)}; this one "
            f"lacks {', '.join(lacking)}{seq if lacking == ['seq'] else ''}"
        )


def some_head_dim(known: Mapping, given: int | None) -> None:
    own = {"head_dim", "qk_rope_head_dim"} & known.keys()
    if not (given or own or {"hidden_size", "num_attention_heads"} <= known.keys()):
        raise ValueError(
            "head_dim must be given, because this configuration has neither head_dim "
            f"nor hidden_size with num_attention_heads; got none{_whole(known)}"
        )


def _whole(known: Mapping) -> str:
    return "" if "model_type" in known else ": pass the whole config.json"


def some_share(share: Number | None) -> None:
    if share is not None and not 0 < share <= 1:
        raise ValueError(
            "partial_rotary_factor must be above 0 and at most 1, because it is the "
            f"share of a head's features that rotate; got {share}"
        )


def some_base(known: Mapping) -> None:
    if known.get("rope_theta") is None:
        raise ValueError(
            "rope_theta must be given, because a guessed base is wrong in silence; got "
            f"none{_whole(known)}"
        )


def some_layout(known: Mapping) -> None:
    if "layout" not in known:
        raise ValueError(
            "layout must be given for a model whose code is not known here, because "
            "its file does not say which features are a pair; got model_type "
            f"{known.get('model_type')!r}"
        )


# Vocabularies


def bpe_request(
    vocab_size: int,
    special_tokens: Sequence,
    pattern: str,
    ties: str,
    known_ties: Iterable,
) -> None:
    least = 256 + len(special_tokens)
    if vocab_size < least:
        more = f", and {len(special_tokens)} more are special" if special_tokens else ""
        raise ValueError(
            f"vocab_size must be at least {least}, because every byte needs a token of "
            f"its own{more}; got {vocab_size}"
        )
    one_of(known_ties, ties=ties)
    special_tokens_apart(special_tokens)
    single_bytes = {bytes([byte]): byte for byte in range(256)}
    # A pattern that tiktoken cannot read fails here, before anything is learned.
    tiktoken.Encoding(
        "untrained", pat_str=pattern, mergeable_ranks=single_bytes, special_tokens={}
    )


def special_tokens_apart(special_tokens: Sequence) -> None:
    if isinstance(special_tokens, str):
        raise TypeError(
            "special_tokens must be a list, because there may be several; got "
            f"{special_tokens!r}: write [{special_tokens!r}]"
        )
    for one, other in permutations(special_tokens, 2):
        if other.startswith(one):
            raise ValueError(
                "no special token may begin another, because a text that holds the "
                f"longer one could be read in two ways; got {one!r} and {other!r}"
            )
    if "" in special_tokens:
        raise ValueError(
            "a special token must have a character, because the empty text is "
            "everywhere; got ''"
        )


def no_surrogates(text: str, start: int) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            "text must be valid Unicode, because UTF-8 has no bytes for a lone "
            f"surrogate; got U+{ord(text[error.start]):04X} at index "
            f"{start + error.start}: replace it, for example with '\\ufffd'"
        ) from None


def token_for_each_byte(ranks: Mapping) -> None:
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise ValueError(
            "every byte needs a token of its own, because any text may hold it; got "
            f"{len(ranks)} tokens, and none for byte {missing[0]}"
        )


def earlier_tokens(rank: int, token: bytes, ranks: Mapping) -> None:
    if rank >= ranks[token]:
        raise ValueError(
            "every token must join two earlier ones, because that is how BPE makes "
            f"them; got {token!r} with ID {ranks[token]}, which no two give"
        )


def spellings_apart(shared: list) -> None:
    if shared:
        raise ValueError(
            "vocab.json needs a spelling of its own for each token; got the special "
            f"token {shared[0]!r}, and that is how a learned token is spelled"
        )


def no_special_tokens_for(special_tokens: Mapping | Iterable) -> None:
    if special_tokens:
        raise ValueError(
            "vocab.json names the special tokens of a folder, so none may be given; "
            f"got special_tokens={special_tokens!r}"
        )


def order_of_merges(found: list, written: list) -> None:
    for number, (one, other) in enumerate(zip(found, written, strict=False)):
        if one != other:
            raise ValueError(
                "the IDs in vocab.json must be in the order of merges.txt, because "
                f"tiktoken applies merges by ID; got {other} as merge {number}, where "
                f"the IDs say {one}"
            )


# Words and counts


def counts(table: Tensor) -> None:
    if (table < 0).any() or table.sum() == 0:
        raise ValueError(
            "counts must be 0 or more, and not all 0; got "
            f"{(table < 0).sum()} below 0, and a sum of {table.sum()}"
        )


def directions(embed_dim: int, matrix: Tensor) -> None:
    most = min(matrix.shape)
    if not 1 <= embed_dim <= most:
        raise ValueError(
            f"embed_dim must be 1 to {most}, because a matrix of shape "
            f"{tuple(matrix.shape)} has {most} directions; got {embed_dim}"
        )


def trainable(words: Tensor, token_ids: Tensor, **numbers: Number) -> None:
    above(0, **numbers)
    if len(words) == 0:
        raise ValueError(
            "the text must have sentences of at least two words, because a pair needs "
            f"two; got token IDs of shape {tuple(token_ids.shape)}"
        )


def known_words(words: Iterable[str], row_of: dict[str, int]) -> None:
    for word in words:
        if word not in row_of:
            raise ValueError(
                f"words must be among the {len(row_of)} that have a row; got {word!r}: "
                "check its spelling, its case and its spaces"
            )


def sentences(texts: Sequence[Sequence[str]], row_of: dict[str, int]) -> None:
    known_words((word for text in texts for word in text), row_of)
    lengths = sorted({len(text) for text in texts})
    if len(lengths) != 1:
        raise ValueError(
            "sentences must have the same number of words, because they become the "
            f"rows of one tensor; got the lengths {lengths}"
        )


def named_directions(words: Sequence[str], lengths: Tensor) -> None:
    different = len(set(words))
    if not different == len(words) == len(lengths):
        raise ValueError(
            "each row must have a name of its own, because answers are names; got "
            f"{len(lengths)} rows, {len(words)} words and {different} different words"
        )
    bad = ~(lengths.isfinite() & (lengths > 0)).flatten()
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            "each row must have a direction, because a cosine divides by its length; "
            f"got length {lengths[row].item()} for {words[row]!r}: leave that word out"
        )


def answerable(k: int, answers: int, length: Tensor) -> None:
    between(1, answers, k=k)
    if length < 1e-6:
        raise ValueError(
            "c + (b − a) must not be zero, because zero has no direction; got length "
            f"{length.item()}: ask for other words"
        )


def some_questions(questions: Sequence) -> None:
    if len(questions) == 0:
        raise ValueError("accuracy needs at least one question; got none")


# Tables in pieces


def pieces(table: nn.Module, mesh, side: int) -> None:
    """A table that can be cut on one side so that each rank gets a piece."""
    if table.sparse:
        raise ValueError(
            "a table in pieces must have sparse=False, because PyTorch's distributed "
            "tensors hold no sparse gradients; got sparse=True"
        )
    if mesh.ndim > 1 and mesh.mesh_dim_names is None:
        raise ValueError(
            "a mesh of several dimensions must have names, because the last one is "
            f"taken by its name; got the shape {tuple(mesh.shape)}: give mesh_dim_names"
        )
    size, ranks = table.weight.shape[side], mesh.size(mesh.ndim - 1)
    most, cut = -(-size // ranks), ("rows", "columns")[side]
    if (ranks - 1) * most >= size:
        raise ValueError(
            f"each rank must get at least one of the {cut}, because it has a part in "
            f"every lookup; got {size} {cut} for {ranks} ranks, in pieces of {most}: "
            "take fewer ranks, or cut the other side"
        )
