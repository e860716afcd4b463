"""A published Llama becomes ours: its sizes, and what its tensors are called in the
file.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import tiktoken
from torch import Tensor
from torch.overrides import TorchFunctionMode

from embeddings_lib import _guards
from embeddings_lib._llama_cpp import dequantized
from embeddings_lib._tokenizer_files import bytes_of
from embeddings_lib.llama import Llama
from embeddings_lib.model_shape import ModelShape
from embeddings_lib.rotary_positions import RotaryPositions
from embeddings_lib.rotary_scaling import rotary_from_config
from embeddings_lib.tokenizer import encoding_of

# A part of a name in our model -> what it is called by transformers, and by llama.cpp.
TRANSFORMERS_NAMES = {
    "token_table": "model.embed_tokens",
    "blocks": "model.layers",
    "norm_1": "input_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "norm_2": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "norm": "model.norm",
    "head": "lm_head",
}
LLAMA_CPP_NAMES = {
    "token_table": "token_embd",
    "blocks": "blk",
    "norm_1": "attn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "out": "attn_output",
    "norm_2": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "norm": "output_norm",
    "head": "output",
}
# GPT-2's words, but each digit stands alone.
SMOLLM_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)|\p{N}| ?\p{L}++| ?[^\s\p{L}\p{N}]++"
    r"|\s++(?=\p{N}|$)|\s+(?!\S)|\s"
)


def load_smollm2() -> tuple[Llama, tiktoken.Encoding]:
    """SmolLM2-135M-Instruct, a language model that speaks, and its encoding.

    >>> import torch
    >>> model, encoding = load_smollm2()
    >>> token_ids = torch.tensor(encoding.encode("The capital of France is"))
    >>> encoding.decode(model.generate(token_ids, 1).tolist())
    ' Paris'

    Its 134,515,008 numbers come from a file of llama.cpp, where all but a few have four
    bits, and are kept as float32 beside it. **llama.cpp stores W_q and W_k of a Llama
    reordered for the layout "pairs"**, which transformers keeps in "halves": so the
    model turns neighbouring features, and its W_q and W_k equal those of transformers
    only after `to_halves`.

    The file comes from `embeddings_lib.downloads`. Raises its AssetError if it is not
    cached and no source has it.

    Source: Allal et al. 2025.
    """
    from embeddings_lib.downloads import fetch

    weights, fields = dequantized(fetch("smollm2"))
    shape = ModelShape(
        vocab_size=fields["llama.vocab_size"],
        embed_dim=fields["llama.embedding_length"],
        layers=fields["llama.block_count"],
        heads=fields["llama.attention.head_count"],
        kv_heads=fields["llama.attention.head_count_kv"],
        mlp_dim=fields["llama.feed_forward_length"],
        gated=True,
        biases="none",
    )
    base, rotary_dim = (
        fields["llama.rope.freq_base"],
        fields["llama.rope.dimension_count"],
    )
    rotary = RotaryPositions(rotary_dim, base=base, layout="pairs")
    norm_eps = fields["llama.attention.layer_norm_rms_epsilon"]
    model = _filled(shape, rotary, norm_eps, weights, LLAMA_CPP_NAMES)
    return model, _encoding(fields["tokenizer.ggml.tokens"], fields["special"])


def load_llama(folder: Path | str) -> Llama:
    """The Llama that a folder holds: `config.json` and weights, as transformers saves
    them.

    >>> import tempfile, transformers
    >>> sizes = {"hidden_size": 16, "num_attention_heads": 4, "vocab_size": 50}
    >>> sizes |= {"intermediate_size": 24, "num_hidden_layers": 2}
    >>> theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     theirs.save_pretrained(folder)
    ...     load_llama(folder).shape.total() == theirs.num_parameters()
    True

    The weights are in `model.safetensors`, or in the files that
    `model.safetensors.index.json` lists. They are mapped, so that opening reads only
    what is used, and keep their dtype.

    Raises ValueError for another architecture, for what a Llama does not have (biases,
    sliding windows, another activation), and for tensors that are missing, left over or
    of another shape: each is named.

    Source: the names are those of transformers, `modeling_llama`.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    _guards.plain_llama(config)
    shape = ModelShape(
        vocab_size=config["vocab_size"],
        embed_dim=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config.get("num_key_value_heads"),
        head_dim=config.get("head_dim"),
        mlp_dim=config["intermediate_size"],
        gated=True,
        biases="none",
        tied=config.get("tie_word_embeddings", False),
    )
    older = {
        "rope_theta": config.get("rope_theta"),
        **(config.get("rope_scaling") or {}),
    }
    head_dim = shape.widths()[0] // shape.heads
    rotary = rotary_from_config(config.get("rope_parameters") or older, head_dim)
    files, index = ["model.safetensors"], folder / "model.safetensors.index.json"
    if index.exists():
        files = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    weights = {}
    for file in files:
        weights |= load_file(folder / file)
    return _filled(shape, rotary, config["rms_norm_eps"], weights, TRANSFORMERS_NAMES)


def _filled(
    shape: ModelShape,
    rotary: RotaryPositions,
    norm_eps: float,
    weights: dict[str, Tensor],
    names: Mapping[str, str],
) -> Llama:
    """A Llama whose parameters *are* the weights of a file, by their names there."""
    with _NothingDrawn():
        model = Llama(shape, rotary, norm_eps=norm_eps)
    called = {
        ours: ".".join(names.get(part, part) for part in ours.split("."))
        for ours in model.state_dict()
    }
    table, head = called["token_table.weight"], called["head.weight"]
    if shape.tied and head not in weights and table in weights:
        weights[head] = weights[table]
    wanted = {called[ours]: empty for ours, empty in model.state_dict().items()}
    _guards.same_tensors(wanted, weights)
    model.load_state_dict({ours: weights[called[ours]] for ours in called}, assign=True)
    return model.eval()


class _NothingDrawn(TorchFunctionMode):
    """No first weights, as those of a file replace them: memory is not even touched."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__module__", "") != "torch.nn.init":
            return function(*args, **(kwargs or {}))


def _encoding(tokens: list[str], special: list[int]) -> tiktoken.Encoding:
    """Byte-level BPE whose IDs are the order of its merges, as in GPT-2.

    21 bytes are in no token: rare control characters, and bytes that UTF-8 hardly or
    never uses. They get IDs after the last, which no row of the table stands for.
    """
    ranks = {bytes_of(token): i for i, token in enumerate(tokens) if i not in special}
    absent = (bytes([byte]) for byte in range(256) if bytes([byte]) not in ranks)
    ranks |= {byte: i for i, byte in enumerate(list(absent), start=len(tokens))}
    return encoding_of(
        "smollm2", ranks, SMOLLM_PATTERN, {tokens[i]: i for i in special}
    )
