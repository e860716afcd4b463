"""Code that is compiled, exported, traced or mapped does what it does as it stands.

What is wrong in a shape, a dtype, a device, an offset or an option is refused as the
code is made; an ID or a position outside the table, as it runs.
"""

import pytest
import torch
from torch.testing import assert_close

from embeddings_lib import (
    InputEmbedding,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    TokenEmbedding,
    rotate,
    sinusoidal_encoding,
    to_pairs,
)
from tests.test_life import MODULES, fresh, tensors

OLD = r"ignore:`torch\.jit\..*` is deprecated:DeprecationWarning"  # and used by PyTorch
SLOWLY = "ignore:There is a performance drop:UserWarning"
ROUNDED = {"rtol": 0, "atol": 2e-6}
NAMES = [name for name in MODULES if "sparse" not in name]

tokens = TokenEmbedding(11, 8)
learned = LearnedPositions(9, 8)
waves = SinusoidalPositions(8)
rotary = RotaryPositions(8)
both = InputEmbedding(tokens, learned)
ids = torch.arange(4)
x = torch.linspace(-1, 1, 64).view(2, 4, 1, 8)


@pytest.fixture(autouse=True)
def as_called(as_users_call_it):
    """The shape checks of the tests are no part of what is traced."""


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_compiled_it_is_one_graph_with_the_same_result(name):
    module, arguments = fresh(name).eval(), MODULES[name][1]
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert_close(tensors(compiled(*arguments)), tensors(module(*arguments)), **ROUNDED)


REFUSED = {
    "IDs that are no integers": (TypeError, lambda: tokens(ids.float())),
    "IDs of 8 bits": (TypeError, lambda: tokens(ids.to(torch.uint8))),
    "IDs elsewhere": (ValueError, lambda: tokens(ids.to("meta"))),
    "positions that are truths": (TypeError, lambda: waves(ids > 1)),
    "positions between tokens": (TypeError, lambda: learned(ids / 2)),
    "positions elsewhere": (ValueError, lambda: waves(ids.to("meta"))),
    "a negative offset": (IndexError, lambda: waves.span(4, -1)),
    "a text beyond the table": (IndexError, lambda: learned.span(4, 6)),
    "a text out of reach": (IndexError, lambda: rotary(x, x, offset=1_048_573)),
    "a negative length": (IndexError, lambda: learned.span(-1)),
    "positions and an offset": (ValueError, lambda: both(ids, ids, offset=1)),
    "too many features": (ValueError, lambda: rotary(x.repeat(1, 1, 1, 2), x)),
    "two dtypes": (TypeError, lambda: rotary(x, x.half())),
    "whole numbers to turn": (TypeError, lambda: rotary(x.long(), x.long())),
    "two lengths of batch": (ValueError, lambda: rotary(x[:1], x)),
    "too few positions": (ValueError, lambda: rotary(x, x, ids[:3])),
    "more angles than pairs": (ValueError, lambda: rotate(x, x[0, :, 0, :5])),
    "an unknown layout": (ValueError, lambda: rotate(x, x[0, :, 0], layout="both")),
    "an odd width": (ValueError, lambda: sinusoidal_encoding(ids, 7)),
    "16-bit positions": (TypeError, lambda: sinusoidal_encoding(ids.half(), 8)),
    "half a head": (ValueError, lambda: to_pairs(x[0, :3], 4)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_needs_no_values_is_refused_as_the_code_is_made(what):
    error, call = REFUSED[what]
    with pytest.raises(error) as refusal:
        call()
    compiled = torch.compile(call, fullgraph=True, backend="eager")
    with pytest.raises(torch._dynamo.exc.Unsupported) as refusal_then:
        compiled()
    rule = str(refusal.value).split(";")[0]
    assert error.__name__ in str(refusal_then.value) or rule in str(refusal_then.value)


WRONG = [
    (tokens, -1),
    (tokens, 11),
    (learned, -1),
    (learned, 9),
    (waves, -1),
    (waves, 2**20),
    (waves, -(2**20)),
]


@torch.no_grad()
@pytest.mark.filterwarnings(OLD)
def test_a_value_outside_the_table_is_refused_as_the_code_runs():
    """-1 is not the last row, and no row is read beyond the last."""
    for module in (tokens, learned, waves):
        compiled = torch.compile(module, fullgraph=True, dynamic=True)
        assert_close(compiled(ids), module(ids), **ROUNDED)
        for place in [wrong for table, wrong in WRONG if table is module]:
            with pytest.raises(RuntimeError, match="index out of bounds"):
                compiled(torch.tensor([0, place]))


CALLS = {
    "learned": lambda offset: learned.span(2, offset),
    "sinusoidal": lambda offset: waves.span(2, offset),
    "rotary": lambda offset: rotary(x, x, offset=offset),
    "input": lambda offset: both(ids[:2], offset=offset),
}


@pytest.mark.parametrize("part", CALLS)
def test_decoding_compiles_no_code_for_each_offset(part, graphs):
    """0 and 1 apart, which PyTorch takes for constants, one code serves all offsets."""
    call = CALLS[part]
    compiled = torch.compile(call, fullgraph=True, backend=graphs.keep)
    for offset in (2, 3, 4, 5, 6, 7):
        assert_close(compiled(offset), call(offset), **ROUNDED)
    assert len(graphs) == 2  # the first offset's own, and one for all others


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_exported_it_gives_the_same(name):
    module, arguments = fresh(name).eval(), MODULES[name][1]
    exported = torch.export.export(module, arguments).module()
    assert_close(tensors(exported(*arguments)), tensors(module(*arguments)), **ROUNDED)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", OLD)
@pytest.mark.parametrize("name", NAMES)
def test_traced_it_gives_the_same_without_complex_numbers(name):
    """So ONNX's older exporter, which knows none, can write it."""
    module, arguments = fresh(name).eval(), MODULES[name][1]
    if not all(isinstance(argument, torch.Tensor) for argument in arguments):
        pytest.skip("only tensors can be traced")
    traced = torch.jit.trace(module, arguments)
    assert_close(tensors(traced(*arguments)), tensors(module(*arguments)), **ROUNDED)
    assert "complex" not in str(traced.inlined_graph).lower()


MAPPED = {
    "tokens": (lambda i: tokens(i), torch.tensor([[1, 2], [10, 0]])),
    "learned": (lambda i: learned(i), torch.tensor([[1, 2], [8, 0]])),
    "sinusoidal": (lambda i: waves(i), torch.tensor([[1, 2], [1_048_575, 0]])),
    "computed": (lambda i: sinusoidal_encoding(i, 8), torch.tensor([[1, 2], [9, 0]])),
    "rotary": (
        lambda i: rotary(x, x, i),
        torch.tensor([[1, 2, 3, 4], [1_048_575, 5, 0, 1024]]),
    ),
    "input": (lambda i: both(ids, i), torch.tensor([[1, 2, 3, 4], [8, 5, 0, 1]])),
}


@torch.no_grad()
@pytest.mark.filterwarnings(SLOWLY)
@pytest.mark.parametrize("part", MAPPED)
def test_positions_may_be_mapped(part):
    call, positions = MAPPED[part]
    apart = [call(row) for row in positions]
    together = torch.vmap(call)(positions)
    for row, expected in enumerate(apart):
        found = [each[row] for each in tensors(together)]
        assert_close(found, tensors(expected), **ROUNDED)
