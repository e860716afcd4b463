"""The rotation of published models, read from their config.json, against transformers.

Each row of `chapters/configurations.json` has what a published file says about
rotation, and where it is from.
"""

import copy
import importlib
import inspect
import json
import math

import pytest
import torch
from bs4 import BeautifulSoup
from torch.testing import assert_close
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from book._ext import config_reader, configurations
from embeddings_lib import rotary_from_config
from embeddings_lib._configurations import _FIXED, _KEYS, _OTHER_NAMES
from embeddings_lib.model_shape import ModelShape
from embeddings_lib.published_models import PUBLISHED
from tests.notebooks import ROOT

ROWS = {name: row["config"] for name, row in configurations.published().items()}
SAME_CODE = {"kimi_k2": "deepseek_v3", "qwen2_5_vl": "qwen2_5_vl_text"}
SEQ = 12


def text_part(file):
    return file.get("text_config", file)


def their_config(file):
    keys = copy.deepcopy(text_part(file))
    kind = keys.pop("model_type")
    return CONFIG_MAPPING[SAME_CODE.get(kind, kind)](**keys)


def their_module(config):
    return importlib.import_module(
        type(config).__module__.replace("configuration", "modeling")
    )


class Theirs:
    """The rotation of one layer in transformers, for texts of `seq` tokens."""

    def __init__(self, file, layer=0, seq=SEQ):
        self.config = their_config(file)
        self.module = their_module(self.config)
        if self.config.model_type == "gptj":
            table = self.module.create_sinusoidal_positions(SEQ, self.config.rotary_dim)
            self.sin, self.cos = table[None].chunk(2, dim=-1)
            self.rates, self.growth = self.sin[0, 1].double().arcsin(), 1.0
            return
        (kind,) = {
            thing
            for name, thing in vars(self.module).items()
            if name.endswith("RotaryEmbedding") and "Vision" not in name
        }
        rotary = kind(self.config)
        # The last position says how long the text is.
        positions = torch.cat([torch.arange(SEQ - 1), torch.tensor([seq - 1])])[None]
        which, prefix = {}, ""
        if "layer_type" in inspect.signature(rotary.forward).parameters:
            which = {"layer_type": self.config.layer_types[layer]}
            prefix = f"{which['layer_type']}_"
        self.turns = rotary(torch.zeros(1), positions, **which)
        self.rates = getattr(rotary, f"{prefix}inv_freq").double()
        self.growth = getattr(rotary, f"{prefix}attention_scaling")

    def turned(self, x):
        """(1, seq, heads, features), where only features that rotate are given."""
        kind, module = self.config.model_type, self.module
        if kind == "gptj":
            return module.apply_rotary_pos_emb(x, self.sin, self.cos)
        if kind == "llama4_text":
            return module.apply_rotary_emb(x, x, self.turns)[0]
        if kind == "deepseek_v2":
            heads_first = x.transpose(1, 2)
            turned = module.apply_rotary_emb(heads_first, heads_first, self.turns)[0]
            return turned.transpose(1, 2)
        if kind == "gemma4_text":
            return module.apply_rotary_pos_emb(x, *self.turns, unsqueeze_dim=2)
        if kind == "deepseek_v3":  # turns pairs, and leaves them as halves
            apply = module.apply_rotary_pos_emb_interleave
            halves = apply(x, x, *self.turns, unsqueeze_dim=2)[0]
            return halves.unflatten(-1, (2, -1)).mT.flatten(-2)
        return module.apply_rotary_pos_emb(x, x, *self.turns, unsqueeze_dim=2)[0]


def their_attention(config, layer):
    (kind,) = {
        thing
        for name, thing in vars(their_module(config)).items()
        if name.endswith("Attention") and "Vision" not in name
    }
    with torch.device("meta"):
        return kind(config, layer)


def stands_still(file, layer):
    """What transformers' own attention says."""
    config = their_config(file)
    if config.model_type in ("smollm3", "llama4_text"):
        return not their_attention(config, layer).use_rope
    if config.model_type == "cohere2":
        return their_attention(config, layer).sliding_window is None
    return getattr(config, "layer_types", None) is not None and (
        config.layer_types[layer] == "linear_attention"
    )


def cases():
    """Each row, each kind of its layers, and for each list of factors a length."""
    for name, file in ROWS.items():
        text = text_part(file)
        layers = range(min(text.get("num_hidden_layers", 1), 6))
        lengths = [SEQ]
        if "long_factor" in (text.get("rope_scaling") or {}):
            lengths = [4096, 4097]
        for layer in layers:
            for seq in lengths:
                yield pytest.param(file, layer, seq, id=f"{name}, layer {layer}, {seq}")


def assert_turns_alike(ours, theirs, rtol=1e-6):
    size = 2 * len(theirs.rates)
    assert ours.rotary_dim == size
    # Theirs are computed in float32.
    assert_close(ours.angles.rates, theirs.rates, rtol=rtol, atol=0)
    assert ours.angles.radius == pytest.approx(theirs.growth, rel=1e-12)
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(1, SEQ, 2, ours.head_dim, generator=generator)
    expected = torch.cat([theirs.turned(q[..., :size]), q[..., size:]], dim=-1)
    turned, _ = ours(q, q)
    assert_close(turned[:, :-1], expected[:, :-1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("file", "layer", "seq"), list(cases()))
def test_a_published_model_turns_as_in_transformers(file, layer, seq):
    ours = rotary_from_config(file, layer=layer, seq=seq)
    if stands_still(file, layer):
        assert ours is None
    else:
        assert_turns_alike(ours, Theirs(file, layer, seq))


one_layer = pytest.mark.parametrize("file", ROWS.values(), ids=list(ROWS))


@one_layer
def test_a_path_and_an_object_of_transformers_say_the_same(file, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(file), "utf-8")
    for parameters in (path, str(path), tmp_path, their_config(file)):
        ours = rotary_from_config(parameters, layer=0, seq=SEQ)
        if stands_still(file, 0):
            assert ours is None
        else:
            assert_turns_alike(ours, Theirs(file))


@pytest.mark.parametrize("kind", list(_FIXED))
def test_what_a_file_leaves_out_is_what_the_code_of_its_model_fixes(kind):
    # No head of these models has 80 features, but the three axes of Qwen-VL need 128.
    size = 128 if kind.startswith("qwen2_5_vl") else 80
    file = {"model_type": kind, "hidden_size": 4 * size, "num_attention_heads": 4}
    file["num_hidden_layers"] = 6
    for layer in (0, 5):
        ours = rotary_from_config(file, layer=layer)
        if stands_still(file, layer):
            assert ours is None
        else:
            assert_turns_alike(ours, Theirs(file, layer))


def entry_of(file):
    text = text_part(file)
    return text.get("rope_scaling") or text.get("rope_parameters") or {}


def without(file, key):
    """The same file without a key, from wherever it stands."""
    return {
        name: without(value, key) if isinstance(value, dict) else value
        for name, value in file.items()
        if name != key
    }


SIZES = {"model_type", "hidden_size", "num_attention_heads", "num_hidden_layers"}
SIZES |= {"n_embd", "n_head", "n_layer"}


def removable():
    for name, file in ROWS.items():
        text = text_part(file)
        for key in sorted({*text, *entry_of(file)} - SIZES):
            if "Hunyuan" not in name:  # its code asks for keys that it does not need
                yield pytest.param(file, key, id=f"{name} without {key}")


@pytest.mark.parametrize(("file", "key"), list(removable()))
def test_a_missing_key_is_as_in_transformers_or_an_error(file, key):
    less = without(file, key)
    ours, refused = {}, []
    for layer in {0, 3, 5} & {*range(text_part(file).get("num_hidden_layers", 1))}:
        try:
            ours[layer] = rotary_from_config(less, layer=layer, seq=SEQ)
        except ValueError:
            refused.append(layer)
    for layer, rotary in ours.items() if not refused else ():
        if rotary is None:
            assert stands_still(less, layer)
        else:
            assert_turns_alike(rotary, Theirs(less, layer), rtol=2e-6)


@one_layer
@pytest.mark.parametrize("beside", ["nothing", "head_dim", "rope_theta"])
def test_obeying_each_message_leads_to_what_the_whole_file_says(file, beside):
    theirs = Theirs(file)
    call = {"parameters": dict(entry_of(file))}
    if beside == "head_dim":
        call["head_dim"] = 2 * len(theirs.rates)
    elif beside == "rope_theta":
        call["parameters"].setdefault("rope_theta", 10_000.0)
        call["parameters"].pop("partial_rotary_factor", None)
    for _ in range(4):
        try:
            ours = rotary_from_config(**call)
            break
        except ValueError as error:
            message = str(error)
        if message.endswith("pass the whole config.json"):
            call = {"parameters": file}
        elif message.startswith("layer must be"):
            named = "'sliding_attention'" in message
            call["layer"] = theirs.config.layer_types[0] if named else 0
        else:
            assert message.endswith("give seq, the length of the text in tokens")
            call["seq"] = SEQ
    if not stands_still(file, 0):
        assert_turns_alike(ours, theirs)


def scaled_llama(**entry):
    return ROWS["CodeLlama 7B"] | {"rope_scaling": entry}


@pytest.mark.parametrize("seq", [None, 100, 16_384, 16_385, 40_000])
def test_dynamic_rates_grow_from_the_longest_text_of_the_file(seq):
    file = scaled_llama(type="dynamic", factor=4.0)
    ours = rotary_from_config(file, seq=seq)
    assert_turns_alike(ours, Theirs(file, seq=seq or 16_384), rtol=2e-6)


@pytest.mark.parametrize("layer", range(6))
def test_only_the_global_layers_of_gemma_3_are_scaled(layer):
    scaling = {"rope_type": "linear", "factor": 8.0}
    file = ROWS["Gemma 3 1B"] | {"rope_scaling": scaling}
    assert_turns_alike(rotary_from_config(file, layer=layer), Theirs(file, layer))


@pytest.mark.parametrize("kind", ["default", "linear", "dynamic", "llama3", "yarn"])
def test_keys_that_a_type_does_not_use_are_ignored(kind):
    known = {"rope_theta": 5e5, "factor": 4.0, "original_max_position_embeddings": 512}
    bands = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    unused = {"mrope_section": [16, 24, 24], "finetuned": True, "beta_fast": 32.0}
    file = scaled_llama(rope_type=kind, **known, **bands)
    both = scaled_llama(rope_type=kind, type=kind, **known, **bands, **unused)
    assert_turns_alike(rotary_from_config(both), Theirs(file), rtol=2e-6)


@pytest.mark.parametrize(("name", "kind"), [("Phi-3.5-mini", "su")])
def test_longrope_had_another_name(name, kind):
    file = ROWS[name]
    older = file | {"rope_scaling": file["rope_scaling"] | {"type": kind}}
    assert_turns_alike(rotary_from_config(older, seq=5000), Theirs(file, seq=5000))


def test_the_text_of_qwen_vl_turns_with_mrope_as_without():
    file = ROWS["Qwen2.5-VL 7B"]
    older = file | {"rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}}
    assert_turns_alike(rotary_from_config(older), Theirs(older))


def test_a_layer_has_an_index_or_a_type():
    file = ROWS["Gemma 3 1B"]
    for layer, kind in ((0, "sliding_attention"), (5, "full_attention")):
        one, other = (rotary_from_config(file, layer=name) for name in (layer, kind))
        assert_close(one.angles.rates, other.angles.rates, rtol=0, atol=0)


def test_a_model_with_alibi_does_not_rotate():
    assert rotary_from_config(ROWS["Falcon 40B"] | {"alibi": True}) is None


def test_arguments_go_before_what_a_file_says():
    rotary = rotary_from_config(ROWS["GPT-J 6B"], head_dim=128, layout="halves")
    assert (rotary.head_dim, rotary.rotary_dim, rotary.layout) == (128, 64, "halves")


def test_a_file_is_not_written_to():
    for file in ROWS.values():
        before = copy.deepcopy(file)
        rotary_from_config(file, layer=0, seq=SEQ)
        assert file == before


@pytest.mark.parametrize(
    ("name", "change", "arguments", "message"),
    [
        ("Gemma 3 1B", {}, {}, "layer must be 0 to 25 or 'full_attention' or 'sliding"),
        ("Gemma 3 1B", {}, {"layer": 26}, "layer must be 0 to 25 .*got 26"),
        ("Gemma 3 1B", {}, {"layer": -1}, "layer must be 0 to 25 .*got -1"),
        ("SmolLM3 3B", {}, {}, "layer must be 0 to 35, because layers .*differently"),
        ("Qwen3 0.6B", {}, {"layer": 28}, "layer must be 0 to 27, .*end there; got 28"),
        ("Phi-3.5-mini", {}, {}, "lacks seq: give seq, the length of the text in tok"),
        ("Phi-2", {"partial_rotary_factor": 0.0}, {}, "above 0 and at most 1.*got 0.0"),
        ("Phi-2", {"model_type": "phi-msft"}, {}, "layout must be .*got .*'phi-msft'"),
        ("Hunyuan 7B", {"rope_scaling": {"type": "xdrope"}}, {}, "got 'xdrope'"),
        ("Qwen3 0.6B", {"rope_scaling": {"long_mscale": 1.2}}, {}, "got long_mscale"),
        ("Gemma 3 1B", {"sliding_window_pattern": "LLG"}, {}, "pattern must be a who"),
        ("Gemma 4, 60 layers", {}, {"layer": "global"}, "layer must be .*got 'global'"),
    ],
)
def test_a_file_that_cannot_be_read_rightly_is_refused(
    name, change, arguments, message
):
    with pytest.raises(ValueError, match=message):
        rotary_from_config(ROWS[name] | change, **arguments)


# The page of the book that shows them


@pytest.fixture(scope="module")
def lines():
    """The rows of the page's table: each model's, as its cells by their headings."""
    found = {}
    for row in BeautifulSoup(configurations.table(), "html.parser").select("tbody tr"):
        cells = {cell["data-label"]: cell.get_text() for cell in row.select("td")}
        found.setdefault(row.th.get_text(), []).append(cells)
    return found


def test_the_page_shows_every_file_and_its_source(lines):
    assert list(lines) == list(ROWS)
    sources = BeautifulSoup(configurations.sources(), "html.parser")
    shown = [place.get_text() for place in sources.select("dd")]
    assert shown == [row["source"] for row in configurations.published().values()]


def turning_by_kind(file):
    """By transformers: how many features turn, the slowest wave, in which layers."""
    found = {}
    for layer in range(text_part(file).get("num_hidden_layers", 1)):
        kind = (0, None)
        if not stands_still(file, layer):
            rates = Theirs(file, layer, configurations.longest_text(file) or SEQ).rates
            turning = rates[rates > 0]
            kind = (2 * len(turning), 2 * math.pi / turning.min().item())
        found.setdefault(kind, []).append(layer)
    return found


@pytest.mark.parametrize("name", list(ROWS))
def test_the_page_says_what_transformers_computes(lines, name):
    kinds = turning_by_kind(ROWS[name])
    for line, (kind, layers) in zip(lines[name], kinds.items(), strict=True):
        features, slowest = kind
        assert line["layers"] == ("all" if len(kinds) == 1 else str(len(layers)))
        assert line["features that turn"].split()[0] == str(features)
        if features:
            shown = float(line["slowest wave"].replace(",", ""))
            assert shown == pytest.approx(slowest, rel=1e-4, abs=0.5)


@pytest.mark.parametrize("name", list(ROWS))
def test_every_key_of_a_file_is_explained_on_the_page(name):
    page = (ROOT / "book/configurations.md").read_text("utf-8")
    text = text_part(ROWS[name])
    keys = {*text, *entry_of(ROWS[name])} - SIZES
    assert {key for key in keys if f"`{key}`" not in page} == set()


# What the explorer of a config.json counts


@pytest.mark.parametrize("kind", list(config_reader.BLOCKS))
def test_the_explorer_counts_the_parameters_of_transformers(kind):
    sizes = {"vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0)
    config = CONFIG_MAPPING[kind](**sizes, **tokens, intermediate_size=96)
    with torch.device("meta"):
        theirs = AutoModelForCausalLM.from_config(config)
    shape = ModelShape(
        vocab_size=500,
        embed_dim=64,
        layers=3,
        heads=4,
        kv_heads=2,
        head_dim=16,
        mlp_dim=96,
        gated=True,
        biases=config_reader.BLOCKS[kind],
        tied=kind in config_reader.TIED,
    )
    assert shape.total() == sum(each.numel() for each in theirs.parameters())


@pytest.mark.parametrize("kind", sorted(_FIXED.keys() & CONFIG_MAPPING.keys()))
def test_the_explorer_knows_whose_head_is_tied(kind):
    tied = getattr(CONFIG_MAPPING[kind](), "tie_word_embeddings", None)
    assert tied in (kind in config_reader.TIED, None)


@pytest.mark.parametrize("name", config_reader.SIZED)
def test_the_sizes_of_an_example_are_of_the_same_model(name):
    config, shape = ROWS[name], PUBLISHED[config_reader.SIZED[name]]
    assert config["hidden_size"] == shape.embed_dim
    assert config["num_attention_heads"] == shape.heads
    assert not config.keys() & config_reader.sizes_in_config(name).keys() - {
        "num_hidden_layers"
    }


def test_every_key_that_the_library_knows_is_explained_in_the_explorer():
    about = config_reader.keys_explained()
    fixed = set().union(*_FIXED.values())
    unexplained = {*_KEYS, *fixed, *_OTHER_NAMES} - about.keys()
    older = {"n_embd", "n_head", "n_layer"}  # names of what the page explains
    assert unexplained <= {"finetuned", "mrope_interleaved"} | older
