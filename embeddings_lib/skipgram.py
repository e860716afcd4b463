"""A table from the company that words keep: counted, or learned (chapter 3)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from embeddings_lib.token_table import TokenEmbedding


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
    if window < 1:
        raise ValueError(
            "window must be at least 1, because the nearest neighbour of a word is one "
            f"place away; got {window}"
        )
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

    Raises as `neighbour_pairs` does, and IndexError for an ID outside 0 to
    vocab_size - 1.
    """
    if token_ids.numel() and not 0 <= token_ids.min() <= token_ids.max() < vocab_size:
        raise IndexError(
            f"token IDs must be 0 to {vocab_size - 1}, because vocab_size is "
            f"{vocab_size}; got {token_ids.min()} to {token_ids.max()}: was the text "
            "encoded with another vocabulary?"
        )
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
    if (counts < 0).any() or counts.sum() == 0:
        raise ValueError(
            "counts must be 0 or more, and not all 0, because they count pairs; got "
            f"{(counts < 0).sum()} below 0, and a sum of {counts.sum()}"
        )
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
    most = min(matrix.shape)
    if not 1 <= embed_dim <= most:
        raise ValueError(
            f"embed_dim must be 1 to {most}, because a matrix of shape "
            f"{tuple(matrix.shape)} has {most} directions; got {embed_dim}"
        )
    u, s, _ = torch.linalg.svd(matrix, full_matrices=False)
    table = u[:, :embed_dim] * s[:embed_dim].sqrt()
    largest = table.gather(0, table.abs().argmax(dim=0, keepdim=True))
    return table * torch.where(largest < 0, -1.0, 1.0).to(table.dtype)


class SkipGram(nn.Module):
    """Two tables, of words and of contexts, whose products tell true pairs from false.

    >>> model = SkipGram(vocab_size=6, embed_dim=4)
    >>> model(torch.tensor([0, 1]), torch.tensor([[2, 3, 4], [5, 0, 1]])).shape
    torch.Size([2, 3])

    Equation: score(w, c) = words[w] · contexts[c], and the loss of a pair is
    −ln σ(score(w, c)) − Σ ln σ(−score(w, c′)) over its negatives c′, where
    σ(x) = 1 / (1 + e^(−x)). The table to keep is `words`.

    Raises as `TokenEmbedding` does.

    Source: Mikolov et al. 2013, equation 4.
    """

    def __init__(self, vocab_size: int, embed_dim: int, *, std: float = 0.1):
        super().__init__()
        self.words = TokenEmbedding(vocab_size, embed_dim, std=std)
        self.contexts = TokenEmbedding(vocab_size, embed_dim, std=std)

    def forward(
        self, word_ids: Int[Tensor, " pairs"], context_ids: Int[Tensor, "pairs m"]
    ) -> Float[Tensor, "pairs m"]:
        """The score of each word with its m contexts."""
        rows, columns = self.words(word_ids), self.contexts(context_ids)
        return (rows[:, None] * columns).sum(dim=-1)

    def loss(
        self,
        word_ids: Int[Tensor, " pairs"],
        context_ids: Int[Tensor, " pairs"],
        negative_ids: Int[Tensor, "pairs negatives"],
    ) -> Float[Tensor, ""]:
        """The mean over the pairs: near 0 if all scores tell true from false."""
        true = self(word_ids, context_ids[:, None])
        false = self(word_ids, negative_ids)
        return -(F.logsigmoid(true).sum() + F.logsigmoid(-false).sum()) / len(word_ids)


def train_skipgram(
    model: SkipGram,
    token_ids: Int[Tensor, "sentences seq"],
    *,
    window: int,
    steps: int = 1000,
    batch_size: int = 1024,
    negatives: int = 5,
    lr: float = 0.02,
    generator: torch.Generator,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Fit the model to the pairs of a text, by Adam with a rate that falls to 0.

    >>> generator = torch.Generator().manual_seed(0)
    >>> model = SkipGram(vocab_size=4, embed_dim=8)
    >>> text = torch.tensor([[0, 1], [2, 3]] * 50)  # 0 beside 1, and 2 beside 3
    >>> options = {"window": 1, "steps": 200, "negatives": 1, "generator": generator}
    >>> train_skipgram(model, text, **options)
    >>> scores = model(torch.tensor([0]), torch.tensor([[1, 3]]))[0]
    >>> (scores[0] > 0 > scores[1]).item()
    True

    Each step draws `batch_size` pairs, and for each pair `negatives` contexts of other
    pairs, all at random. `after_step(n)` is called when n steps are done.

    Raises as `neighbour_pairs` does, and ValueError if steps, batch_size, negatives or
    lr is not above 0, or if the text has no pair.

    Source: Mikolov et al. 2013, section 2.2. They draw a negative with a probability
    proportional to its count to the power 3/4; here the power is 1, as in Levy and
    Goldberg 2014.
    """
    for name, value in (
        ("steps", steps),
        ("batch_size", batch_size),
        ("negatives", negatives),
        ("lr", lr),
    ):
        if not value > 0:
            raise ValueError(
                f"{name} must be above 0, because nothing is learned without; got "
                f"{value}"
            )
    words, contexts = neighbour_pairs(token_ids, window=window)
    if len(words) == 0:
        raise ValueError(
            "the text must have sentences of at least two words, because a pair needs "
            f"two; got token IDs of shape {tuple(token_ids.shape)}"
        )

    def draw(*shape: int) -> Int[Tensor, "..."]:
        return torch.randint(len(words), shape, generator=generator)

    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for step in range(1, steps + 1):
        pair = draw(batch_size)
        others = contexts[draw(batch_size, negatives)]
        optimizer.zero_grad()
        model.loss(words[pair], contexts[pair], others).backward()
        optimizer.step()
        schedule.step()
        if after_step:
            after_step(step)
