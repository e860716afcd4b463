"""The package as a whole: light to import, every public name explained and shown."""

import ast
import inspect
import subprocess
import sys

import pytest
import torch

import embeddings_lib
from book._ext import library
from tests import notebooks
from tests.test_promises import defined


def test_importing_it_loads_nothing_heavy():
    heavy = [
        "matplotlib",
        "IPython",
        "pooch",
        "requests",
        "safetensors",
        "gguf",
        "numba",
        "scipy",
        "cloudpickle",
        "torch.distributed.tensor",
    ]
    code = (
        f"import torch, sys; before = set(sys.modules); import embeddings_lib; print([\
name for name in {heavy} if name in sys.modules and name not in before])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def public_names():
    """Every class and function that a chapter teaches; a command explains itself."""
    taught = library.taught()
    for thing in defined():
        module, name = thing.__module__.partition(".")[2], thing.__name__
        if module in taught and name[0] != "_" and name != "main":
            yield pytest.param(thing, id=name)


@pytest.mark.parametrize("thing", list(public_names()))
def test_every_public_name_is_documented_with_an_example_and_taught(thing):
    assert ">>> " in inspect.getdoc(thing)
    sources = "\n".join(
        cell.source
        for path in notebooks.CHAPTERS
        for cell in notebooks.read(path).cells
    )
    assert thing.__name__ in sources


def test_default_device_can_compute():
    ones = torch.ones(3, device=embeddings_lib.default_device())
    assert ones.sum().item() == 3.0


def test_default_device_prefers_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert embeddings_lib.default_device() == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert embeddings_lib.default_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert embeddings_lib.default_device() == torch.device("cuda")


def encoded(call: ast.Call) -> bool:
    """Whether a call that reads or writes a text says how letters become bytes."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if any(word.arg == "encoding" for word in call.keywords):
        return True
    if isinstance(call.func, ast.Name) and name == "open":
        return "b" in "".join(map(ast.unparse, call.args[1:2]))
    return len(call.args) >= {"read_text": 1, "write_text": 2}.get(name, 0)


PROGRAMS = [
    path.relative_to(notebooks.ROOT)
    for room in ("book", "chapters", "embeddings_lib", "tests")
    for path in sorted((notebooks.ROOT / room).rglob("*.py"))
]


@pytest.mark.parametrize("path", PROGRAMS, ids=str)
def test_every_text_is_read_and_written_with_an_encoding(path):
    tree = ast.parse((notebooks.ROOT / path).read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [ast.unparse(call) for call in calls if not encoded(call)] == []
