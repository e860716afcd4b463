"""What the explorer of a config.json starts from, and what it must know.

It reads a file in the browser as `rotary_from_config` does. What the library knows of
the code of each model, and of each key, goes there from the library itself.
"""

import re
from functools import cache

from book._ext.chapters import ROOT
from book._ext.configurations import PAGE, published
from embeddings_lib._configurations import (
    _FIXED,
    _KEYS,
    _NUMERIC,
    _OTHER_NAMES,
    _OTHER_TYPES,
    _SCALES,
)
from embeddings_lib.model_shape import BYTES
from embeddings_lib.published_models import PUBLISHED

# Published configurations whose other sizes the library has, and under which name.
SIZED = {
    "Llama 2 7B": "Llama 2 7B",
    "Llama 3.1 8B": "Llama 3 8B",
    "Mistral 7B": "Mistral 7B",
    "Qwen2.5 7B + YaRN": "Qwen2.5 7B",
}
# Models whose blocks are as `ModelShape` counts them: a gated MLP, and these biases.
BLOCKS = {
    "granite": "none",
    "llama": "none",
    "ministral3": "none",
    "mistral": "none",
    "phi3": "none",
    "qwen2": "qkv",
    "smollm3": "none",
}
# Models whose code ties the head to the table, unless the file says otherwise.
TIED = {"cohere", "cohere2", "ernie4_5", "falcon", "smollm3"}
TIED |= {"gemma2", "gemma3_text", "gemma4_text"}
# What the library knows of the code of a model in its own words: no file has these.
IN_THE_CODE = {
    "layout": "which features are a pair",
    "still": "layers of this type do not turn",
    "unscaled": "layers of this type keep their rates",
}
LINK = re.compile(r"\[([^]]+)\]\(\.\./(chapters/\w+)\.ipynb\)")


def sizes_in_config(name: str) -> dict:
    """The sizes of a published model, as a config.json names them."""
    shape = PUBLISHED[SIZED[name]]
    return {
        "vocab_size": shape.vocab_size,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.mlp_dim,
        "tie_word_embeddings": shape.tied,
    }


def keys_explained() -> dict:
    """Each key of the page of published configurations: its meaning, and where."""
    code = [("chapter 14", "chapters/14_todays_models")]
    about = {
        key: {"meaning": meaning, "chapters": code}
        for key, meaning in IN_THE_CODE.items()
    }
    page = (ROOT / f"{PAGE}.md").read_text("utf-8")
    for line in page.splitlines():
        if line.startswith("| `"):
            _, keys, meaning, where, _ = line.split("|")
            known = {"meaning": meaning.strip(), "chapters": LINK.findall(where)}
            about |= dict.fromkeys(re.findall(r"`(\w+)`", keys), known)
    return about


@cache
def readable_configs() -> dict:
    """Files to read, and what the library knows of their keys."""
    configs = {
        name: row["config"] | (sizes_in_config(name) if name in SIZED else {})
        for name, row in published().items()
    }
    return {
        "configs": configs,
        "fixed": _FIXED,
        "known_keys": sorted(_KEYS),
        "numeric": sorted(_NUMERIC),
        "scales": sorted(_SCALES),
        "other_names": _OTHER_NAMES,
        "other_types": _OTHER_TYPES,
        "about": keys_explained(),
        "blocks": BLOCKS,
        "tied_types": {kind: kind in TIED for kind in _FIXED},
        "widths": BYTES,
    }
