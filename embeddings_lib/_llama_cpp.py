"""The file of llama.cpp, and a copy of its weights that opens at once."""

import contextlib
import json
import tempfile
import zlib
from pathlib import Path

import torch
from torch import Tensor


def dequantized(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a file of llama.cpp as float32, and what else it says.

    They are kept in a file beside it, which the next call maps instead: in a tenth of
    the time, and shared between processes.
    """
    beside = path.with_suffix(".float32.safetensors")
    with contextlib.suppress(Exception):  # missing or damaged: made anew
        return _kept(beside)
    weights, fields = _read_llama_cpp(path)
    with contextlib.suppress(OSError):  # no room for it: read again the next time
        _keep(beside, weights, fields)
    return weights, fields


def _kept(path: Path) -> tuple[dict[str, Tensor], dict]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    if metadata["checksum"] != _checksum(weights):
        raise ValueError(f"{path} is damaged")
    return weights, json.loads(metadata["fields"])


def _keep(path: Path, weights: dict[str, Tensor], fields: dict) -> None:
    """Written under another name first: nobody ever sees a part of it."""
    from safetensors.torch import save_file

    metadata = {"checksum": _checksum(weights), "fields": json.dumps(fields)}
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        save_file(weights, Path(folder) / path.name, metadata)
        (Path(folder) / path.name).replace(path)


def _checksum(weights: dict[str, Tensor]) -> str:
    total = 0
    for name in sorted(weights):
        total = zlib.crc32(weights[name].numpy(), total)
    return str(total)


def _read_llama_cpp(path: Path) -> tuple[dict[str, Tensor], dict]:
    import numpy
    from gguf import GGUFReader, TokenType
    from gguf.quants import dequantize

    class Reader(GGUFReader):
        """gguf's own, twice as fast: it slices a plain array and not a memmap."""

        @property
        def data(self):
            return self._data

        @data.setter
        def data(self, mapped):
            self._data = numpy.asarray(mapped)

    reader = Reader(path)
    fields = {
        name: field.contents()
        for name, field in reader.fields.items()
        if name.startswith("llama.") or name == "tokenizer.ggml.tokens"
    }
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    fields["special"] = [i for i, k in enumerate(kinds) if k == TokenType.CONTROL]
    reader.fields.clear()  # 100,000 arrays, which would stand beside the weights
    weights = {
        tensor.name: torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        for tensor in reader.tensors
    }
    return weights, fields
