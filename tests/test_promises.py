"""What every caller relies on: signatures stay as they are, and so do values.

A default is a promise to those who leave the argument out. It is written once, in the
signature. Chapters have printed most signatures, so a reader has the promise there; and
where the field has agreed on a value, PyTorch or transformers has it too.
"""

import ast
import dataclasses
import importlib
import inspect
import pkgutil

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, T5Config

import embeddings_lib
from embeddings_lib.attention_biases import T5Bias, t5_buckets
from embeddings_lib.exact_angles import wave_rates
from embeddings_lib.notebook import show_source
from tests import notebooks


def defined():
    """Every class and function that a module of the library defines."""
    for module in pkgutil.walk_packages(embeddings_lib.__path__, "embeddings_lib."):
        for thing in vars(importlib.import_module(module.name)).values():
            if getattr(thing, "__module__", "") == module.name:
                yield thing


def callables():
    for thing in defined():
        yield thing.__name__, thing
        for name, method in vars(thing).items():
            if inspect.isfunction(method):
                yield f"{thing.__name__}.{name}", method


def printed():
    """The names that each listing of a chapter shows, and what it printed."""
    for path in notebooks.CHAPTERS:
        for cell in notebooks.read(path).cells:
            if cell.cell_type == "code" and "show_source(" in cell.source:
                *_, last = ast.parse(cell.source).body
                names = [ast.unparse(argument) for argument in last.value.args]
                source = cell.outputs[-1].data["text/plain"]
                yield pytest.param(names, source, id=", ".join(names))


def named(name):
    """What a chapter calls by this name: it may write the module before it."""
    known = dict(callables())
    return known.get(name) or known[name.partition(".")[2]]


def signatures(source):
    """The arguments of each function and the fields of each class, with defaults."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            yield node.name, ast.unparse(node.args)
        elif isinstance(node, ast.ClassDef):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            yield node.name, *map(ast.unparse, fields)


@pytest.mark.parametrize(("names", "source"), list(printed()))
def test_a_signature_is_as_the_chapter_printed_it(names, source):
    """A strict run of the chapter says so too, but takes minutes."""
    now = show_source(*map(named, names)).text
    assert list(signatures(source)) == list(signatures(now))


PYTORCHS = str(torch.get_default_dtype()).removeprefix("torch.")


def default(function, argument):
    return inspect.signature(function).parameters[argument].default


@pytest.mark.parametrize(
    ("function", "argument", "agreed"),
    [
        (wave_rates, "base", LlamaConfig().rope_parameters["rope_theta"]),
        (embeddings_lib.RotaryPositions, "base", LlamaConfig.default_theta),
        (embeddings_lib.TokenEmbedding, "std", GPT2Config().initializer_range),
        (T5Bias, "buckets", T5Config().relative_attention_num_buckets),
        (T5Bias, "max_distance", T5Config().relative_attention_max_distance),
        (t5_buckets, "buckets", T5Config().relative_attention_num_buckets),
        (t5_buckets, "max_distance", T5Config().relative_attention_max_distance),
        (embeddings_lib.ModelShape.bytes, "dtype", PYTORCHS),
        (embeddings_lib.ModelShape.bytes_moved, "dtype", PYTORCHS),
        (embeddings_lib.ModelShape.input_bytes, "dtype", PYTORCHS),
    ],
)
def test_a_default_is_what_the_field_agreed_on(function, argument, agreed):
    assert default(function, argument) == agreed


def test_training_is_in_mixed_precision_as_usual_today():
    shape = embeddings_lib.published_shape("GPT-2 124M")
    assert "float32 copy" in shape.training_bytes()


VALUES = [thing for thing in defined() if dataclasses.is_dataclass(thing)]


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_cannot_be_changed_by_accident(kind):
    value = object.__new__(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(kind)[0].name, None)


def test_the_fields_of_a_model_are_named():
    kinds = {f.kw_only for f in dataclasses.fields(embeddings_lib.ModelShape)}
    assert kinds == {True}
