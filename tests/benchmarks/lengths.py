"""Train each scheme of positions at one length, score it up to eight times that length.

python -m tests.benchmarks.lengths

This is the larger run of chapter 13. It takes about 40 minutes of one core, and goes on
where an earlier call was stopped. Delete the stored results to run it anew.
"""

import itertools

import torch

from embeddings_lib.experiments.schemes import SCHEMES, VARIANTS, model_with
from embeddings_lib.experiments.texts import MarkovText, repeated_blocks
from embeddings_lib.training import train
from tests.benchmarks import goals
from tests.benchmarks.measure import setting

RESULTS = goals.RESULTS / "lengths.json"
LENGTH, REACH, BIN = 32, 8, 8
SETTINGS = {
    "length": LENGTH,
    "reach": REACH,
    "bin": BIN,
    "embed_dim": 64,
    "heads": 4,
    "batch": 16,
    "lr": 2e-3,
    "seeds": [0, 1, 2],
    "markov": {"letters": 12, "steps": 1500},
    "copying": {"letters": 4 * LENGTH, "shortest": 4, "steps": 4000},
}
HELD_OUT = 64  # texts to score


def generator(seed):
    return torch.Generator().manual_seed(seed)


def model_for(scheme, task, seed):
    sizes = {name: SETTINGS[name] for name in ("embed_dim", "heads")}
    letters = SETTINGS[task]["letters"]
    return model_with(scheme, vocab_size=letters, length=LENGTH, seed=seed, **sizes)


def learn(model, task, seed):
    """Train on texts of LENGTH letters and the one that follows."""
    task = SETTINGS[task] | {"draws": generator(1000 + seed)}
    train(model, (batch(task) for _ in range(task["steps"])), lr=SETTINGS["lr"])


def batch(task, length=LENGTH, texts=SETTINGS["batch"]):
    if "shortest" not in task:
        return MARKOV.sample(texts, length + 1, task["draws"])
    sizes = (task["shortest"], length // 2 + 1)
    blocks = torch.randint(*sizes, (texts,), generator=task["draws"])
    return repeated_blocks(
        blocks, length + 1, letters=task["letters"], generator=task["draws"]
    )


MARKOV = MarkovText(SETTINGS["markov"]["letters"])


@torch.no_grad()
def scores(model, task, reach):
    """Mean loss beyond the best possible, in nats: by bins of positions, by blocks."""
    seq = reach * LENGTH
    if task == "markov":
        ids = MARKOV.sample(HELD_OUT, seq + 1, generator(99))
        losses = model.losses(ids)[:, 1:] - MARKOV.losses(ids)
        losses = torch.cat([losses[:, :1], losses], dim=1)  # position 0 is a guess
        return {"by_position": binned(losses)}
    sizes = range(LENGTH // 4, seq // 2 + 1, LENGTH // 4)
    return {
        "by_position": binned(copying(model, LENGTH // 2, seq + 1)),
        "by_block": {block: second_time(model, block) for block in sizes},
    }


@torch.no_grad()
def copying(model, block, seq):
    """The losses of texts that repeat blocks of one size."""
    blocks = torch.full((HELD_OUT,), block)
    letters = SETTINGS["copying"]["letters"]
    ids = repeated_blocks(blocks, seq, letters=letters, generator=generator(99))
    return model.losses(ids)


def second_time(model, block):
    """The mean loss over the second time that a block is written."""
    return round(copying(model, block, 2 * block)[:, block:].mean().item(), 4)


def binned(losses):
    bins = losses.mean(dim=0).unflatten(0, (-1, BIN)).mean(dim=1)
    return [round(loss, 4) for loss in bins.tolist()]


def main():
    torch.set_num_threads(1)
    result = goals.resumed(RESULTS, setting("lengths", ("torch",)), SETTINGS)
    done = {(run["task"], run["scheme"], run["seed"]) for run in result["runs"]}
    schemes = SCHEMES + VARIANTS
    for which in itertools.product(("markov", "copying"), schemes, SETTINGS["seeds"]):
        if which in done:
            continue
        task, scheme, seed = which
        model = model_for(scheme, task, seed)
        learn(model, task, seed)
        found = scores(model, task, reach=1 if scheme == "learned" else REACH)
        result["runs"].append({"task": task, "scheme": scheme, "seed": seed, **found})
        goals.keep(RESULTS, result)
        at_length, at_end = (found["by_position"][i] for i in (LENGTH // BIN - 1, -1))
        print(f"{task:8} {scheme:18} {seed} {at_length:6.2f} {at_end:6.2f}")


if __name__ == "__main__":
    main()
