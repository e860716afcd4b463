"""Models with one fault each, for readers to find and to repair (chapter 12).

Who wants to find them should not read on.
"""

import copy

from torch import nn

from embeddings_lib import _guards
from embeddings_lib.llama import Llama
from embeddings_lib.rotary_positions import RotaryPositions


def patient(name: str, healthy: Llama) -> Llama:
    """A copy of a model with one fault. It shares the weights that are sound.

    >>> import torch
    >>> from embeddings_lib import ModelShape
    >>> sizes = {"vocab_size": 50, "embed_dim": 16, "layers": 4, "heads": 4}
    >>> shape = ModelShape(**sizes, gated=True, biases="none")
    >>> ill = patient("Ada", Llama(shape, RotaryPositions(head_dim=4)))
    >>> ill(torch.tensor([7, 7, 3])).shape
    torch.Size([3, 50])

    The patients are Ada, Bo and Cy.

    Raises ValueError for another name.
    """
    _guards.one_of(FAULTS, name=name)
    model = copy.deepcopy(healthy, {id(w): w for w in healthy.parameters()})
    FAULTS[name](model)
    return model


def _a_row_too_many(model: Llama) -> None:
    """The head has a new row at its front, and so each score is its neighbour's."""
    rows = model.token_table.weight.detach().roll(1, dims=0)
    model.head = nn.Linear(*reversed(rows.shape), bias=False, device="meta")
    model.head.weight = nn.Parameter(rows)


def _two_blocks_swapped(model: Llama) -> None:
    i = len(model.blocks) // 3 + 1
    model.blocks[i], model.blocks[i + 1] = model.blocks[i + 1], model.blocks[i]


def _another_base(model: Llama) -> None:
    rotary = model.rotary
    model.rotary = RotaryPositions(
        rotary.head_dim, base=rotary.base / 10, layout=rotary.layout
    )


FAULTS = {"Ada": _a_row_too_many, "Bo": _two_blocks_swapped, "Cy": _another_base}
