"""Who stands near whom, counted, and a table made from the counts (chapter 3)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from embeddings_lib import _guards


def neighbour_pairs(
    token_ids: Int[Tensor, "sentences seq"], *, window: int
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Every word with every other word at most `window` places away in its sentence.

    >>> neighbour_pairs(torch.tensor([[7, 8, 9]]), window=1)
    (tensor([7, 8, 8, 9]), tensor([8, 9, 7, 8]))

    The first tensor holds the words and the second their contexts; each pair occurs in
    both directions. `window` is in tokens.

    Raises ValueError for a window below 1.
    """
    _guards.at_least(1, window=window)
    distances = range(1, min(window, token_ids.shape[1] - 1) + 1)
    left = [token_ids[:, :-by].flatten() for by in distances]
    right = [token_ids[:, by:].flatten() for by in distances]
    if not left:  # sentences of one word
        return token_ids.new_empty(0), token_ids.new_empty(0)
    return torch.cat(left + right), torch.cat(right + left)


def cooccurrences(
    token_ids: Int[Tensor, "sentences seq"], vocab_size: int, *, window: int
) -> Int[Tensor, "vocab_size vocab_size"]:
    """How often each word (row) stands near each context (column).

    >>> cooccurrences(torch.tensor([[0, 1, 2], [0, 1, 1]]), 3, window=2)
    tensor([[0, 3, 1],
            [3, 2, 1],
            [1, 1, 0]])

    Raises ValueError for a window below 1, and IndexError for an ID outside 0 to
    vocab_size - 1.
    """
    _guards.known_ids(token_ids, vocab_size, token_ids.device)
    words, contexts = neighbour_pairs(token_ids, window=window)
    cells = torch.bincount(words * vocab_size + contexts, minlength=vocab_size**2)
    return cells.view(vocab_size, vocab_size)


def positive_pmi(
    counts: Int[Tensor, "words contexts"],
) -> Float[Tensor, "words contexts"]:
    """How much more often each pair occurs than by chance, in natural logarithms.

    >>> positive_pmi(torch.tensor([[2, 0], [1, 1]]))
    tensor([[0.2877, 0.0000],
            [0.0000, 0.6931]], dtype=torch.float64)

    Equation: max(0, ln(n_wc n / (n_w n_c))), where n_w and n_c are the sums of row w
    and column c and n is the sum of all. A pair that never occurs, or a word that never
    does, gets 0.

    Raises ValueError for a negative count, or if there is no pair at all.

    Source: Levy and Goldberg 2014, section 3.3.
    """
    _guards.counts(counts)
    n = counts.double()
    by_chance = n.sum(dim=1, keepdim=True) * n.sum(dim=0) / n.sum()
    ratio = torch.where(n > 0, n / by_chance, 1.0)
    return ratio.log().clamp(min=0)


def svd_table(
    matrix: Float[Tensor, "words contexts"], embed_dim: int
) -> Float[Tensor, "words embed_dim"]:
    """A row of `embed_dim` numbers for each row of `matrix`, by its largest directions.

    >>> svd_table(torch.diag(torch.tensor([4.0, 9.0, 1.0])), embed_dim=2)
    tensor([[0., 2.],
            [3., 0.],
            [0., 0.]])

    Equation: with the singular value decomposition matrix = U S Vᵀ, the table is the
    first columns of U √S. No other table of that width, times a matrix of contexts,
    comes nearer to `matrix` in the sum of squares. The sign of a column is free, and is
    set so that its largest number in size is positive.

    Raises ValueError for an embed_dim below 1 or above the smaller side of `matrix`.

    Source: Levy and Goldberg 2014, section 4.2.
    """
    _guards.directions(embed_dim, matrix)
    u, s, _ = torch.linalg.svd(matrix, full_matrices=False)
    table = u[:, :embed_dim] * s[:embed_dim].sqrt()
    largest = table.gather(0, table.abs().argmax(dim=0, keepdim=True))
    return table * torch.where(largest < 0, -1.0, 1.0).to(table.dtype)
