"""What the checks of the library share: when indices are read, and what comes through.

The messages are tested where they are raised.
"""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from embeddings_lib import TokenEmbedding, _guards


class Rows(nn.Module):
    """Three rows, read by whatever `look` does."""

    def __init__(self, look):
        super().__init__()
        self.weight = torch.eye(3)
        self.look = look

    @_guards.explains_indices("rows", reason="there are three", remedy="count them")
    def forward(self, indices):
        return self.look(indices)


def test_an_error_of_another_cause_comes_through_unchanged():
    def broken(indices):
        raise RuntimeError("no memory is left")

    with pytest.raises(RuntimeError, match=r"^no memory is left$"):
        Rows(broken)(torch.tensor([0, 2]))


@pytest.mark.parametrize("late", [False, True])
def test_a_wrong_index_is_explained_before_or_after_the_lookup(late, monkeypatch):
    """Where a wrong index would surface too late, the lookup must not run."""
    monkeypatch.setattr(_guards, "fails_late", lambda indices: late)
    ran = []

    def look(indices):
        ran.append(indices)
        raise IndexError

    with pytest.raises(
        IndexError, match=r"rows must be 0 to 2, because there are three; got 3 at"
    ):
        Rows(look)(torch.tensor([0, 3]))
    assert len(ran) == (not late)


def test_compiled_code_reads_no_index(monkeypatch):
    table = TokenEmbedding(3, 2)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert_close(table(torch.tensor([2, 0])), table.weight[[2, 0]], rtol=0, atol=0)
    with pytest.raises(IndexError, match="index out of range in self"):
        table(torch.tensor([3]))


def test_a_choice_of_one_names_the_one():
    with pytest.raises(ValueError, match=r"^cut must be 'rows'; got 'columns'$"):
        _guards.one_of(["rows"], cut="columns")


@pytest.mark.parametrize("value", [1, 0, -1, float("inf"), float("nan")])
def test_what_is_not_above_the_bound_is_refused(value):
    with pytest.raises(ValueError, match=f"lr must be above 1 and finite; got {value}"):
        _guards.above(1, lr=value)
