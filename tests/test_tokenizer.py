from itertools import pairwise

import pytest
import regex
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str

from embeddings_lib import train_bpe
from embeddings_lib.tokenizer import GPT2_PATTERN, merge

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
    assert r50k_pat_str == GPT2_PATTERN


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
