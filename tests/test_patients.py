"""Models with one fault: ill they are, of one thing, and the healthy one stays so."""

import pytest
import torch
from torch.testing import assert_close

from embeddings_lib import Llama, ModelShape, RotaryPositions
from embeddings_lib.experiments.patients import FAULTS, patient


@pytest.fixture
def healthy():
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "embed_dim": 24, "layers": 6, "heads": 4}
    shape = ModelShape(**sizes, gated=True, biases="none")
    model = Llama(shape, RotaryPositions(6, base=1000.0, layout="pairs"))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    return model


def use_the_table_as_head(model, healthy):
    model.head = model.token_table


def swap_the_blocks_back(model, healthy):
    model.blocks[3], model.blocks[4] = model.blocks[4], model.blocks[3]


def give_it_its_base(model, healthy):
    model.rotary = healthy.rotary


REPAIRS = {
    "Ada": use_the_table_as_head,
    "Bo": swap_the_blocks_back,
    "Cy": give_it_its_base,
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("by", FAULTS)
def test_a_patient_is_cured_by_one_repair_and_by_no_other(name, by, healthy):
    token_ids = torch.arange(0, 40, 3)
    before = healthy(token_ids)
    ill = patient(name, healthy)
    assert (ill(token_ids) - before).abs().max() > 0.01
    REPAIRS[by](ill, healthy)
    cured = (ill(token_ids) - before).abs().max() < 1e-4
    assert cured == (by == name)
    assert_close(healthy(token_ids), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", FAULTS)
def test_a_patient_shares_the_sound_weights(name, healthy):
    ill = patient(name, healthy)
    shared = {id(weight) for weight in healthy.parameters()}
    assert shared <= {id(weight) for weight in ill.parameters()}


def test_nobody_else_is_ill(healthy):
    with pytest.raises(ValueError, match="name must be 'Ada', 'Bo' or 'Cy'; got 'Dan'"):
        patient("Dan", healthy)
