"""Files of models: what is in them becomes ours, or is named in an error."""

import json
import subprocess
import sys

import gguf
import pytest
import tokenizers
import torch
import transformers
from gguf.quants import dequantize, quantize
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from embeddings_lib import load_llama, load_smollm2
from embeddings_lib._llama_cpp import dequantized
from embeddings_lib.downloads import fetch
from tests.test_llama import SIZES, small, text


@pytest.fixture
def folder(tmp_path):
    """A small Llama, saved by transformers in one file."""
    config = transformers.LlamaConfig(**SIZES)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path)
    return tmp_path


def change_config(folder, **entries):
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) | entries
    path.write_text(json.dumps(config), "utf-8")


def change_weights(folder, change):
    path = folder / "model.safetensors"
    weights = {name: weight.clone() for name, weight in load_file(path).items()}
    change(weights)
    save_file(weights, path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"model_type": "gpt2"}, "model_type must be 'llama' or 'mistral'; got 'gpt2'"),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu'; got 'gelu'"),
        (
            {"attention_bias": True},
            "a Llama has no attention_bias; got attention_bias=",
        ),
        ({"mlp_bias": True}, "a Llama has no mlp_bias"),
        (
            {"sliding_window": 64},
            "a Llama has no sliding_window; got sliding_window=64",
        ),
    ],
    ids=str,
)
def test_what_a_llama_has_not_is_named(folder, entry, message):
    change_config(folder, **entry)
    with pytest.raises(ValueError, match=message):
        load_llama(folder)


def test_missing_tensors_and_those_left_over_are_named(folder):
    name = "model.layers.1.mlp.up_proj.weight"
    change_weights(folder, lambda weights: weights.update(odd=weights.pop(name)))
    with pytest.raises(ValueError, match=f"missing: {name}; left over: odd"):
        load_llama(folder)


def test_an_untied_model_without_a_head_is_named(folder):
    change_weights(folder, lambda weights: weights.pop("lm_head.weight"))
    with pytest.raises(ValueError, match=r"missing: lm_head.weight; left over: none"):
        load_llama(folder)


def test_more_layers_than_the_sizes_say_are_left_over(folder):
    change_config(folder, num_hidden_layers=1)
    with pytest.raises(ValueError, match=r"missing: none; left over: model.layers.1\."):
        load_llama(folder)


def test_a_wrong_shape_is_named(folder):
    change_config(folder, intermediate_size=28)
    with pytest.raises(
        ValueError, match=r"mlp.* must have .*\(28, 24\).* got \(20, 24"
    ):
        load_llama(folder)


def test_a_configuration_from_before_rope_parameters_is_read(tmp_path):
    ours, _ = small(tmp_path, rope_parameters={"rope_theta": 77.0})
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config |= {"rope_theta": config.pop("rope_parameters")["rope_theta"]}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    assert_close(load_llama(tmp_path)(text(20)), ours(text(20)))
    assert ours.rotary.base == 77.0


def test_weights_keep_their_dtype(folder):
    def halve(weights):
        weights.update({name: w.bfloat16() for name, w in weights.items()})

    change_weights(folder, halve)
    assert load_llama(folder)(text(3)).dtype == torch.bfloat16


# The file of llama.cpp, and what is kept beside it


@pytest.fixture
def small_file(tmp_path):
    """A file of llama.cpp with one tensor for each way to store it, and the tensors."""
    torch.manual_seed(0)
    kinds = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(tmp_path / "small.gguf", "llama")
    writer.add_block_count(7)
    writer.add_token_list(["<end>", "a"])
    writer.add_token_types([gguf.TokenType.CONTROL, gguf.TokenType.NORMAL])
    expected = {}
    for kind in (kinds.F32, kinds.Q8_0, kinds.Q4_1):
        stored = quantize(torch.randn(4, 64).numpy(), kind)
        expected[kind.name] = torch.tensor(dequantize(stored, kind))
        writer.add_tensor(kind.name, stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "small.gguf", expected


def assert_is(opened, expected):
    weights, fields = opened
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, expected[name])
    assert fields["llama.block_count"] == 7
    assert fields["tokenizer.ggml.tokens"] == ["<end>", "a"]
    assert fields["special"] == [0]


def test_weights_are_kept_and_need_the_file_no_more(small_file):
    path, expected = small_file
    assert_is(dequantized(path), expected)
    path.write_bytes(b"")
    assert_is(dequantized(path), expected)
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"small.gguf", "small.float32.safetensors"}


@pytest.mark.parametrize("damage", ["cut", "one bit", "empty", "another file"])
def test_a_damaged_copy_is_made_anew(small_file, damage):
    path, expected = small_file
    dequantized(path)
    kept = path.with_suffix(".float32.safetensors")
    whole, undamaged = kept.read_bytes(), load_file(kept)
    if damage == "another file":
        save_file({"a": torch.ones(3)}, kept)
    else:
        flipped = whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]
        changed = {"cut": whole[:-8], "one bit": flipped, "empty": b""}[damage]
        kept.write_bytes(changed)
    assert_is(dequantized(path), expected)
    assert load_file(kept).keys() == undamaged.keys()


def test_where_nothing_can_be_kept_the_model_opens_all_the_same(
    small_file, monkeypatch
):
    path, expected = small_file

    def full(*arguments, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    assert_is(dequantized(path), expected)
    assert [file.name for file in path.parent.iterdir()] == ["small.gguf"]


def test_two_processes_may_open_at_once(small_file):
    path, expected = small_file
    code = (
        "from pathlib import Path; from embeddings_lib._llama_cpp import dequantized;"
        f"dequantized(Path({str(path)!r}))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert_is(dequantized(path), expected)
    assert len(list(path.parent.iterdir())) == 2


def test_changing_a_weight_does_not_change_the_copy(small_file):
    path, expected = small_file
    dequantized(path)
    weights, _ = dequantized(path)
    weights["F32"].zero_()
    assert_is(dequantized(path), expected)


# SmolLM2's tokenizer


@pytest.fixture(scope="module")
def smollm2():
    return load_smollm2()[1]


def strings(raw, name):
    """A list of strings in a file of llama.cpp: the length of each, then its bytes."""
    key = f"tokenizer.ggml.{name}".encode()
    at = raw.index(key) + len(key) + 8  # a list; of strings
    count, at, found = int.from_bytes(raw[at : at + 8], "little"), at + 8, []
    for _ in range(count):
        start = at + 8
        at = start + int.from_bytes(raw[at:start], "little")
        found.append(raw[start:at].decode())
    return found


@pytest.fixture(scope="module")
def reference():
    """Its pieces and merges in `tokenizers`, cut as its publisher's tokenizer.json."""
    raw = fetch("smollm2").read_bytes()
    vocabulary = {token: i for i, token in enumerate(strings(raw, "tokens"))}
    merges = [tuple(merge.split(" ")) for merge in strings(raw, "merges")]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    cut = tokenizers.pre_tokenizers
    tokenizer.pre_tokenizer = cut.Sequence(
        [cut.Digits(individual_digits=True), cut.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


def tokenless(encoding):
    """The bytes that are in no token."""
    return [b for b in range(256) if encoding.encode_single_token(bytes([b])) >= 49_152]


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("a1 !'s\n\t²७"))
@example("")
@example("In 1969 there  were 12 apples, 3.14  and   7")
@example("👩‍👩‍👧‍👦 naïve 人人 \x00\r\n  \t x")
@example("कृपया ½ Ⅳ १२३ \u2003 wide\n\n\n  end  ")
@example("def f(x):\n    return x**2  # it's 100%\n")
def test_its_ids_are_those_of_tokenizers(smollm2, reference, text):
    ids = smollm2.encode(text, disallowed_special=())
    assert smollm2.decode(ids) == text
    if not set(text.encode()) & set(tokenless(smollm2)):
        assert ids == reference.encode(text).ids


def test_bytes_without_a_token_get_ids_that_the_table_refuses(smollm2):
    absent = tokenless(smollm2)
    assert [b for b in absent if b < 128] == [0x04, 0x06, 0x13, 0x14, 0x16, 0x1D]
    assert [smollm2.encode_single_token(bytes([b])) for b in absent] == list(
        range(49_152, 49_152 + 21)
    )


def test_its_special_tokens_are_the_first_17(smollm2):
    ids = sorted(smollm2.encode_single_token(t) for t in smollm2.special_tokens_set)
    assert ids == list(range(17))
    assert smollm2.encode("<|im_end|>", allowed_special="all") == [2]
    assert smollm2.decode([0]) == "<|endoftext|>"
