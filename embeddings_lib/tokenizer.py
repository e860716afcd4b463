"""Text becomes token IDs, by byte-level byte-pair encoding (chapter 1)."""

import base64
from collections import Counter
from itertools import pairwise

import regex
import tiktoken

# A contraction; or letters, or digits, or other signs, each run with at most one
# leading space; or white space. The pattern of Radford et al. 2019, in the faster form
# that tiktoken uses.
GPT2_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
)


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


def train_bpe(text: str, vocab_size: int) -> tiktoken.Encoding:
    """Learn a byte-level BPE vocabulary of `vocab_size` tokens from `text`.

    >>> encoding = train_bpe("low low low lower lowest", vocab_size=256 + 3)
    >>> encoding.decode_tokens_bytes(encoding.encode("lower low"))
    [b'low', b'e', b'r', b' low']

    IDs 0 to 255 are the single bytes; each later ID joins the pair of neighbouring
    tokens that was most frequent when it was made. A pair never crosses two words of
    `GPT2_PATTERN`. Among equally frequent pairs the one with the smaller IDs wins. Time
    grows with the number of merges times the number of distinct words: right for a
    chapter, not for a corpus.

    Raises ValueError if `vocab_size` is below 256, if the text runs out of pairs before
    `vocab_size` is reached, or if the text holds a surrogate, which UTF-8 cannot write.

    Source: Sennrich et al. 2016, section 3.2, on bytes as in Radford et al. 2019,
    section 2.2.
    """
    if vocab_size < 256:
        raise ValueError(
            "vocab_size must be at least 256, because every byte needs a token of its "
            f"own; got {vocab_size}"
        )
    _refuse_surrogates(text)
    words = Counter(regex.findall(GPT2_PATTERN, text))
    splits = {word: [bytes([byte]) for byte in word.encode()] for word in words}
    pair_counts = Counter()
    for word, tokens in splits.items():
        _count(pair_counts, tokens, words[word])
    ranks = {bytes([byte]): byte for byte in range(256)}
    while len(ranks) < vocab_size:
        best = min(
            pair_counts,
            key=lambda p: (-pair_counts[p], ranks[p[0]], ranks[p[1]]),
            default=None,
        )
        if not pair_counts[best]:
            raise ValueError(
                f"the text has no pair left to merge after {len(ranks)} tokens, "
                f"because each of its words is one token by then; got vocab_size="
                f"{vocab_size}: ask for at most {len(ranks)}, or give more text"
            )
        ranks[best[0] + best[1]] = len(ranks)
        for word, tokens in splits.items():
            if best in pairwise(tokens):
                splits[word] = merge(tokens, best)
                _count(pair_counts, tokens, -words[word])
                _count(pair_counts, splits[word], words[word])
    return tiktoken.Encoding(
        name=f"bpe_{vocab_size}",
        pat_str=GPT2_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={},
        explicit_n_vocab=vocab_size,
    )


def gpt2_encoding() -> tiktoken.Encoding:
    """GPT-2's own encoding: 256 bytes, 50,000 merges and `<|endoftext|>`, 50,257
    tokens.

    >>> gpt2_encoding().encode("Hello world")
    [15496, 995]

    The merges come from `embeddings_lib.downloads`, so one visit to the network is
    enough. Raises its AssetError if they are not cached and no source has them.

    Source: Radford et al. 2019, section 2.2.
    """
    from embeddings_lib.downloads import (
        fetch,
    )  # here, so that `python -m` can run that module

    lines = fetch("gpt2_merges").read_bytes().splitlines()
    return tiktoken.Encoding(
        name="gpt2",
        pat_str=GPT2_PATTERN,
        mergeable_ranks={
            base64.b64decode(token): int(rank)
            for token, rank in map(bytes.split, lines)
        },
        special_tokens={"<|endoftext|>": 50256},
        explicit_n_vocab=50257,
    )


def _count(pair_counts: Counter, tokens: list[bytes], times: int) -> None:
    for pair in pairwise(tokens):
        pair_counts[pair] += times


def _refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            "text must be valid Unicode, because UTF-8 has no bytes for a lone "
            f"surrogate; got U+{ord(text[error.start]):04X} at index {error.start}: "
            "replace it, for example with '\\ufffd'"
        ) from None
