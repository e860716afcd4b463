"""What every caller relies on: defaults stay as they are, and so do values."""

import dataclasses
import importlib
import inspect
import pkgutil

import pytest

import embeddings_lib

# A default is a promise to those who leave the argument out. None says "nothing given".
DEFAULTS = {
    "Asset": {"optional": False},
    "InputEmbedding": {"dropout": 0.0},
    "InputEmbedding.forward": {"offset": 0},
    "LearnedPositions": {"std": 0.01},
    "Llama": {"norm_eps": 1e-5},
    "LlamaBlock": {"norm_eps": 1e-5},
    "LearnedPositions.span": {"offset": 0},
    "MarkovText": {"letters": 12, "seed": 0},
    "ModelShape": {
        "gated": False,
        "biases": "all",
        "learned_positions": 0,
        "tied": True,
        "source": "",
    },
    "ModelShape.bytes": {"dtype": "float32"},
    "ModelShape.bytes_moved": {"offset": 0, "dtype": "float32"},
    "ModelShape.flops": {"offset": 0},
    "ModelShape.input_bytes": {"dtype": "float32"},
    "ModelShape.training_bytes": {"mixed": True},
    "RotaryPositions": {"base": 10_000.0, "layout": "halves", "attention_factor": 1.0},
    "RotaryPositions.forward": {"offset": 0, "inplace": False},
    "ShardedEmbedding": {"cut": "rows"},
    "SinusoidalPositions": {"base": 10_000.0},
    "SinusoidalPositions.span": {"offset": 0},
    "SkipGram": {"std": 0.1},
    "T5Bias": {"buckets": 32, "max_distance": 128},
    "TinyLM": {"layers": 2, "heads": 4, "tied": True},
    "TokenEmbedding": {"std": 0.02, "sparse": False},
    "ExactAngles": {"start": 0.0, "radius": 1.0},
    "ExactAngles.span": {"offset": 0},
    "WordVectors.accuracy": {"offset": 1.0},
    "WordVectors.analogy": {"k": 5},
    "WordVectors.nearest": {"k": 5},
    "World": {"seed": 0, "entangled": 0.0},
    "attention": {"causal": True},
    "attention_weights": {"causal": True},
    "connect": {"timeout": 60.0},
    "explained": {"silent": False},
    "fetch": {"progress": False},
    "left_pad": {"pad_id": 0},
    "llama3": {"low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "look_up": {"sparse": False},
    "model_with": {"embed_dim": 32, "heads": 4},
    "rotary_from_config": {"layout": "halves"},
    "rotate": {"layout": "halves"},
    "run_on_ranks": {"timeout": 60.0},
    "shard": {"cut": "rows"},
    "sinusoidal_encoding": {"base": 10_000.0},
    "t5_buckets": {"buckets": 32, "max_distance": 128},
    "train": {"lr": 3e-3},
    "train_skipgram": {"steps": 1000, "batch_size": 1024, "negatives": 5, "lr": 0.02},
    "wave_rates": {"base": 10_000.0},
    "yarn": {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True},
}


def defined():
    """Every class and function that a module of the library defines."""
    for module in pkgutil.walk_packages(embeddings_lib.__path__, "embeddings_lib."):
        for thing in vars(importlib.import_module(module.name)).values():
            if getattr(thing, "__module__", "") == module.name:
                yield thing


def callables():
    for thing in defined():
        if not (inspect.isclass(thing) and issubclass(thing, Exception)):
            yield thing.__name__, thing
            for name, method in vars(thing).items():
                if inspect.isfunction(method):
                    yield f"{thing.__name__}.{name}", method


def test_defaults_stay_as_they_are():
    found = {}
    for name, function in callables():
        if not any(part.startswith("_") for part in name.split(".")):
            arguments = inspect.signature(function).parameters.values()
            found[name] = {
                argument.name: argument.default
                for argument in arguments
                if argument.default not in (argument.empty, None)
            }
    assert {name: given for name, given in found.items() if given} == DEFAULTS


VALUES = [thing for thing in defined() if dataclasses.is_dataclass(thing)]


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_cannot_be_changed_by_accident(kind):
    value = object.__new__(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(kind)[0].name, None)


def test_the_fields_of_a_model_are_named():
    kinds = {f.kw_only for f in dataclasses.fields(embeddings_lib.ModelShape)}
    assert kinds == {True}
