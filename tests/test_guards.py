"""A lookup that explains a wrong index: when it looks, and what it lets through."""

import pytest
import torch
from torch.testing import assert_close

from embeddings_lib._guards import explained, look_up

WORDS = {"what": "rows", "reason": "there are three", "remedy": "count them"}
PLACE = {"rows": 3, "device": torch.device("cpu")}


def test_an_error_of_another_cause_comes_through_unchanged():
    def broken(indices):
        raise RuntimeError("no memory is left")

    with pytest.raises(RuntimeError, match=r"^no memory is left$"):
        explained(broken, torch.tensor([0, 2]), **PLACE, **WORDS)


@pytest.mark.parametrize("silent", [False, True])
def test_a_wrong_index_is_explained_before_or_after_the_lookup(silent):
    """A lookup that refuses no index must not run: it would return something."""
    ran = []

    def look(indices):
        ran.append(indices)
        if not silent:
            raise IndexError
        return torch.zeros(2)

    with pytest.raises(
        IndexError, match=r"rows must be 0 to 2, because there are three"
    ):
        explained(look, torch.tensor([0, 3]), **PLACE, **WORDS, silent=silent)
    assert len(ran) == (not silent)


def test_compiled_code_reads_no_index(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    weight = torch.randn(3, 2)
    found = look_up(torch.tensor([2, 0]), weight, what="rows", remedy="")
    assert_close(found, weight[[2, 0]], rtol=0, atol=0)
    with pytest.raises(IndexError, match="index out of range in self"):
        look_up(torch.tensor([3]), weight, what="rows", remedy="")


def test_a_gradient_is_dense_unless_told():
    weight = torch.randn(3, 2, requires_grad=True)
    for options, sparse in (({}, False), ({"sparse": True}, True)):
        weight.grad = None
        rows = look_up(torch.tensor([1]), weight, what="rows", remedy="", **options)
        rows.sum().backward()
        assert weight.grad.is_sparse == sparse
