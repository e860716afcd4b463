"""Text becomes token IDs, by byte-level byte-pair encoding (chapter 1)."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, pairwise, permutations
from operator import itemgetter
from typing import Literal, NoReturn

import regex
import tiktoken

from embeddings_lib._chunks import Text, check_cuts, chunks_of, either, safe_pieces
from embeddings_lib._pair_index import PairIndex

# A contraction; or letters, or digits, or other signs, each run with at most one
# leading space; or white space. The pattern of Radford et al. 2019, in the faster form
# that tiktoken uses.
GPT2_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
)
END_OF_TEXT = "<|endoftext|>"


class _Backwards(tuple):
    """A tuple that sorts before the smaller ones."""

    __lt__ = tuple.__gt__


# Which of equally frequent pairs comes first, given the bytes of the tokens so far.
TIES = {
    "smallest_ids": lambda pair, tokens: pair,
    "greatest_bytes": lambda pair, tokens: _Backwards(tokens[i] for i in pair),
}


def merge(tokens: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    """Join every occurrence of `pair` into one token, from left to right.

    >>> merge([b"a", b"a", b"a", b"b"], (b"a", b"a"))
    [b'aa', b'a', b'b']
    """
    merged, i = [], 0
    while i < len(tokens):
        width = 2 if tuple(tokens[i : i + 2]) == pair else 1
        merged.append(b"".join(tokens[i : i + width]))
        i += width
    return merged


def train_bpe(
    text: Text,
    vocab_size: int,
    *,
    special_tokens: Sequence[str] | None = None,
    pattern: str = GPT2_PATTERN,
    ties: Literal["smallest_ids", "greatest_bytes"] = "smallest_ids",
) -> tiktoken.Encoding:
    """Learn a byte-level BPE vocabulary of `vocab_size` tokens from `text`.

    >>> encoding = train_bpe("low low low lower lowest", vocab_size=256 + 3)
    >>> encoding.decode_tokens_bytes(encoding.encode("lower low"))
    [b'low', b'e', b'r', b' low']

    IDs 0 to 255 are the single bytes; each later ID joins the pair of neighbouring
    tokens that was most frequent when it was made. A pair never crosses two words of
    `pattern`. The last IDs are the special tokens: they are kept whole, and nothing is
    joined across them. Left out, they are `<|endoftext|>` if the text holds it, and
    none otherwise.

    Among equally frequent pairs the one with the smaller IDs wins, or with
    `ties="greatest_bytes"` the one whose bytes come last in the alphabet.

    `text` is a string, the path of a file, or an iterable of strings and paths, which
    together give what their joined text would: see `encode_iterable` for where it is
    cut. Time grows with the text, to find its words, and with the letters of the
    distinct words, to merge them; hardly with the number of merges. Memory grows with
    the distinct words and, for a string, with the text.

    Raises ValueError if `vocab_size` has no room for the bytes and the special tokens,
    if the text runs out of pairs before `vocab_size` is reached, if the text holds a
    surrogate, which UTF-8 cannot write, or if one special token begins another.

    Source: Sennrich et al. 2016, section 3.2, on bytes as in Radford et al. 2019,
    section 2.2.
    """
    _check_request(vocab_size, special_tokens or (), pattern, ties)
    words, special_tokens = _count_words(text, pattern, special_tokens)
    tokens = [bytes([byte]) for byte in range(256)]
    pairs = PairIndex(words, order=lambda pair: TIES[ties](pair, tokens))
    while len(tokens) < vocab_size - len(special_tokens):
        pair = pairs.most_frequent() or _no_pair_left(
            tokens, special_tokens, vocab_size
        )
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        pairs.join(pair, new=len(tokens) - 1)
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return encoding_of(f"bpe_{vocab_size}", ranks, pattern, special_tokens)


def encoding_of(
    name: str,
    ranks: Mapping[bytes, int],
    pattern: str = GPT2_PATTERN,
    special_tokens: Mapping[str, int] | Iterable[str] = (),
) -> tiktoken.Encoding:
    """The encoding of a vocabulary; special tokens without an ID get the next ones.

    >>> ranks = {bytes([byte]): byte for byte in range(256)} | {b"hi": 256}
    >>> encoding_of("small", ranks).encode("hi!")
    [256, 33]

    Raises ValueError if a byte has no token.
    """
    _check_bytes(ranks)
    if not isinstance(special_tokens, Mapping):
        following = max(ranks.values()) + 1
        special_tokens = {t: i for i, t in enumerate(special_tokens, following)}
    return tiktoken.Encoding(
        name=name,
        pat_str=pattern,
        mergeable_ranks=dict(ranks),
        special_tokens=dict(special_tokens),
    )


def learned_merges(encoding: tiktoken.Encoding) -> list[tuple[bytes, bytes]]:
    """The pairs that were joined, in the order in which they were learned.

    >>> learned_merges(train_bpe("low low lower", vocab_size=256 + 3))
    [(b'l', b'o'), (b'lo', b'w'), (b' ', b'low')]

    A token alone was joined as it is in any word, so its own bytes, merged in the order
    of their IDs, end in the pair that made it.

    Raises ValueError for a token that no two earlier ones give.
    """
    ranks = {
        token: encoding.encode_single_token(token)
        for token in encoding.token_byte_values()
    }
    learned = sorted(ranks, key=ranks.get)
    return [_last_pair(token, ranks) for token in learned if len(token) > 1]


def encode_iterable(
    encoding: tiktoken.Encoding,
    text: Text,
    *,
    allowed_special: Literal["all"] | Collection[str] = (),
    disallowed_special: Literal["all"] | Collection[str] = "all",
) -> Iterator[int]:
    """The IDs of a long text one by one, in memory that does not grow with the text.

    >>> encoding = train_bpe("low low lower", vocab_size=256 + 3)
    >>> list(encode_iterable(encoding, ["lo", "w lo", "wer"]))
    [257, 258, 101, 114]
    >>> encoding.encode("low lower")
    [257, 258, 101, 114]

    `text` is what `train_bpe` takes: here mostly a path, an open file or a generator.
    The IDs are those of the whole text at once, however it comes. For that it is
    encoded in pieces, cut where white space follows a word: the patterns in use begin a
    new word at such a space, and none of them looks beyond it. Memory holds the longest
    stretch without such a place.

    Raises ValueError for a pattern with words that reach over such a space, and, as
    `encode` does, for a special token that is not allowed.
    """
    check_cuts(encoding._pat_str)
    special = encoding.special_tokens_set
    allowed = special if allowed_special == "all" else set(allowed_special)
    refused = special - allowed if disallowed_special == "all" else disallowed_special
    encode = encoding.encode_ordinary
    if known := allowed.union(refused):
        options = {"allowed_special": allowed, "disallowed_special": refused}
        encode = partial(encoding.encode, **options)
    return chain.from_iterable(map(encode, safe_pieces(chunks_of(text), known)))


def gpt2_encoding() -> tiktoken.Encoding:
    """GPT-2's own encoding: 256 bytes, 50,000 merges and `<|endoftext|>`, 50,257
    tokens.

    >>> gpt2_encoding().encode("Hello world")
    [15496, 995]

    The merges come from `embeddings_lib.downloads`, so one visit to the network is
    enough. Raises its AssetError if they are not cached and no source has them.

    Source: Radford et al. 2019, section 2.2.
    """
    # here, so that `python -m` can run that module
    from embeddings_lib.downloads import fetch
    from embeddings_lib.tokenizer_files import load_encoding

    ranks = fetch("gpt2_merges")
    return load_encoding(ranks, special_tokens=[END_OF_TEXT], name="gpt2")


def _count_words(
    text: Text, pattern: str, special_tokens: Sequence[str] | None
) -> tuple[Counter[str], list[str]]:
    """How often each word occurs, and the special tokens to keep."""
    kept = [END_OF_TEXT] if special_tokens is None else list(special_tokens)
    word, mark = regex.compile(pattern), either(kept)
    words, found = Counter(), set()
    for piece in _pieces(text, pattern, kept):
        found.update(mark.findall(piece))
        for part in mark.split(piece):
            words.update(map(itemgetter(0), word.finditer(part)))
    return words, sorted(found) if special_tokens is None else kept


def _pieces(text: Text, pattern: str, special_tokens: list[str]) -> Iterator[str]:
    """The parts to count; a string is one, so that any pattern may split it."""
    pieces = [text]
    if not isinstance(text, str):
        check_cuts(pattern)
        pieces = safe_pieces(chunks_of(text), special_tokens)
    start = 0
    for piece in pieces:
        _check_surrogates(piece, start)
        yield piece
        start += len(piece)


def _last_pair(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    def rank(pair: tuple[bytes, bytes]) -> int:
        return ranks.get(pair[0] + pair[1], ranks[token])

    tokens = [bytes([byte]) for byte in token]
    while len(tokens) > 2:
        first = min(pairwise(tokens), key=rank)
        _check_earlier(rank(first), token, ranks)
        tokens = merge(tokens, first)
    return tuple(tokens)


def _check_request(
    vocab_size: int, special_tokens: Sequence[str], pattern: str, ties: str
) -> None:
    least = 256 + len(special_tokens)
    if vocab_size < least:
        more = f", and {len(special_tokens)} more are special" if special_tokens else ""
        raise ValueError(
            f"vocab_size must be at least {least}, because every byte needs a token of "
            f"its own{more}; got {vocab_size}"
        )
    if ties not in TIES:
        raise ValueError(
            f"ties must be one of {', '.join(TIES)}, because equally frequent pairs "
            f"need an order; got {ties!r}"
        )
    _check_special_tokens(special_tokens)
    if pattern != GPT2_PATTERN:  # one that tiktoken cannot read fails here, at once
        encoding_of("untrained", {bytes([byte]): byte for byte in range(256)}, pattern)


def _check_special_tokens(special_tokens: Sequence[str]) -> None:
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


def _no_pair_left(
    tokens: list[bytes], special_tokens: list[str], vocab_size: int
) -> NoReturn:
    reached = len(tokens) + len(special_tokens)
    raise ValueError(
        f"the text has no pair left to merge after {reached} tokens, because each of "
        f"its words is one token by then; got vocab_size={vocab_size}: ask for at most "
        f"{reached}, or give more text"
    )


def _check_surrogates(text: str, start: int) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            "text must be valid Unicode, because UTF-8 has no bytes for a lone "
            f"surrogate; got U+{ord(text[error.start]):04X} at index "
            f"{start + error.start}: replace it, for example with '\\ufffd'"
        ) from None


def _check_bytes(ranks: Mapping[bytes, int]) -> None:
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise ValueError(
            "every byte needs a token of its own, because any text may hold it; got "
            f"{len(ranks)} tokens, and none for byte {missing[0]}"
        )


def _check_earlier(rank: int, token: bytes, ranks: Mapping[bytes, int]) -> None:
    if rank >= ranks[token]:
        raise ValueError(
            "every token must join two earlier ones, because that is how BPE makes "
            f"them; got {token!r} with ID {ranks[token]}, which no two give"
        )
