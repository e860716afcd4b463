"""Text that comes in chunks or files, cut anew where no word can be cut."""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import regex

# One text, the file that holds it, or its parts in order, each any of the three.
Text = str | os.PathLike | Iterable

_LAST_SPACE = regex.compile(r"(?r)(?<=\S) ")  # (?r) searches from the end
_SAMPLE = "one two, (three) 4 5!\n six's  \n\n seven"


def chunks_of(text: Text) -> Iterator[str]:
    r"""The chunks of a text; a file is UTF-8 and read a little at a time.

    >>> list(chunks_of(["a text", " in parts"]))
    ['a text', ' in parts']
    """
    if isinstance(text, str):
        yield text
    elif isinstance(text, os.PathLike):
        with Path(text).open(encoding="utf-8", newline="") as file:
            yield from iter(lambda: file.read(1 << 16), "")
    else:
        for part in text:
            yield from chunks_of(part)


def safe_pieces(
    chunks: Iterable[str], special_tokens: Collection[str] = (), *, size: int = 1 << 16
) -> Iterator[str]:
    """The same text in pieces of about `size` characters that split into words alone.

    >>> list(safe_pieces(["a lo", "ng day", " ends"], size=4))
    ['a', ' long', ' day', ' ends']

    The usual patterns begin a word at a space that follows anything but white space,
    whatever else stands around them, so that is where the text is cut, but never inside
    a special token. Where there is no such space the piece grows until one comes.
    """
    held, length, wanted = [], 0, size
    for chunk in chunks:
        held.append(chunk)
        length += len(chunk)
        if length >= wanted:
            text = "".join(held)
            cut = _last_cut(text, special_tokens)
            if cut:
                yield text[:cut]
            held, length = [text[cut:]], length - cut
            wanted = max(size, 2 * length)
    yield "".join(held)


def either(texts: Collection[str]) -> regex.Pattern:
    """A pattern that finds each of `texts`, and nothing if there are none.

    >>> either(["<|a|>"]).findall("a<|a|>b")
    ['<|a|>']
    """
    return regex.compile("|".join(map(regex.escape, texts)) or r"\A(?!)")


def check_cuts(pattern: str) -> None:
    """Refuse a pattern whose words reach over a space that follows a word.

    >>> check_cuts(r"[^,]+")
    Traceback (most recent call last):
    ValueError: text in chunks is cut before a space, because ... 'one two': give the \
whole text as one string
    """
    for word in regex.finditer(pattern, _SAMPLE):
        if _LAST_SPACE.search(word[0]):
            raise ValueError(
                "text in chunks is cut before a space, because the usual patterns "
                f"begin a word there; got {pattern!r}, which makes one word of "
                f"{word[0]!r}: give the whole text as one string"
            )


def _last_cut(text: str, special_tokens: Collection[str]) -> int:
    """The last place for a cut, or 0; a special token must be known to the end."""
    margin = max(map(len, special_tokens), default=0)
    space = _LAST_SPACE.search(text, 0, max(0, len(text) - margin))
    cut = space.start() if space else 0
    for token in either(special_tokens).finditer(text):
        if token.start() < cut < token.end():
            return token.start()
    return cut
