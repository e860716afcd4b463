"""Train and use BPE beside `tokenizers` and the plain algorithm, on sources of Python.

python -m tests.benchmarks.bpe             # every part
python -m tests.benchmarks.bpe encoding    # one part, the others stay as they are

Some minutes of one core. The two plain ways repeat a scan at each merge, so they are
run for a few merges, and the time for all is estimated from that of one more merge.
"""

import os

os.environ["RAYON_NUM_THREADS"] = "1"  # `tokenizers` on one thread, as ours is

import random
import statistics
import sysconfig
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import regex
import tokenizers

from embeddings_lib.tokenizer import GPT2_PATTERN, encode_iterable, merge, train_bpe
from tests.benchmarks import goals
from tests.benchmarks.measure import setting

RESULT = goals.RESULTS / "bpe.json"
ROUNDS = 3
CASES = [(1_000_000, 1024), (10_000_000, 5000)]  # bytes of text, merges
LONG_WORDS = (1_000, 10_000, 100_000)


def sources(size: int) -> str:
    """The standard library's own modules, one after the other."""
    text, folder = bytearray(), Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(folder.rglob("*.py")):
        if "site-packages" not in path.parts:
            text += path.read_text(encoding="utf-8", errors="ignore").encode()
        if len(text) >= size:
            return text[:size].decode(errors="ignore")
    raise ValueError(f"the standard library has only {len(text)} bytes; need {size}")


def plain(text: str, merges: int) -> None:
    """The plain algorithm, as in minbpe: count every pair of the text at each merge."""
    splits = [list(word.encode()) for word in regex.findall(GPT2_PATTERN, text)]
    for new in range(256, 256 + merges):
        counts = Counter(pair for tokens in splits for pair in pairwise(tokens))
        best = max(counts, key=counts.get)
        splits = [joined(tokens, best, new) for tokens in splits]


def joined(tokens: list[int], pair: tuple[int, int], new: int) -> list[int]:
    found, i = [], 0
    while i < len(tokens):
        fits = tuple(tokens[i : i + 2]) == pair
        found.append(new if fits else tokens[i])
        i += 1 + fits
    return found


def scan(text: str, merges: int) -> None:
    """Counts are kept, but each merge looks through every word: ours before."""
    words = Counter(regex.findall(GPT2_PATTERN, text))
    splits = {word: [bytes([byte]) for byte in word.encode()] for word in words}
    ranks = {bytes([byte]): byte for byte in range(256)}
    counts = Counter()

    def add(tokens, times):
        for pair in pairwise(tokens):
            counts[pair] += times

    for word, tokens in splits.items():
        add(tokens, words[word])
    for _ in range(merges):
        best = min(counts, key=lambda p: (-counts[p], ranks[p[0]], ranks[p[1]]))
        ranks[best[0] + best[1]] = len(ranks)
        for word, tokens in splits.items():
            if best in pairwise(tokens):
                splits[word] = merge(tokens, best)
                add(tokens, -words[word])
                add(splits[word], words[word])


def ours(text: str, merges: int) -> None:
    train_bpe(text, 256 + merges)


def theirs(text: str, merges: int) -> None:
    level = tokenizers.pre_tokenizers.ByteLevel
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = level(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + merges, initial_alphabet=level.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def paired(functions: dict) -> dict[str, float]:
    """The median of a few rounds, each of which runs every function in a new order."""
    times = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name in random.sample(list(functions), len(functions)):
            times[name].append(seconds(*functions[name]))
    return {name: statistics.median(found) for name, found in times.items()}


def estimated(function, text: str, merges: int, few: int) -> float:
    """The time for all merges, if each takes what the first few take on average."""
    start, end = seconds(function, text, 0), seconds(function, text, few)
    return start + (end - start) / few * merges


def training():
    for size, merges in CASES:
        text = sources(size)
        times = paired(
            {"ours": (ours, text, merges), "tokenizers": (theirs, text, merges)}
        )
        times["the plain algorithm, as in minbpe"] = estimated(plain, text, merges, 2)
        times["a scan of the words at each merge"] = estimated(scan, text, merges, 60)
        for name, found in times.items():
            yield row(name, found, bytes=size, merges=merges)


def long_words():
    """One word of random letters: the time for a letter should not grow."""
    for length in LONG_WORDS:
        word = "".join(random.Random(0).choices("abcdefgh", k=length))
        found = paired({"ours": (ours, word, 256)})["ours"]
        yield row("ours", found, bytes=length, merges=256)
        found = seconds(scan, word, 256)
        name = "a scan of the words at each merge"
        yield row(name, found, bytes=length, merges=256)


def encoding():
    text = sources(CASES[-1][0])
    merges = CASES[-1][1]
    encoding = train_bpe(text, 257 + merges, special_tokens=["<|endoftext|>"])
    lines = text.splitlines(keepends=True)
    functions = {
        "tiktoken, the whole text": (encoding.encode, text),
        "tiktoken, again": (encoding.encode, text),
        "ours, line by line": (lambda: list(encode_iterable(encoding, lines)),),
    }
    for name, found in paired(functions).items():
        yield row(name, found, bytes=len(text.encode()))


def row(name: str, found: float, **labels) -> dict:
    return {**labels, "name": name, "seconds": round(found, 3)}


PARTS = {"training": training, "long words": long_words, "encoding": encoding}


def main():
    machine = setting("bpe", ("tokenizers", "tiktoken", "regex"), rounds=ROUNDS)
    goals.keep_parts(RESULT, machine, PARTS)


if __name__ == "__main__":
    main()
