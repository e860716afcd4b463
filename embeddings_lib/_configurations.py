"""What a published config.json says about rotation, under one set of names.

Files spell the same thing in several ways, and leave out what the code of their model
fixes. That knowledge stands here, aside from the equations of `rotary_scaling`. The
names and the rules are those of transformers, from its configuration classes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from embeddings_lib import _guards

# What the code of a model fixes, and its file may leave out. `halves` and a base of
# 10,000 where a line says nothing else.
_FIXED = {
    "cohere": {"layout": "pairs", "rope_theta": 500_000.0},
    "cohere2": {
        "layout": "pairs",
        "sliding_window_pattern": 4,
        "still": "full_attention",
    },
    "deepseek_v2": {"layout": "pairs", "qk_rope_head_dim": 64},
    "deepseek_v3": {"rope_interleave": True, "qk_rope_head_dim": 64},
    "ernie4_5": {"layout": "pairs", "rope_theta": 500_000.0, "head_dim": 128},
    "falcon": {},
    "gemma2": {"head_dim": 256},
    "gemma3_text": {
        "head_dim": 256,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "sliding_window_pattern": 6,
    },
    "gemma4_text": {
        "head_dim": 256,
        "global_head_dim": 512,
        "sliding_window_pattern": 6,
        "rope_parameters": {
            "sliding_attention": {"rope_theta": 10_000.0},
            "full_attention": {
                "rope_type": "proportional",
                "partial_rotary_factor": 0.25,
                "rope_theta": 1_000_000.0,
            },
        },
    },
    "glm4": {"layout": "pairs", "head_dim": 128, "partial_rotary_factor": 0.5},
    "glm4_moe": {"partial_rotary_factor": 0.5},
    "gpt_neox": {"partial_rotary_factor": 0.25},
    "gpt_oss": {
        "head_dim": 64,
        "rope_theta": 150_000.0,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 32.0,
            "original_max_position_embeddings": 4096,
            "truncate": False,
        },
    },
    "gptj": {"layout": "pairs", "rotary_dim": 64},
    "granite": {},
    "hunyuan_v1_dense": {},
    "kimi_k2": {"rope_interleave": True, "qk_rope_head_dim": 64},
    "llama": {},
    "llama4_text": {
        "layout": "pairs",
        "head_dim": 128,
        "rope_theta": 500_000.0,
        "no_rope_layer_interval": 4,
    },
    "minimax_m2": {"head_dim": 128, "rope_theta": 5_000_000.0},
    "ministral3": {
        "head_dim": 128,
        "rope_theta": None,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1_000_000.0,
            "factor": 16.0,
            "original_max_position_embeddings": 16_384,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        },
    },
    "mistral": {},
    "nemotron": {"partial_rotary_factor": 0.5},
    "olmo2": {},
    "olmo3": {
        "rope_theta": 500_000.0,
        "sliding_window_pattern": 4,
        "unscaled": "sliding_attention",
    },
    "phi": {"partial_rotary_factor": 0.5},
    "phi3": {"original_max_position_embeddings": 4096},
    "qwen2": {},
    "qwen2_5_vl": {"rope_theta": 1_000_000.0},
    "qwen2_5_vl_text": {"rope_theta": 1_000_000.0},
    "qwen3": {"head_dim": 128},
    "qwen3_next": {
        "head_dim": 256,
        "partial_rotary_factor": 0.25,
        "full_attention_interval": 4,
    },
    "smollm3": {"rope_theta": 2_000_000.0, "no_rope_layer_interval": 4},
    "stablelm": {"partial_rotary_factor": 0.25},
}
_OTHER_NAMES = {
    "rotary_emb_base": "rope_theta",
    "rotary_pct": "partial_rotary_factor",
    "n_embd": "hidden_size",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
    "n_positions": "max_position_embeddings",
}
_OTHER_TYPES = {"su": "longrope", "mrope": "default"}  # mrope: as text without images
# The keys of an entry: those that scale the rates, each type in its own way; and every
# other whose effect is known. Some types do not use some of them.
_SCALES = {
    *("factor", "attention_factor", "beta_fast", "beta_slow", "mscale"),
    *("mscale_all_dim", "low_freq_factor", "high_freq_factor", "alpha"),
    *("short_factor", "long_factor"),
}
_WORDS = {"rope_type", "type", "truncate", "finetuned", "mrope_interleaved"}
_KEYS = {
    *(_SCALES | _WORDS),
    *("rope_theta", "partial_rotary_factor", "head_dim", "mrope_section"),
    *("original_max_position_embeddings", "max_position_embeddings"),
    "llama_4_scaling_beta",
}
_NUMERIC = _KEYS - _WORDS | {
    *("hidden_size", "num_attention_heads", "qk_rope_head_dim", "rotary_dim"),
}


@dataclass(frozen=True)
class Rotation:
    """What one layer's rotation needs; `keys` are those of its scaling."""

    kind: str
    base: float
    head_dim: int
    rotary_dim: int
    layout: str
    keys: dict


def rotation_of(
    parameters, head_dim: int | None, layer: int | str | None, layout: str | None
) -> Rotation | None:
    """The rotation of a layer, or None where the layer does not rotate."""
    file = _read(parameters)
    entry = _entry_of_layer(file, layer)
    if entry is None:
        return None
    entry = _given(entry)
    known = file | entry
    _guards.numeric({key: known[key] for key in known if key in _NUMERIC})
    kind = entry.get("rope_type") or entry.get("type")
    _guards.some_type(kind, [key for key in entry if key in _SCALES])
    kind, keys = _scaling(_OTHER_TYPES.get(kind, kind or "default"), entry, file)
    head_dim = _head_dim(known, head_dim)
    rotary_dim = head_dim if kind == "proportional" else _rotary_dim(known, head_dim)
    layout = layout or _layout(known)
    return Rotation(kind, _base(known), head_dim, rotary_dim, layout, keys)


def _read(parameters) -> dict:
    """The text model's part of a file, over what the code of its model fixes."""
    if isinstance(parameters, str | PathLike):
        parameters = json.loads(Path(parameters).read_text("utf-8"))
    file = parameters if isinstance(parameters, Mapping) else parameters.to_dict()
    file = file.get("text_config") or file
    whole = {"model_type", "hidden_size", "n_embd", "rope_scaling", "rope_parameters"}
    if not whole & file.keys():
        file = {"rope_parameters": file, "layout": "halves"}
    given = {
        _OTHER_NAMES.get(key, key): value
        for key, value in file.items()
        if value is not None
    }
    model = given.get("model_type")
    fixed = {"layout": "halves", "rope_theta": 10_000.0} if model in _FIXED else {}
    return fixed | _FIXED.get(model, {}) | given


def _entry_of_layer(file: dict, layer: int | str | None) -> dict | None:
    """The entry of one layer, by its index or by its type; None: it does not rotate."""
    by_type = _entries_by_type(file)
    by_index = dict(enumerate(_entries_by_index(file, by_type)))
    entries = by_index | by_type
    first, *others = entries.values() or [_entry(file)]
    _guards.layer(layer, len(by_index), list(by_type), first, others)
    return entries.get(layer, first)


def _entry(file: dict) -> dict | None:
    """What stands under one of its two names; None for a model with ALiBi."""
    entry = file.get("rope_scaling") or file.get("rope_parameters") or {}
    return None if file.get("alibi") else dict(entry)


def _given(keys: Mapping) -> dict:
    return {key: value for key, value in keys.items() if value is not None}


def _entries_by_type(file: dict) -> dict[str, dict | None]:
    """The entry of each type of layer, where types differ; otherwise nothing."""
    entry = _entry(file) or {}
    if any(isinstance(own, Mapping) for own in entry.values()):
        if "full_attention" in entry and "global_head_dim" in file:
            wide = {"head_dim": file["global_head_dim"]}
            entry["full_attention"] = entry["full_attention"] | wide
        return entry
    if "rope_local_base_freq" in file:
        local = {"rope_theta": file["rope_local_base_freq"]}
        return {"full_attention": entry, "sliding_attention": local}
    if "unscaled" in file:
        return {"full_attention": entry, file["unscaled"]: {}}
    if "still" in file:
        return {"sliding_attention": entry, file["still"]: None}
    if "full_attention_interval" in file:
        return {"full_attention": entry, "linear_attention": None}
    return {}


def _entries_by_index(file: dict, by_type: dict) -> list[dict | None]:
    """The entry of each layer, from the first to the last."""
    types = _layer_types(file, by_type)
    _guards.entry_for_each(types, by_type)
    pause = file.get("no_rope_layer_interval", len(types) + 1)
    turns = file.get("no_rope_layers") or [(n + 1) % pause for n in range(len(types))]
    same = None if by_type else _entry(file)
    entries = [
        by_type.get(kind, same) if turning else None
        for kind, turning in zip(types, turns, strict=True)
    ]
    for n, own in file.get("per_layer_config", {}).items():
        entries[int(n)] = entries[int(n)] | own
    return entries


def _layer_types(file: dict, by_type: dict) -> list[str]:
    if "layer_types" in file:
        return file["layer_types"]
    linear = "full_attention_interval" in file
    name = "full_attention_interval" if linear else "sliding_window_pattern"
    other = "linear_attention" if linear else "sliding_attention"
    if by_type and name not in file:
        return []
    every, layers = file.get(name, 1), file.get("num_hidden_layers", 0)
    _guards.whole(1, **{name: every})
    return [other if (n + 1) % every else "full_attention" for n in range(layers)]


def _scaling(kind: str, entry: dict, file: dict) -> tuple[str, dict]:
    """The type of scaling and its keys, with the lengths that stand elsewhere."""
    _guards.known_keys(entry, _KEYS)
    original, longest = "original_max_position_embeddings", "max_position_embeddings"
    keys = {key: _number(key, value) for key, value in entry.items()}
    if kind == "dynamic" and keys.get("alpha"):
        return "ntk", {"factor": keys["alpha"]}
    if kind == "dynamic" and longest in file:
        return kind, keys | {original: file[longest], "seq": file[longest]}
    if longest in file:
        keys.setdefault(original, file[longest])
    if original in file:
        keys[original] = file[original]
    if kind == "longrope" and longest in file:
        keys.setdefault("factor", file[longest] / keys[original])
    return kind, keys


def _number(key: str, value):
    """JSON has one kind of number, but only lengths are whole."""
    if isinstance(value, list):
        return [float(each) for each in value]
    whole = key.endswith("max_position_embeddings") or type(value) is not int
    return value if whole else float(value)


def _head_dim(known: dict, given: int | None) -> int:
    _guards.some_head_dim(known, given)
    sizes = (given, known.get("qk_rope_head_dim"), known.get("head_dim"))
    whole = next(filter(None, sizes), None)
    return whole or known["hidden_size"] // known["num_attention_heads"]


def _rotary_dim(known: dict, head_dim: int) -> int:
    share = known.get("partial_rotary_factor")
    _guards.some_share(share)
    return known.get("rotary_dim", head_dim) if share is None else int(head_dim * share)


def _base(known: dict) -> float:
    _guards.some_base(known)
    return float(known["rope_theta"])


def _layout(known: dict) -> str:
    if "rope_interleave" in known:
        return "pairs" if known["rope_interleave"] else "halves"
    _guards.some_layout(known)
    return known["layout"]
