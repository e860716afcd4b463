import itertools
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from embeddings_lib.experiments.schemes import SCHEMES, VARIANTS, model_with
from embeddings_lib.experiments.texts import MarkovText, repeated_blocks, with_keys
from embeddings_lib.training import train
from tests.benchmarks import lengths, turns

sizes = {"vocab_size": 12, "length": 16}
every_scheme = pytest.mark.parametrize("scheme", SCHEMES + VARIANTS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@every_scheme
def test_everything_but_the_positions_is_equal(scheme):
    plain = model_with("none", **sizes, seed=3)
    model = model_with(scheme, **sizes, seed=3)
    extra = {"learned": {"inputs.positions.weight"}, "T5": {"bias.weight"}}
    names = {name for name, _ in model.named_parameters()}
    assert names - {name for name, _ in plain.named_parameters()} == extra.get(
        scheme, set()
    )
    assert torch.equal(model.inputs.token_table.weight, plain.inputs.token_table.weight)


def test_a_model_is_what_its_docstring_says():
    model = model_with("T5", **sizes, seed=0)
    assert (model.bias.buckets, model.bias.max_distance) == (8, 16)
    model = model_with("learned", vocab_size=600, length=600, seed=0)
    assert model.head.weight is not model.inputs.token_table.weight
    for part in (model.inputs.token_table, model.inputs.positions):
        assert part.weight.std().item() == pytest.approx(32**-0.5, rel=0.05)


@every_scheme
def test_a_model_reads_eight_times_its_length_but_for_the_learned_table(scheme):
    model = model_with(scheme, **sizes, seed=0)
    ids = torch.randint(12, (1, 128), generator=generator())
    if scheme == "learned":
        with pytest.raises(IndexError, match="context_length is 16"):
            model(ids)
    else:
        assert model(ids).isfinite().all()


@pytest.mark.parametrize("scheme", ["RoPE", "RoPE, quarter", "ALiBi", "T5"])
def test_a_later_start_changes_nothing_where_only_distances_count(scheme):
    """With the keys of the first tokens hidden, a text is read as if it began later."""
    model = model_with(scheme, **sizes, seed=0)
    if scheme == "T5":
        torch.nn.init.normal_(model.bias.weight)
    ids = torch.randint(12, (1, 20), generator=generator())
    given_bias = model.bias

    def hide_the_first(seq_q, seq_k):
        bias = torch.zeros(4, seq_q, seq_k)
        if given_bias is not None:
            bias = bias + given_bias(seq_q, seq_k)
        bias[:, 5:, :5] = -torch.inf
        return bias

    alone = model(ids[:, 5:])
    del model.bias
    model.bias = hide_the_first
    assert_close(model(ids)[:, 5:], alone, atol=1e-4, rtol=0)


def test_the_second_layer_of_the_variant_has_no_positions():
    model = model_with("RoPE, layer 1", **sizes, seed=0)
    x = torch.randn(1, 6, 32, generator=generator())
    first, second = model.blocks
    assert_close(second(x, model.rotary), second(x))
    assert not torch.allclose(first(x, model.rotary), first(x), atol=1e-4)


def test_a_quarter_of_each_head_turns():
    assert model_with("RoPE, quarter", **sizes, seed=0).rotary.rotary_dim == 2
    assert model_with("RoPE", **sizes, seed=0).rotary.rotary_dim == 8
    wide = model_with("RoPE, quarter", **sizes, seed=0, embed_dim=64)
    assert wide.rotary.rotary_dim == 4


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match=r"must be 'none', .*'ALiBi'.*got 'rope'"):
        model_with("rope", **sizes, seed=0)


def test_the_surprise_is_that_of_the_chances():
    text = MarkovText(letters=3, seed=1)
    assert_close(text.chances.sum(dim=-1), torch.ones(3, 3))
    ids = torch.tensor([[0, 2, 1, 1]])
    expected = [text.chances[0, 2, 1], text.chances[2, 1, 1]]
    assert_close(text.losses(ids)[0], -torch.stack(expected).log())


def test_letters_follow_with_their_chances():
    text = MarkovText(letters=4, seed=1)
    ids = text.sample(200, 1000, generator())
    triples = (ids[:, :-2] * 4 + ids[:, 1:-1]) * 4 + ids[:, 2:]
    counts = torch.bincount(triples.flatten(), minlength=64).reshape(4, 4, 4)
    shares = counts / counts.sum(dim=-1, keepdim=True)
    seen = counts.sum(dim=-1)
    spread = (text.chances * (1 - text.chances) / seen[..., None]).sqrt()
    assert ((shares - text.chances).abs() < 5 * spread + 1e-3).all()


def test_a_text_starts_with_two_random_letters():
    ids = MarkovText(letters=3).sample(9000, 3, generator())
    counts = torch.bincount(ids[:, 0] * 3 + ids[:, 1], minlength=9)
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all()


def test_a_seed_stands_for_the_same_chances_always():
    """Stored runs name their texts by the seed. A sixth power makes them uneven."""
    uniform = torch.tensor([0.496257, 0.768222, 0.088477])  # PyTorch's first, seed 0
    expected = uniform**6 / (uniform**6).sum()
    assert_close(MarkovText(letters=3).chances[0, 0], expected, rtol=1e-4, atol=0)


def test_no_model_beats_the_surprises():
    text = MarkovText(letters=4)
    model = model_with("T5", vocab_size=4, length=16, seed=0)
    draws = generator(1)
    train(model, (text.sample(16, 17, draws) for _ in range(100)))
    ids = text.sample(500, 17, generator(2))
    with torch.no_grad():
        excess = (model.losses(ids)[:, 1:] - text.losses(ids)).mean()
    assert 0 < excess < 0.5


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(1, 20))
def test_a_block_has_no_letter_twice_and_comes_again(blocks, seq):
    ids = repeated_blocks(
        torch.tensor(blocks), seq, letters=7, generator=generator(seq)
    )
    for row, block in zip(ids, blocks, strict=True):
        assert row[:block].unique().numel() == min(block, seq)
        assert torch.equal(row[block:], row[: max(seq - block, 0)])


@given(st.integers(4, 30), st.booleans(), st.integers(0, 99))
def test_a_key_is_asked_for_once_after_it_was_hidden(seq, far, seed):
    text = torch.randint(5, (6, seq), generator=generator(seed))
    ids = with_keys(text, generator(seed), letters=5, keys=3, far=far)
    assert (ids != text).sum(dim=1).tolist() == [3] * 6
    for row in ids:
        [asked] = (row == 8).nonzero().flatten().tolist()
        (hidden,) = ((row >= 5) & (row < 8)).nonzero().flatten()[:-1].tolist()
        assert hidden + 1 < asked
        assert row[asked + 1] == row[hidden]
        if far:
            assert (hidden, asked) == (0, seq - 2)


def test_the_stored_run_is_complete_and_has_the_settings_of_its_script():
    stored = json.loads(lengths.RESULTS.read_text("utf-8"))
    assert stored["settings"] == lengths.SETTINGS
    done = [(run["task"], run["scheme"], run["seed"]) for run in stored["runs"]]
    seeds = lengths.SETTINGS["seeds"]
    assert done == list(
        itertools.product(("markov", "copying"), SCHEMES + VARIANTS, seeds)
    )


def test_the_further_runs_are_those_of_their_script():
    stored = json.loads(turns.RESULTS.read_text("utf-8"))
    for part, names in (("rotations", turns.ROTATIONS), ("keys", turns.SCHEMES)):
        done = [(row["seed"], row["scheme"]) for row in stored[part]["rows"]]
        planned = list(itertools.product(lengths.SETTINGS["seeds"], names))
        assert done == planned


def test_a_text_has_twelve_letters_unless_told_and_no_other():
    text = MarkovText()
    assert text.chances.shape == (12, 12, 12)
    text.chances /= 2  # as if rounding had left a gap, here of one half
    assert text.sample(4, 50, generator()).max() == 11
