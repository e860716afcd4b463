"""A trained vocabulary as files that other programs read, and back (chapter 1)."""

import base64
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import tiktoken

from embeddings_lib import _guards
from embeddings_lib.tokenizer import GPT2_PATTERN, encoding_of, learned_merges

VERSION = "#version: 0.2"  # the first line of GPT-2's file of merges, and of all since


def save_encoding(encoding: tiktoken.Encoding, path: str | os.PathLike) -> None:
    """Write a vocabulary to a file `*.tiktoken`, or else into a folder.

    >>> import tempfile
    >>> from embeddings_lib import train_bpe
    >>> encoding = train_bpe("low low lower", vocab_size=256 + 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_encoding(encoding, folder)
    ...     print(Path(folder, "merges.txt").read_text(encoding="utf-8"))
    #version: 0.2
    l o
    lo w
    Ġ low
    <BLANKLINE>

    The file is tiktoken's: a token in base64 and its ID on each line. The folder gets
    the pair that GPT-2 came with and transformers and tokenizers read: `vocab.json`,
    every token with its ID, and `merges.txt`, every merge in order. They write each
    byte as a letter that can be seen, such as Ġ for a space. None of them holds the
    pattern, and the file holds no special tokens.

    Raises ValueError if `vocab.json` would have one spelling for two tokens.
    """
    path = Path(path)
    if path.suffix == ".tiktoken":
        lines = [
            f"{base64.b64encode(token).decode()} {encoding.encode_single_token(token)}"
            for token in encoding.token_byte_values()
        ]
        lines.sort(key=lambda line: int(line.split()[1]))
        _write(path, lines)
    else:
        path.mkdir(parents=True, exist_ok=True)
        vocabulary = json.dumps(_spelled_vocabulary(encoding), ensure_ascii=False)
        pairs = [" ".join(map(_spelled, pair)) for pair in learned_merges(encoding)]
        _write(path / "vocab.json", [vocabulary])
        _write(path / "merges.txt", [VERSION, *pairs])


def load_encoding(
    path: str | os.PathLike,
    *,
    pattern: str = GPT2_PATTERN,
    special_tokens: Mapping[str, int] | Iterable[str] = (),
    name: str | None = None,
) -> tiktoken.Encoding:
    """Read what `save_encoding` wrote, or others did: a rank file, or a folder.

    >>> import tempfile
    >>> from embeddings_lib import train_bpe
    >>> encoding = train_bpe("low low lower", vocab_size=256 + 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_encoding(encoding, folder)
    ...     load_encoding(folder).encode("lower") == encoding.encode("lower")
    True

    Give the pattern if it is not GPT-2's: the files do not hold it. A rank file holds
    no special tokens either; those named without an ID get the next ones. In a folder
    they are the tokens of `vocab.json` that are neither bytes nor merges. The name is
    the file's or the folder's.

    Raises ValueError if a byte has no token, or if the IDs are not in the order of the
    merges, in which tiktoken applies them.
    """
    path = Path(path)
    name = path.stem if name is None else name
    if path.is_dir():
        _guards.no_special_tokens_for(special_tokens)
        return _read_pair(path, name, pattern)
    lines = map(bytes.split, path.read_bytes().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    return encoding_of(name, ranks, pattern, special_tokens)


def _read_pair(folder: Path, name: str, pattern: str) -> tiktoken.Encoding:
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    lines = lines[lines[0].startswith("#version") :]
    merges = [tuple(map(bytes_of, line.split(" "))) for line in lines]
    tokens = [bytes([byte]) for byte in range(256)] + [a + b for a, b in merges]
    spelled = {_spelled(token): token for token in tokens}
    ranks = {spelled[text]: i for text, i in vocabulary.items() if text in spelled}
    special = {text: i for text, i in vocabulary.items() if text not in spelled}
    encoding = encoding_of(name, ranks, pattern, special)
    _guards.order_of_merges(learned_merges(encoding), merges)
    return encoding


def _alphabet() -> list[str]:
    """A letter for each byte: its own if that can be seen, else one from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unseen = [byte for byte in range(256) if byte not in seen]
    return [chr(b if b in seen else 0x100 + unseen.index(b)) for b in range(256)]


LETTERS = _alphabet()
BYTES = {letter: byte for byte, letter in enumerate(LETTERS)}


def _spelled(token: bytes) -> str:
    return "".join(LETTERS[byte] for byte in token)


def bytes_of(spelled: str) -> bytes:
    """A token from its letters, as files of vocabularies spell it.

    >>> bytes_of("Ġhi")
    b' hi'
    """
    return bytes(BYTES[letter] for letter in spelled)


def _spelled_vocabulary(encoding: tiktoken.Encoding) -> dict[str, int]:
    special = encoding._special_tokens
    ids = {
        _spelled(token): encoding.encode_single_token(token)
        for token in encoding.token_byte_values()
    }
    _guards.spellings_apart(sorted(ids.keys() & special.keys()))
    return dict(sorted((ids | special).items(), key=lambda item: item[1]))


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
