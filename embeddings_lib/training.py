"""The one loop that trains every model of the book (chapters 3 and 10)."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def train(
    model: nn.Module,
    batches: Iterable[Tensor | tuple[Tensor, ...]],
    *,
    lr: float = 3e-3,
    decay_steps: int | None = None,
    after_step: Callable[[int], None] | None = None,
) -> list[float]:
    """One step of Adam for each batch; the loss of each, in nats, before its step.

    >>> from embeddings_lib import InputEmbedding, TinyLM, TokenEmbedding
    >>> model = TinyLM(InputEmbedding(TokenEmbedding(5, 8)), layers=1, heads=2)
    >>> text = torch.tensor([[0, 1, 2, 3, 4]])
    >>> losses = train(model, [text] * 50, lr=0.03)
    >>> losses[-1] < losses[0] / 2
    True

    The model says what a batch costs: `model.loss(batch)`, or `model.loss(*batch)` for
    a tuple. With `decay_steps` the rate falls in a straight line from `lr` to 0 in so
    many steps. `after_step(n)` is called when n steps are done.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    if decay_steps:
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, decay_steps)
    history = []
    for step, batch in enumerate(batches, start=1):
        loss = model.loss(*batch) if isinstance(batch, tuple) else model.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
        if decay_steps:
            decay.step()
        if after_step:
            after_step(step)
    return history
