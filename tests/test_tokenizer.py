import argparse
import inspect
import tracemalloc
from collections import Counter
from functools import partial
from itertools import count, pairwise, repeat
from unittest.mock import patch

import pytest
import regex
import tokenizers
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tiktoken.load import load_tiktoken_bpe
from tiktoken_ext import openai_public

from embeddings_lib import tokenizer, train_bpe
from embeddings_lib._chunks import safe_pieces
from embeddings_lib._pair_index import PairIndex
from embeddings_lib.tokenizer import (
    GPT2_PATTERN,
    encode_iterable,
    encoding_of,
    learned_merges,
    merge,
)
from embeddings_lib.tokenizer_files import load_encoding, save_encoding

# As printed in the code released with GPT-2; ours is tiktoken's faster form of it.
PUBLISHED_PATTERN = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
TINY = train_bpe("low low low lower lowest newer, wider and then some", 256 + 12)

unicode_text = st.text(st.characters(exclude_categories=["Cs"]))
words = st.lists(st.text("abcd", min_size=1, max_size=8), min_size=1, max_size=12)


def learned(encoding):
    return [encoding.decode_single_token_bytes(i) for i in range(256, encoding.n_vocab)]


def most_merges(text):
    """The largest vocabulary that `text` can give, as the error states it."""
    with pytest.raises(ValueError, match="no pair left") as error:
        train_bpe(text, 100_000)
    return int(regex.search(r"ask for at most (\d+)", str(error.value)).group(1))


def reference_merges(words, count):
    """The pieces learned by Hugging Face's trainer, which is written in Rust."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("\n", "removed")
    letters = sorted(set("".join(words)))
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=len(letters) + count, initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(["\n".join(words)], trainer)
    by_id = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [piece.encode() for piece, _ in by_id[len(letters) :]]


@given(words)
def test_it_learns_the_merges_of_an_independent_trainer(words):
    text = "\n".join(words)
    vocab_size = most_merges(text)
    ours = learned(train_bpe(text, vocab_size))
    assert ours == reference_merges(words, vocab_size - 256)


def test_it_learns_the_merges_of_an_independent_trainer_from_a_real_text():
    words = regex.findall("[!-~]+", inspect.getsource(argparse))
    encoding = train_bpe("\n".join(words), 256 + 1000, pattern=r"[^\n]+")
    assert learned(encoding) == reference_merges(words, 1000)


def plain_merges(words, count, ties):
    """Count all pairs anew for each merge: nothing is kept, so nothing goes stale."""
    times, ids = Counter(words), {bytes([byte]): byte for byte in range(256)}
    order = {
        "smallest_ids": lambda a, b: (-ids[a], -ids[b]),
        "greatest_bytes": lambda a, b: (a, b),
    }
    splits = {word: [bytes([byte]) for byte in word.encode()] for word in times}
    merges = []
    while len(merges) < count:
        counts = Counter(
            {pair: 0 for tokens in splits.values() for pair in pairwise(tokens)}
        )
        for word, tokens in splits.items():
            counts.update(pair for pair in pairwise(tokens) for _ in range(times[word]))
        best = max(counts, key=lambda pair: (counts[pair], order[ties](*pair)))
        merges.append(best)
        ids[best[0] + best[1]] = len(ids)
        splits = {word: merge(tokens, best) for word, tokens in splits.items()}
    return merges


@pytest.mark.parametrize("ties", ["smallest_ids", "greatest_bytes"])
@given(text=st.text("aab b'é.\n", max_size=60) | unicode_text)
@example("aaaaa aaaa aaa aa abab bababa")
def test_it_learns_the_merges_of_the_plain_algorithm(ties, text):
    vocab_size = most_merges(text)
    expected = plain_merges(regex.findall(GPT2_PATTERN, text), vocab_size - 256, ties)
    ours = train_bpe(text, vocab_size, ties=ties)
    assert learned(ours) == [a + b for a, b in expected]
    assert learned_merges(ours) == expected


def test_of_equally_frequent_pairs_the_greatest_bytes_win_if_asked_for():
    # The example of the assignment of Stanford's CS336: ("BA", "A") is the greatest.
    text, pattern = "ABA AA BAA", r"\S+"
    first = train_bpe("AB BA", 257, pattern=pattern)
    last = train_bpe("AB BA", 257, pattern=pattern, ties="greatest_bytes")
    assert (learned(first), learned(last)) == ([b"AB"], [b"BA"])
    merges = learned_merges(
        train_bpe(text, 258, pattern=pattern, ties="greatest_bytes")
    )
    assert merges == [(b"B", b"A"), (b"BA", b"A")]


@given(st.text("ab", min_size=1, max_size=200))
def test_all_joins_together_visit_each_letter_a_few_times(word):
    """A place where each pair begins, and at most two more for a token that goes."""
    pairs, visited = PairIndex({word: 1}, order=lambda pair: pair), 0
    for new in count(256):
        pair = pairs.most_frequent()
        if pair is None:
            break
        visited += len(pairs.places[pair])
        pairs.join(pair, new)
    assert visited <= 3 * len(word)


@given(words, st.randoms())
def test_the_order_of_the_words_does_not_matter(words, draw):
    shuffled = draw.sample(words, len(words))
    vocab_size = most_merges("\n".join(words))
    ours = learned(train_bpe("\n".join(words), vocab_size))
    assert ours == learned(train_bpe("\n".join(shuffled), vocab_size))


@given(words)
def test_a_text_with_every_merge_learned_is_one_token_a_word(words):
    encoding = train_bpe("\n".join(words), most_merges("\n".join(words)))
    for word in words:
        assert len(encoding.encode(word)) == 1


def test_the_worked_example_of_the_chapter():
    assert learned(train_bpe("low\nlow\nlower\nnewer", 256 + 3)) == [
        b"lo",
        b"low",
        b"er",
    ]


def test_a_merge_never_crosses_a_word():
    encoding = train_bpe("ab ab ab 12! 12!", 256 + 4)
    assert all(
        len(regex.findall(GPT2_PATTERN, t.decode())) == 1 for t in learned(encoding)
    )


@given(st.lists(st.sampled_from([b"a", b"b"])))
def test_merging_loses_nothing_and_leaves_no_pair(tokens):
    merged = merge(tokens, (b"a", b"b"))
    assert b"".join(merged) == b"".join(tokens)
    assert (b"a", b"b") not in pairwise(merged)


@given(unicode_text)
@example("")
@example("👩‍👩‍👧‍👦 naïve 人人 \x00\r\n  \t x")
def test_text_to_ids_to_text_is_exact(gpt2, text):
    for encoding in (gpt2, TINY):
        ids = encoding.encode(text, disallowed_special=())
        assert encoding.decode(ids) == text


@given(st.binary())
def test_any_bytes_can_be_spelled(gpt2, data):
    for encoding in (gpt2, TINY):
        ids = [encoding.encode_single_token(bytes([byte])) for byte in data]
        assert encoding.decode_bytes(ids) == data


def test_a_lone_surrogate_becomes_the_replacement_character(gpt2):
    for encoding in (gpt2, TINY):
        assert encoding.decode(encoding.encode("a\ud800b")) == "a\ufffdb"


def test_a_million_spaces_can_be_encoded(gpt2):
    assert len(gpt2.encode(" " * 1_000_000)) == 1_000_000


def test_the_pattern_is_tiktokens():
    assert openai_public.r50k_pat_str == GPT2_PATTERN


@given(unicode_text | st.text("a1 !'s\n\t"))
def test_the_pattern_splits_as_the_published_one(text):
    assert regex.findall(GPT2_PATTERN, text) == regex.findall(PUBLISHED_PATTERN, text)


@given(unicode_text)
def test_the_pattern_loses_nothing(text):
    assert "".join(regex.findall(GPT2_PATTERN, text)) == text


def test_gpt2_has_256_bytes_and_50000_merges_and_one_special_token(gpt2):
    tokens = [gpt2.decode_single_token_bytes(token_id) for token_id in range(50_256)]
    assert gpt2.name == "gpt2"
    assert gpt2.n_vocab == 50_257
    assert set(tokens[:256]) == {bytes([byte]) for byte in range(256)}
    assert len(set(tokens)) == 50_256
    assert gpt2.special_tokens_set == {"<|endoftext|>"}
    assert gpt2.eot_token == 50_256


def test_every_gpt2_merge_joins_two_earlier_tokens(gpt2):
    ranks = {gpt2.decode_single_token_bytes(i): i for i in range(50_256)}
    for token, rank in ranks.items():
        cuts = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        earlier = (
            ranks.get(a, rank) < rank and ranks.get(b, rank) < rank for a, b in cuts
        )
        assert rank < 256 or any(earlier), token


def test_gpt2_ids_that_others_print(gpt2):
    assert gpt2.encode("Hello world") == [15496, 995]
    assert gpt2.encode("Hello, I'm a language model,") == [
        *(15496, 11, 314, 1101, 257, 3303, 2746, 11),
    ]


def test_special_tokens_must_be_asked_for(gpt2):
    with pytest.raises(ValueError, match="disallowed special token"):
        gpt2.encode("<|endoftext|>")
    assert gpt2.encode("<|endoftext|>", allowed_special="all") == [50_256]
    assert 50_256 not in gpt2.encode("<|endoftext|>", disallowed_special=())


def test_a_vocabulary_of_bytes_needs_no_text():
    assert train_bpe("", 256).encode("é") == [0xC3, 0xA9]


@pytest.mark.parametrize("vocab_size", [-1, 0, 255])
def test_fewer_than_256_tokens_are_refused(vocab_size):
    with pytest.raises(
        ValueError, match=f"at least 256, because every byte.*{vocab_size}$"
    ):
        train_bpe("text", vocab_size)


def test_a_text_that_runs_out_of_pairs_says_how_far_it_got():
    with pytest.raises(
        ValueError, match=r"after 258 tokens.*vocab_size=300.*at most 258"
    ):
        train_bpe("aaa", 300)


def test_a_surrogate_in_the_training_text_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"U\+D83D at index 2.*ufffd"):
        train_bpe("ab\ud83d", 260)


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize("ties", ["smallest", ""])
def test_an_unknown_rule_for_ties_lists_the_known_ones(ties):
    with pytest.raises(ValueError, match=f"smallest_ids, greatest_bytes.*'{ties}'$"):
        train_bpe("text", 260, ties=ties)


END = "<|endoftext|>"


def test_special_tokens_are_the_last_ids_and_count_as_tokens():
    encoding = train_bpe("low low lower", 256 + 4, special_tokens=[END, "<|pad|>"])
    assert encoding.n_vocab == 260
    assert [encoding.decode([i]) for i in range(256, 260)] == [
        "lo",
        "low",
        END,
        "<|pad|>",
    ]
    assert encoding.eot_token == 258
    assert encoding.encode(f"low{END}", allowed_special="all") == [257, 258]


def test_the_end_of_a_text_is_special_by_default_where_the_text_holds_it():
    assert train_bpe("low low", 258).special_tokens_set == set()
    encoding = train_bpe(f"low low{END}low", 259)
    assert encoding.special_tokens_set == {END}
    assert encoding.encode_single_token(END) == 258
    plain = train_bpe(f"low low{END}low", 259, special_tokens=[])
    assert plain.special_tokens_set == set()


@given(st.lists(st.text("ab <|\n"), min_size=1, max_size=4))
def test_nothing_is_learned_across_a_special_token(documents):
    words = [word for text in documents for word in regex.findall(GPT2_PATTERN, text)]
    assume(END not in documents)
    text = END.join(documents)
    with pytest.raises(ValueError, match="no pair left") as error:
        train_bpe(text, 10_000, special_tokens=[END])
    most = int(regex.search(r"ask for at most (\d+)", str(error.value)).group(1))
    encoding = train_bpe(text, most, special_tokens=[END])
    expected = plain_merges(words, most - 257, "smallest_ids")
    assert learned_merges(encoding) == expected


@pytest.mark.parametrize(
    ("special_tokens", "error", "message"),
    [
        (["<|a|>", "<|a|>"], ValueError, "no special token may begin another"),
        (["<|a|>", "<|a|>!"], ValueError, r"got '<\|a\|>' and '<\|a\|>!'"),
        ([""], ValueError, "must have a character"),
        (END, TypeError, r"write \['<\|endoftext\|>'\]"),
    ],
)
def test_special_tokens_that_could_be_read_in_two_ways_are_refused(
    special_tokens, error, message
):
    with pytest.raises(error, match=message):
        train_bpe("text", 300, special_tokens=special_tokens)


def test_room_for_the_special_tokens_is_needed():
    with pytest.raises(ValueError, match=r"at least 257.*1 more are special; got 256"):
        train_bpe("text", 256, special_tokens=[END])


def unread():
    """Chunks that no one may ask for."""
    yield pytest.fail("it was read")


def test_a_pattern_that_tiktoken_cannot_read_is_refused_before_the_work():
    with pytest.raises(ValueError, match="closing parenthesis"):
        train_bpe(unread(), 300, pattern="(((")


def test_a_pattern_may_have_groups():
    grouped = train_bpe("low low lower", 259, pattern=r"(\s?)(\p{L}+)")
    assert learned(grouped) == learned(train_bpe("low low lower", 259))


with patch.object(openai_public, "load_tiktoken_bpe"):
    PATTERNS = {
        "gpt2": GPT2_PATTERN,
        "published": PUBLISHED_PATTERN,
        "words": r"\S+",
        "cl100k": openai_public.cl100k_base()["pat_str"],
        "o200k": openai_public.o200k_base()["pat_str"],
    }
MARKS = ["<|a b|>", "<| |>"]
pieces_of_text = st.sampled_from(
    [*MARKS, " ", "  ", "a ", "'ll", "1234", "\r\n", "/\n"]
)
SPACED = st.lists(
    pieces_of_text | st.text("aLb 1.'\n\t人é\x1c\x85\u3000/<|>", max_size=5)
).map("".join)


@st.composite
def cut_texts(draw):
    """A text, and the same text in chunks."""
    text = draw(SPACED)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    bounds = pairwise([0, *cuts, len(text)])
    return text, [text[start:end] for start, end in bounds]


@pytest.mark.parametrize("name", PATTERNS)
@given(cut=cut_texts(), size=st.integers(1, 9))
def test_pieces_split_into_the_words_of_the_whole_text(name, cut, size):
    text, chunks = cut
    pieces = list(safe_pieces(chunks, size=size))
    split = [
        word[0] for piece in pieces for word in regex.finditer(PATTERNS[name], piece)
    ]
    assert "".join(pieces) == text
    assert split == [word[0] for word in regex.finditer(PATTERNS[name], text)]


SPECIAL = {
    pattern: train_bpe("a b 'll 12\n\n", 256 + 4, special_tokens=MARKS, pattern=pattern)
    for pattern in PATTERNS.values()
}


@pytest.mark.parametrize("special", ["all", MARKS[:1], []])
@given(name=st.sampled_from(list(PATTERNS)), cut=cut_texts(), size=st.integers(1, 9))
def test_chunks_give_the_ids_of_the_whole_text(special, name, cut, size):
    text, chunks = cut
    encoding = SPECIAL[PATTERNS[name]]
    options = {
        "allowed_special": special if special == "all" else set(special),
        "disallowed_special": (),
    }
    small = partial(safe_pieces, size=size)
    with patch.object(tokenizer, "safe_pieces", small):
        found = list(encode_iterable(encoding, chunks, **options))
    assert found == encoding.encode(text, **options)


@given(cut=cut_texts(), size=st.integers(1, 9))
def test_a_special_token_that_is_not_allowed_is_found_however_it_is_cut(cut, size):
    text, chunks = cut
    encoding = SPECIAL[GPT2_PATTERN]
    with patch.object(tokenizer, "safe_pieces", partial(safe_pieces, size=size)):
        if any(mark in text for mark in MARKS):
            with pytest.raises(ValueError, match="disallowed special token"):
                list(encode_iterable(encoding, chunks))
        else:
            assert list(encode_iterable(encoding, chunks)) == encoding.encode(text)


@given(cut_texts(), st.integers(1, 9))
def test_training_on_chunks_learns_what_training_on_the_whole_text_does(cut, size):
    text, chunks = cut
    with pytest.raises(ValueError, match="no pair left") as whole:
        train_bpe(text, 10_000, special_tokens=MARKS)
    with (
        patch.object(tokenizer, "safe_pieces", partial(safe_pieces, size=size)),
        pytest.raises(ValueError, match="no pair left") as parts,
    ):
        train_bpe(chunks, 10_000, special_tokens=MARKS)
    assert str(parts.value) == str(whole.value)
    most = int(regex.search(r"ask for at most (\d+)", str(whole.value)).group(1))
    ours = train_bpe(chunks, most, special_tokens=MARKS)
    assert learned(ours) == learned(train_bpe(text, most, special_tokens=MARKS))


def test_a_file_an_open_file_and_files_give_what_their_text_gives(tmp_path, gpt2):
    text = inspect.getsource(argparse).replace("\n", "\r\n") * 2
    whole = tmp_path / "whole.txt"
    parts = [tmp_path / "one.txt", tmp_path / "two.txt"]
    whole.write_text(text, encoding="utf-8", newline="")
    for part, half in zip(parts, (text[:77_777], text[77_777:]), strict=True):
        part.write_text(half, encoding="utf-8", newline="")
    expected = learned(train_bpe(text, 400))
    with whole.open(encoding="utf-8", newline="") as file:
        assert learned(train_bpe(file, 400)) == expected
    for source in (whole, parts, [parts[0], text[77_777:]]):
        assert learned(train_bpe(source, 400)) == expected
        assert list(encode_iterable(gpt2, source)) == gpt2.encode(text)


def most_memory(encoding, chunks):
    tracemalloc.start()
    found = sum(1 for _ in encode_iterable(encoding, chunks))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, peak


def test_a_longer_stream_takes_no_more_memory(gpt2):
    page = 40 * "It was a bright cold day in April, and the clocks were striking.\n"
    some, peak = most_memory(gpt2, repeat(page, 100))
    more, later = most_memory(gpt2, repeat(page, 400))
    assert more == 4 * some
    assert later < 1.5 * peak


def test_words_that_reach_over_a_space_are_refused_in_chunks():
    lines = train_bpe("one two\none two", 260, pattern=r"[^\n]+")
    for work in (
        lambda: encode_iterable(lines, ["one ", "two"]),
        lambda: train_bpe(["one ", "two"], 260, pattern=r"[^\n]+"),
    ):
        with pytest.raises(ValueError, match=r"one word of 'one two, .*as one string"):
            work()


def test_a_surrogate_in_a_later_piece_is_refused_with_its_place_in_the_text():
    chunks = ["word " * 20_000, "ab\ud83d"]
    with pytest.raises(ValueError, match=r"U\+D83D at index 100002"):
        train_bpe(chunks, 260)


@pytest.fixture(scope="module")
def early_gpt2(gpt2):
    """GPT-2's first 1,000 tokens."""
    ranks = {gpt2.decode_single_token_bytes(rank): rank for rank in range(1000)}
    return encoding_of("gpt2", ranks, special_tokens=[END])


def test_the_merges_of_gpt2_rebuild_its_vocabulary(early_gpt2):
    merges = learned_merges(early_gpt2)
    assert len(merges) == 1000 - 256
    for rank, pair in enumerate(merges, 256):
        assert early_gpt2.encode_single_token(b"".join(pair)) == rank
        assert max(map(early_gpt2.encode_single_token, pair)) < rank


def test_a_token_that_no_two_give_has_no_merge():
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"abc": 256}
    with pytest.raises(ValueError, match=r"join two earlier.*b'abc' with ID 256"):
        learned_merges(encoding_of("odd", ranks))


def test_a_vocabulary_without_a_byte_is_refused():
    ranks = {bytes([byte]): byte for byte in range(255)}
    with pytest.raises(ValueError, match="none for byte 255"):
        encoding_of("short", ranks)


FORMATS = {"rank file": "saved.tiktoken", "folder": "saved"}


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_saved_is_loaded_again(form, tmp_path):
    encoding = train_bpe("low low lower naïve 人", 256 + 9, special_tokens=MARKS)
    path = tmp_path / FORMATS[form]
    save_encoding(encoding, path)
    named = {"special_tokens": MARKS} if form == "rank file" else {}
    again = load_encoding(path, **named)
    assert again.name == "saved"
    assert again.token_byte_values() == encoding.token_byte_values()
    assert learned_merges(again) == learned_merges(encoding)
    assert again._special_tokens == encoding._special_tokens
    text = f"lower naïve 人 \x00 {MARKS[0]}"
    ids = encoding.encode(text, allowed_special="all")
    assert again.encode(text, allowed_special="all") == ids


def test_tiktoken_reads_our_rank_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    save_encoding(TINY, tmp_path / "tiny.tiktoken")
    ranks = load_tiktoken_bpe(str(tmp_path / "tiny.tiktoken"))
    assert ranks == {TINY.decode_single_token_bytes(i): i for i in range(TINY.n_vocab)}


def their_bpe(model, special_tokens=()):
    """Hugging Face's byte-level BPE, with GPT-2's pattern."""
    theirs = tokenizers.Tokenizer(model)
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    theirs.add_special_tokens(list(special_tokens))
    return theirs


@pytest.fixture(scope="module")
def ours_and_theirs(tmp_path_factory):
    """One encoding, ours and as Hugging Face reads it from our files."""
    folder = tmp_path_factory.mktemp("saved")
    encoding = train_bpe(inspect.getsource(argparse), 1000, special_tokens=MARKS)
    save_encoding(encoding, folder)
    files = (str(folder / name) for name in ("vocab.json", "merges.txt"))
    return encoding, their_bpe(tokenizers.models.BPE.from_file(*files), MARKS)


@given(unicode_text | SPACED)
def test_hugging_face_reads_our_files_and_encodes_alike(ours_and_theirs, text):
    encoding, theirs = ours_and_theirs
    assert theirs.encode(text).ids == encoding.encode(text, allowed_special="all")


def test_we_read_hugging_faces_files_and_encode_alike(tmp_path):
    theirs = their_bpe(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=900,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|im_start|>", END],  # their IDs are the first
        show_progress=False,
    )
    text = inspect.getsource(argparse)
    theirs.train_from_iterator([text], trainer)
    theirs.model.save(str(tmp_path))
    ours = load_encoding(tmp_path)
    assert ours._special_tokens == {"<|im_start|>": 0, END: 1}
    assert ours.encode(text) == theirs.encode(text).ids


def test_the_pair_of_files_of_gpt2_gives_gpt2(early_gpt2, tmp_path):
    save_encoding(early_gpt2, tmp_path)
    again = load_encoding(tmp_path)
    assert again._special_tokens == {END: 1000}
    assert again.encode(PUBLISHED_PATTERN) == early_gpt2.encode(PUBLISHED_PATTERN)
    merges = (tmp_path / "merges.txt").read_text(encoding="utf-8").split("\n")
    assert merges[:4] == ["#version: 0.2", "Ġ t", "Ġ a", "h e"]


def test_ids_in_another_order_than_the_merges_are_refused(tmp_path):
    save_encoding(train_bpe("low low lower", 259), tmp_path)
    file = tmp_path / "merges.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([lines[0], *lines[:0:-1]]), encoding="utf-8")
    with pytest.raises(ValueError, match=r"order of merges\.txt.*as merge 0"):
        load_encoding(tmp_path)


def test_the_special_tokens_of_a_folder_are_its_own(tmp_path):
    save_encoding(TINY, tmp_path)
    with pytest.raises(ValueError, match=r"none may be given.*\['<\|endoftext\|>'\]"):
        load_encoding(tmp_path, special_tokens=[END])


def test_two_tokens_with_one_spelling_cannot_be_saved_in_a_folder(tmp_path):
    encoding = train_bpe("a low low", 260, special_tokens=["Ġlow"])
    with pytest.raises(ValueError, match=r"spelling of its own.*'Ġlow'"):
        save_encoding(encoding, tmp_path)
