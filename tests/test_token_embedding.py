import copy
import math
import pickle

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from embeddings_lib import LearnedPositions, TokenEmbedding, _guards

VOCAB, DIM = 11, 4
shapes = st.lists(st.integers(0, 3), min_size=1, max_size=3)
seeds = st.integers(0, 2**31)


def table_and_ids(shape, seed, **options):
    torch.manual_seed(seed)
    table = TokenEmbedding(VOCAB, DIM, dtype=torch.float64, **options)
    return table, torch.randint(VOCAB, tuple(shape))


@given(shapes, seeds)
def test_a_lookup_is_the_product_with_one_hot_rows(shape, seed):
    table, ids = table_and_ids(shape, seed)
    one_hot = F.one_hot(ids, VOCAB).double()
    assert_close(table(ids), one_hot @ table.weight, rtol=0, atol=0)


def test_one_column_is_a_table_too():
    assert TokenEmbedding(3, 1)(torch.tensor([2])).shape == (1, 1)


@given(shapes, seeds)
def test_its_gradient_adds_up_where_a_token_repeats_and_is_zero_elsewhere(shape, seed):
    table, ids = table_and_ids(shape, seed)
    grad_output = torch.randn(*shape, DIM, dtype=torch.float64)
    table(ids).backward(grad_output)
    for row in range(VOCAB):
        assert_close(table.weight.grad[row], grad_output[ids == row].sum(dim=0))


@given(shapes, seeds)
def test_a_sparse_gradient_is_the_dense_one_without_the_zeros(shape, seed):
    dense, ids = table_and_ids(shape, seed)
    sparse, _ = table_and_ids(shape, seed, sparse=True)
    for table in (dense, sparse):
        table(ids).square().sum().backward()
    rows = sparse.weight.grad.coalesce().indices().flatten().tolist()
    assert sorted(set(rows)) == sorted(set(ids.flatten().tolist()))
    assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)


def test_first_and_second_derivatives_are_right():
    table, ids = table_and_ids([2, 3], seed=0)

    def lookup(weight):
        rows = torch.func.functional_call(table, {"weight": weight}, ids)
        return rows.pow(3)

    assert torch.autograd.gradcheck(lookup, table.weight)
    assert torch.autograd.gradgradcheck(lookup, table.weight)


@given(shapes, seeds)
def test_it_is_pytorchs_embedding_with_the_same_weights_both_ways(shape, seed):
    ours, ids = table_and_ids(shape, seed)
    theirs = nn.Embedding(VOCAB, DIM, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    assert_close(ours(ids), theirs(ids), rtol=0, atol=0)
    back = TokenEmbedding(VOCAB, DIM, dtype=torch.float64)
    back.load_state_dict(nn.Embedding(VOCAB, DIM, dtype=torch.float64).state_dict())
    assert list(back.state_dict()) == ["weight"]


@pytest.mark.parametrize("std", [0.02, 1.0])
def test_rows_start_normal_with_the_given_spread(std):
    torch.manual_seed(0)
    weight = TokenEmbedding(2000, 100, std=std).weight.detach().double() / std
    n = weight.numel()
    assert abs(weight.mean()) < 5 / math.sqrt(n)
    assert abs(weight.std() - 1) < 5 / math.sqrt(2 * n)
    assert abs((weight.abs() < 1).double().mean() - 0.6827) < 5 * 0.5 / math.sqrt(n)


def test_the_default_spread_is_gpt2s():
    torch.manual_seed(0)
    assert abs(TokenEmbedding(2000, 100).weight.std() - 0.02) < 0.0005


def test_the_seed_decides_the_table():
    tables = [table_and_ids([1], seed)[0].weight for seed in (3, 3, 4)]
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])


def test_a_spread_of_zero_gives_zeros():
    assert not TokenEmbedding(3, 2, std=0.0).weight.any()


def test_reset_draws_every_row_anew():
    table, _ = table_and_ids([1], seed=0)
    before = table.weight.detach().clone()
    table.reset_parameters()
    assert (table.weight != before).any(dim=1).all()


def test_int32_ids_and_strided_ids_pick_the_same_rows():
    table, ids = table_and_ids([3, 3], seed=0)
    assert_close(table(ids.int()), table(ids), rtol=0, atol=0)
    assert_close(table(ids.T), table(ids).transpose(0, 1), rtol=0, atol=0)


def test_a_table_on_the_meta_device_takes_no_memory_and_knows_its_shapes():
    table = TokenEmbedding(256_000, 12_288, device="meta", dtype=torch.bfloat16)
    assert table.weight.numel() == 3_145_728_000
    assert table(torch.zeros(2, 5, dtype=torch.int64, device="meta")).shape == (
        2,
        5,
        12_288,
    )


def test_a_bfloat16_table_gives_its_own_rows():
    table, ids = table_and_ids([2, 3], seed=0)
    assert_close(table.bfloat16()(ids), table.weight[ids].bfloat16(), rtol=0, atol=0)


def test_copies_and_pickles_hold_the_same_rows():
    table, ids = table_and_ids([2, 3], seed=0)
    for other in (copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        assert_close(other(ids), table(ids), rtol=0, atol=0)
        assert other.weight.data_ptr() != table.weight.data_ptr()


@pytest.mark.usefixtures("as_users_call_it")
def test_compiled_it_is_one_graph_with_the_same_result():
    table, ids = table_and_ids([2, 3], seed=0)
    compiled = torch.compile(table, fullgraph=True, backend="eager")
    assert_close(compiled(ids), table(ids), rtol=0, atol=0)


def test_it_says_what_it_is():
    assert repr(TokenEmbedding(5, 3)) == (
        "TokenEmbedding(vocab_size=5, embed_dim=3, std=0.02)"
    )


def test_shapes_are_checked_while_the_tests_run():
    with pytest.raises(jaxtyping.TypeCheckError):
        LearnedPositions(5, 3).span(seq="2")


@pytest.mark.parametrize("vocab_size", [0, -1])
def test_an_empty_table_is_refused(vocab_size):
    with pytest.raises(
        ValueError, match=f"vocab_size must be at least 1; got {vocab_size}"
    ):
        TokenEmbedding(vocab_size, 3)
    with pytest.raises(
        ValueError, match=f"embed_dim must be at least 1; got {vocab_size}"
    ):
        TokenEmbedding(3, vocab_size)


@pytest.mark.parametrize("std", [-0.1, math.nan])
def test_a_spread_that_is_none_is_refused(std):
    with pytest.raises(ValueError, match="std must be at least 0"):
        TokenEmbedding(3, 3, std=std)


BAD_IDS = [
    ([[1, 2, 3], [4, 11, 6]], r"0 to 10.*has 11 rows; got 11 at index \(1, 1\)"),
    ([3, -1], r"0 to 10.*has 11 rows; got -1 at index \(1,\)"),
    ([2**40, -7], r"got 1099511627776 at index \(0,\)"),
]


@pytest.mark.parametrize(("ids", "message"), BAD_IDS)
@pytest.mark.parametrize(
    "look_first", [False, True], ids=["as on a CPU", "as on a GPU"]
)
def test_an_id_outside_the_table_is_named_with_its_place(
    ids, message, look_first, monkeypatch
):
    monkeypatch.setattr(_guards, "fails_late", lambda indices: look_first)
    with pytest.raises(IndexError, match=message):
        TokenEmbedding(VOCAB, DIM)(torch.tensor(ids))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_says_the_same_and_lives_on():
    table = TokenEmbedding(VOCAB, DIM).cuda()
    for ids, message in BAD_IDS:
        with pytest.raises(IndexError, match=message):
            table(torch.tensor(ids, device="cuda"))
    assert table(torch.tensor([1], device="cuda")).isfinite().all()


@pytest.mark.usefixtures("as_users_call_it")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int16, torch.uint8])
def test_ids_that_are_no_row_numbers_are_refused(dtype):
    with pytest.raises(TypeError, match=rf"int64 or int32; got {dtype}"):
        TokenEmbedding(VOCAB, DIM)(torch.ones(2, dtype=dtype))


@pytest.mark.usefixtures("as_users_call_it")
def test_ids_that_are_no_tensor_are_refused():
    with pytest.raises(TypeError, match=r"must be a tensor.*got list: .*torch\.tensor"):
        TokenEmbedding(VOCAB, DIM)([1, 2])


def test_ids_on_another_device_are_refused():
    ids = torch.ones(2, dtype=torch.int64, device="meta")
    with pytest.raises(
        ValueError, match=r"token IDs on meta and a table on cpu: .*to\('cpu'\)"
    ):
        TokenEmbedding(VOCAB, DIM)(ids)
