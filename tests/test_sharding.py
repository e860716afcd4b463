"""Tables in pieces: as one process has it, 1/N on each rank, and never a hang."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    RowwiseParallel,
    loss_parallel,
    parallelize_module,
)
from torch.testing import assert_close

from embeddings_lib import InputEmbedding, LearnedPositions, TinyLM, TokenEmbedding
from embeddings_lib.sharding import (
    RowShardedEmbedding,
    Traffic,
    bytes_sent,
    demo,
    run_on_ranks,
    shard,
)
from embeddings_lib.sharding.sharded_embedding import CUTS

VOCAB, DIM = 11, 8  # neither 2 nor 4 ranks divide the rows
IDS = torch.tensor([[0, 10, 3, 3, 7], [5, 2, 9, 0, 8]])

by_cut = pytest.mark.parametrize("cut", CUTS)


def language_model():
    """A small one with large rows, so that its losses differ much."""
    torch.manual_seed(0)
    table = TokenEmbedding(VOCAB, DIM, std=1.0)
    inputs = InputEmbedding(table, LearnedPositions(16, DIM), scale=2.0)
    return TinyLM(inputs, layers=1, heads=2)


def cut_losses(model, ids):
    """The losses of a `TinyLM` whose table is in pieces."""
    x = model.inputs(ids[:, :-1])
    for block in model.blocks:
        x = block(x)
    return model.inputs.token_table.losses(model.norm(x), ids[:, 1:])


def step(parameters, losses):
    """One step of Adam, and what it left: gradients and weights, whole."""
    # With its own eps, Adam would blow up the rounding of gradients that are zero.
    optimizer = torch.optim.Adam(parameters.values(), lr=0.1, eps=1e-3)
    losses.mean().backward()
    grads = {name: whole(p.grad) for name, p in parameters.items()}
    optimizer.step()
    return grads, {name: whole(p) for name, p in parameters.items()}, optimizer


def whole(tensor):
    return getattr(tensor, "full_tensor", lambda: tensor)().detach().clone()


def storage(tensor):
    """The bytes that lie in memory for a tensor, whatever part of them it shows."""
    return tensor.to_local().untyped_storage().nbytes()


def train_on_ranks(mesh):
    """For each cut: what one rank sees of one step."""
    found = {}
    for cut in CUTS:
        model = language_model()
        model.head = None  # the table is the head
        shard(model.inputs, mesh, cut=cut)
        table = model.inputs.token_table
        losses = cut_losses(model, IDS)
        grads, weights, optimizer = step(dict(model.named_parameters()), losses)
        moments = optimizer.state[table.weight]
        kept = (
            table.weight,
            table.weight.grad,
            moments["exp_avg"],
            moments["exp_avg_sq"],
        )
        found[cut] = {
            "rows": model.inputs(IDS).detach(),
            "losses": losses.detach(),
            "grads": grads,
            "weights": weights,
            "bytes": [storage(tensor) for tensor in kept],
        }
    return found


@pytest.fixture(scope="module", params=[1, 2, 4], ids="{} ranks".format)
def reports(request):
    return run_on_ranks(train_on_ranks, request.param)


@pytest.fixture(scope="module")
def alone():
    """The same step in one process, with the whole table."""
    model = language_model()
    losses = model.losses(IDS)
    grads, weights, _ = step(dict(model.named_parameters()), losses)
    rows = model.inputs(IDS).detach()
    return {"losses": losses.detach(), "grads": grads, "weights": weights, "rows": rows}


@by_cut
def test_a_step_on_ranks_is_the_step_of_one_process(reports, alone, cut):
    for report in reports:
        for name in ("losses", "grads", "weights", "rows"):
            assert_close(report[cut][name], alone[name], rtol=1e-4, atol=1e-5)


@by_cut
def test_each_rank_holds_its_part_of_weights_gradient_and_moments(reports, cut):
    size = (VOCAB, DIM)[CUTS[cut].side]
    line = 4 * VOCAB * DIM // size  # the bytes of one row, or of one column
    most = -(-size // len(reports))
    for rank, report in enumerate(reports):
        part = min(most, size - rank * most)
        weight, *others = report[cut]["bytes"]
        assert others == [line * part] * 3
        assert line * part <= weight <= line * most  # it came in equal parcels


def compare_with_pytorch(mesh):
    """Our lookup and loss beside those that PyTorch has ready."""
    ranks = mesh.size()
    generator = torch.Generator().manual_seed(1)
    for vocab_size in range(ranks, 3 * ranks):
        if (ranks - 1) * -(-vocab_size // ranks) >= vocab_size:
            continue  # a rank would have no row
        table = TokenEmbedding(vocab_size, 4)
        table.weight.data = torch.randn(vocab_size, 4, generator=generator)
        ours = RowShardedEmbedding(table, mesh)
        theirs = nn.Embedding(vocab_size, 4, _weight=table.weight.detach())
        parallelize_module(theirs, mesh, RowwiseParallel(input_layouts=None))
        ids = torch.arange(vocab_size)
        assert_close(ours(ids), table.weight[ids], rtol=0, atol=0)
        hidden = torch.randn(vocab_size, 4, generator=generator)
        hidden *= 1000  # exp of such scores is infinite
        scores = distribute_tensor((hidden @ table.weight.T).detach(), mesh, [Shard(1)])
        with loss_parallel():
            expected = F.cross_entropy(scores, ids, reduction="none").full_tensor()
        assert_close(ours.losses(hidden, ids), expected, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("ranks", [2, 4])
def test_any_vocabulary_agrees_with_pytorchs_own_parallel_modules(ranks):
    run_on_ranks(compare_with_pytorch, ranks)


def draw_pieces(mesh):
    torch.manual_seed(5)
    again = []
    for cut in CUTS:
        table = TokenEmbedding(40, 24, std=0.5, device="meta")
        pieces = shard(table, mesh, cut=cut)
        again.append((whole(pieces.weight), storage(pieces.weight)))
    return again


def test_a_table_can_be_drawn_in_pieces_and_is_never_whole():
    reports = run_on_ranks(draw_pieces, 4)
    for cut, layer in CUTS.items():
        (weight, size), *others = [report[layer.side] for report in reports]
        assert size == 40 * 24 * 4 / 4
        assert weight.std().item() == pytest.approx(0.5, rel=0.1)
        pieces = weight.chunk(4, dim=layer.side)
        assert all(not torch.equal(pieces[0], piece) for piece in pieces[1:]), cut
        assert all(torch.equal(weight, other) for other, _ in others)


def train_copies(mesh):
    """Two copies of two pieces; each copy reads half of the batch."""
    grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("copy", "table"))
    mine = IDS[grid.get_local_rank("copy"), :4]
    found = []
    for cut in CUTS:
        torch.manual_seed(0)
        table = shard(TokenEmbedding(VOCAB, DIM, std=1.0), grid, cut=cut)
        losses = table.losses(table(mine), mine.flip(-1))
        with Traffic() as traffic:
            (losses.mean() / 2).backward()
        optimizer = torch.optim.Adam(table.parameters())
        optimizer.step()
        grad = table.weight.grad
        found.append((whole(grad), whole(table.weight), storage(grad), traffic.given))
    drawn = shard(TokenEmbedding(VOCAB, DIM, device="meta"), grid)
    return found, drawn.weight.to_local()


def test_copies_of_the_pieces_add_up_their_gradients_once():
    torch.manual_seed(0)
    table = TokenEmbedding(VOCAB, DIM, std=1.0)
    ids = IDS[:, :4]
    scores = table(ids) @ table.weight.T
    F.cross_entropy(scores.flatten(0, 1), ids.flip(-1).flatten()).backward()
    torch.optim.Adam(table.parameters()).step()
    reports = run_on_ranks(train_copies, 4)
    for found, _ in reports:
        for grad, weight, size, given in found:
            assert_close(grad, table.weight.grad, rtol=1e-5, atol=1e-6)
            assert_close(weight, table.weight.detach(), rtol=1e-4, atol=1e-5)
            assert [name for name, given in given if given == size] == ["all_reduce"]
    first, second, *copies = [drawn for _, drawn in reports]
    assert_close([first, second], copies, rtol=0, atol=0)


def trained(mesh, cut, steps=2):
    torch.manual_seed(0)
    table = shard(TokenEmbedding(VOCAB, DIM, std=1.0), mesh, cut=cut)
    optimizer = torch.optim.Adam(table.parameters(), lr=0.1)
    train(table, optimizer, steps)
    return table, optimizer


def train(table, optimizer, steps):
    for _ in range(steps):
        table.losses(table(IDS), IDS.flip(-1)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def states(table, optimizer):
    weights, moments = get_state_dict(table, optimizer)
    return {"weights": weights, "moments": moments}


def save(folder, cut):
    def program(mesh):
        table, optimizer = trained(mesh, cut)
        dcp.save(states(table, optimizer), checkpoint_id=folder)
        train(table, optimizer, steps=1)
        return whole(table.weight)

    return program


def load(folder, cut):
    def program(mesh):
        torch.manual_seed(mesh.size())
        table = shard(TokenEmbedding(VOCAB, DIM, device="meta"), mesh, cut=cut)
        optimizer = torch.optim.Adam(table.parameters(), lr=0.1)
        loaded = states(table, optimizer)
        dcp.load(loaded, checkpoint_id=folder)
        set_state_dict(
            table,
            optimizer,
            model_state_dict=loaded["weights"],
            optim_state_dict=loaded["moments"],
        )
        train(table, optimizer, steps=1)
        return whole(table.weight)

    return program


@by_cut
def test_training_goes_on_from_a_checkpoint_on_fewer_ranks_and_other_cuts(
    tmp_path, cut
):
    expected, *_ = run_on_ranks(save(str(tmp_path), cut), 4)
    for ranks in (2, 1):
        for other in CUTS:
            weight, *_ = run_on_ranks(load(str(tmp_path), other), ranks)
            assert_close(weight, expected, rtol=1e-4, atol=1e-5)


def count_traffic(mesh):
    table = shard(TokenEmbedding(600, 256), mesh)
    ids = torch.arange(2048) % 600
    table(ids)  # the ranks have met
    written = bytes_written()
    with Traffic() as traffic:
        table(ids)
    return traffic.given, traffic.total_sent(mesh.size()), bytes_written() - written


def bytes_written():
    """What this process has written to files and sockets, as Linux counts it."""
    counts = Path("/proc/self/io").read_text("utf-8")
    return int(re.search(r"wchar: (\d+)", counts).group(1))


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux counts them")
def test_the_bytes_counted_are_those_that_the_system_counts():
    for given, counted, written in run_on_ranks(count_traffic, 4):
        assert given == [("all_reduce", 2048 * 256 * 4)]
        assert counted == 2048 * 256 * 4 * 1.5
        assert written == pytest.approx(counted, rel=0.05)


def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather():
    for ranks in (1, 2, 3, 8):
        parts = bytes_sent("reduce_scatter_tensor", 240, ranks)
        parts += bytes_sent("all_gather_into_tensor", 240 // ranks, ranks)
        assert bytes_sent("all_reduce", 240, ranks) == pytest.approx(parts)
    with pytest.raises(
        ValueError, match=r"collective must be 'all_reduce', .* got 'gossip'"
    ):
        bytes_sent("gossip", 240, 2)


def test_the_demonstration_says_what_the_formulas_say():
    tokens, columns, scores = 128, 64, 1000
    for ranks in (1, 2, 4):
        share = (ranks - 1) / ranks
        rows, by_columns = run_on_ranks(demo, ranks)[0]
        assert rows["held"] == by_columns["held"] == 1000 * 64 * 4 / ranks
        assert rows["lookup"] == rows["back"] == 2 * share * tokens * columns * 4
        assert rows["head"] == 2 * share * 3 * tokens * 4
        assert by_columns["lookup"] == share * tokens * columns * 4
        assert by_columns["head"] == 2 * share * tokens * scores * 4
        assert rows["apart"] < 1e-6 > by_columns["apart"]


def wrong_indices(mesh):
    """The message of each wrong call, from every rank."""
    messages = []
    for cut in CUTS:
        layer = shard(InputEmbedding(TokenEmbedding(VOCAB, DIM)), mesh, cut=cut)
        table = layer.token_table
        x = layer(IDS)
        for wrong in (
            lambda layer=layer: layer(torch.tensor([[0, 1], [VOCAB, 2]])),
            lambda layer=layer: layer(torch.tensor([[-1]])),
            lambda layer=layer: layer(torch.tensor([[0.5]])),
            lambda table=table, x=x: table.losses(x, IDS + 1),
        ):
            with pytest.raises((IndexError, TypeError)) as error:
                wrong()
            messages.append(f"{error.type.__name__}: {error.value}")
        assert_close(layer(IDS.int()), x)  # and nothing is lost
        assert_close(table.losses(x, IDS.int()), table.losses(x, IDS))
    return messages


def test_an_id_outside_the_table_is_an_error_on_every_rank():
    expected = [
        r"IndexError: token IDs must be 0 to 10, .* got 11 at index \(1, 0\)",
        r"IndexError: token IDs must be 0 to 10, .* got -1 at index \(0, 0\)",
        r"TypeError: token IDs must be int64 or int32; got torch.float32",
        r"IndexError: targets must be 0 to 10, .* got 11 at index \(0, 1\)",
    ]
    for messages in run_on_ranks(wrong_indices, 2):
        for message, pattern in zip(messages, expected * 2, strict=True):
            assert re.match(pattern, message), message


def half_precision(mesh):
    """A vocabulary so large that sums in 16 bits would stand still."""
    torch.manual_seed(0)
    table = TokenEmbedding(4000, DIM, dtype=torch.bfloat16)
    table.weight.requires_grad_(False)
    found = []
    for cut in CUTS:
        pieces = shard(table, mesh, cut=cut)
        x = pieces(IDS)
        found.append((pieces.weight.requires_grad, x.dtype, pieces.losses(x, IDS)))
    return found


def test_losses_of_16_bit_tables_are_summed_in_32_bits():
    torch.manual_seed(0)
    rows = TokenEmbedding(4000, DIM, dtype=torch.bfloat16).weight.detach().double()
    scores = (rows[IDS] @ rows.T).flatten(0, 1)
    expected = F.cross_entropy(scores, IDS.flatten(), reduction="none").view_as(IDS)
    for found in run_on_ranks(half_precision, 2):
        for trains, dtype, losses in found:
            assert not trains, "a frozen table stays frozen"
            assert dtype == torch.bfloat16
            assert_close(losses, expected.float(), rtol=1e-5, atol=1e-4)


def wrong_tables(mesh):
    messages = []
    with pytest.raises(ValueError, match=r"a mesh .* must have names, .* \(2, 2\)"):
        shard(TokenEmbedding(VOCAB, DIM), init_device_mesh("cpu", (2, 2)))
    for table, cut in (
        (TokenEmbedding(VOCAB, DIM), "diagonal"),
        (TokenEmbedding(VOCAB, DIM, sparse=True), "rows"),
        (TokenEmbedding(VOCAB, 3), "columns"),
        (TokenEmbedding(5, DIM), "rows"),  # two, two, one, none
    ):
        with pytest.raises(ValueError, match="must") as error:
            shard(table, mesh, cut=cut)
        messages.append(str(error.value))
    return messages


def test_a_table_that_cannot_be_cut_is_an_error_on_every_rank():
    expected = [
        "cut must be 'rows' or 'columns'; got 'diagonal'",
        "a table in pieces must have sparse=False",
        "each rank must get at least one of the columns, .* got 3 columns for 4 ranks",
        "each rank must get at least one of the rows, .* got 5 rows for 4 ranks",
    ]
    for messages in run_on_ranks(wrong_tables, 4):
        for message, pattern in zip(messages, expected, strict=True):
            assert re.match(pattern, message), message


def test_torchrun_runs_the_demonstration():
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    options = ["--nproc-per-node", "2", "-m", "embeddings_lib.sharding", "--demo"]
    result = subprocess.run(
        command + options, capture_output=True, text=True, timeout=600, check=True
    )
    assert [line.split() for line in result.stdout.splitlines()[:3]] == [
        ["cut", "ranks", "held", "lookup", "head", "back"],
        ["rows", "2", "128,000", "32,768", "1,536", "32,768"],
        ["columns", "2", "128,000", "16,384", "512,000", "16,384"],
    ]
