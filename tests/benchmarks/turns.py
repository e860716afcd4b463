"""What breaks a rotation beyond the length of training, and who finds what is far?

python -m tests.benchmarks.turns             # both parts
python -m tests.benchmarks.turns keys        # one part, the other stays

Further runs of chapter 13, on the text of two letters, in some ten minutes of one core.
"""

from functools import partial

import torch
import torch.nn.functional as F

from embeddings_lib import RotaryPositions
from embeddings_lib.experiments.schemes import model_with
from embeddings_lib.experiments.texts import with_keys
from embeddings_lib.rotary_scaling import proportional
from embeddings_lib.training import train
from tests.benchmarks import goals
from tests.benchmarks.lengths import (
    LENGTH,
    MARKOV,
    REACH,
    SETTINGS,
    generator,
    learn,
    model_for,
    scores,
)
from tests.benchmarks.measure import setting

RESULTS = goals.RESULTS / "turns.json"
HEAD_DIM = SETTINGS["embed_dim"] // SETTINGS["heads"]
LETTERS = SETTINGS["markov"]["letters"]
SCHEMES = ("none", "RoPE", "ALiBi", "T5")
KEYS, STEPS, LR = 8, 400, 4e-3
HELD_OUT = 128  # texts with a key


def without_third(rates):
    """The pair that makes half a turn within the length of training stands still."""
    return torch.where(torch.arange(len(rates)) == 2, 0.0, rates)


ROTATIONS = {
    "quarter, base 100": RotaryPositions(HEAD_DIM, base=100.0, rotary_dim=4),
    "quarter, base 400": RotaryPositions(HEAD_DIM, base=400.0, rotary_dim=4),
    "whole turns only": RotaryPositions(
        HEAD_DIM, scaling=partial(proportional, share=0.25)
    ),
    "all but the third pair": RotaryPositions(HEAD_DIM, scaling=without_third),
}


def rotations():
    """Rotations with and without pairs of which training shows a part of a turn, with
    the settings of `lengths`."""
    for seed in SETTINGS["seeds"]:
        for name, rotary in ROTATIONS.items():
            model = model_for("RoPE", "markov", seed)
            model.rotary = rotary
            learn(model, "markov", seed)
            yield {"scheme": name, "seed": seed, **scores(model, "markov", REACH)}


def texts(number, seq, draws, far=False):
    ids = MARKOV.sample(number, seq + 1, draws)
    return with_keys(ids, draws, letters=LETTERS, keys=KEYS, far=far)


def keys():
    """Texts with a key: the small models of the chapter, with each scheme."""
    for seed in SETTINGS["seeds"]:
        for scheme in SCHEMES:
            sizes = {"vocab_size": LETTERS + KEYS + 1, "length": LENGTH, "heads": 2}
            model = model_with(scheme, seed=seed, **sizes)
            draws = generator(seed)
            batches = (texts(16, LENGTH, draws) for _ in range(STEPS))
            train(model, batches, lr=LR)
            found = {seq: answers(model, seq) for seq in (32, 64, 128, 256)}
            by_position = scores(model, "markov", REACH)["by_position"]
            yield {
                "scheme": scheme,
                "seed": seed,
                "keys": found,
                "by_position": by_position,
            }


@torch.no_grad()
def answers(model, seq):
    """The loss and the share of right answers where the key stands first."""
    ids = texts(HELD_OUT, seq, generator(99), far=True)
    said = model(ids[:, :-1])[:, -1]
    right = (said.argmax(dim=-1) == ids[:, -1]).float().mean().item()
    loss = F.cross_entropy(said, ids[:, -1]).item()
    return {"loss": round(loss, 3), "right": round(right, 3)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    parts = {"rotations": rotations, "keys": keys}
    goals.keep_parts(RESULTS, setting("turns", ("torch",)), parts)
