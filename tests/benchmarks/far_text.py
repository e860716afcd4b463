"""Let SmolLM2 read beyond the length of its training: is far text still of use?

python -m tests.benchmarks.far_text

This is the run on a real model of chapter 13. Texts of 12,288 tokens are read once by
each scaling of the rates, without any training. At several lengths the model is
asked for what stood early, and what was asked is forgotten again: the digits of pass
keys, and the end of passages whose beginning is repeated. It takes more than an
hour of one core, and goes on where an earlier call was stopped. Delete the stored
results to run it anew.
"""

import random
import re
import statistics
from functools import partial
from hashlib import sha256

import torch
import torch.nn.functional as F
from torch import Tensor

from embeddings_lib import Llama, RotaryPositions, load_smollm2
from embeddings_lib.rotary_scaling import (
    linear,
    llama3,
    ntk,
    yarn,
    yarn_attention_factor,
)
from embeddings_lib.token_embedding import next_token_losses
from tests import notebooks
from tests.benchmarks import goals
from tests.benchmarks.measure import setting

RESULTS = goals.RESULTS / "far_text.json"
TRAINED, LENGTH, STEP = 8192, 12 * 1024, 1024
TEXTS = 3
PLACES = ("harbour", "library", "bakery", "museum")
PASSAGES = (384, 896)  # where they begin in the text
ASKED = (*range(2 * STEP, TRAINED, 2 * STEP), *range(TRAINED, LENGTH + 1, STEP))
CUE, PASSAGE = 16, 64  # tokens: a passage repeats its cue, and goes on from there
ORIGINAL = {"original_length": TRAINED}
SCHEMES = {"plain": {}} | {
    f"{name} {factor}": {"scaling": partial(rule, factor=float(factor), **more)}
    for factor in (2, 4)
    for name, rule, more in (
        ("PI", linear, {}),
        ("NTK", ntk, {}),
        ("YaRN", yarn, ORIGINAL),
        ("Llama 3", llama3, ORIGINAL),
    )
}
for factor in (2, 4):
    SCHEMES[f"YaRN {factor}"]["attention_factor"] = yarn_attention_factor(float(factor))


def prose() -> str:
    """What the chapters say, without code, formulas and marks: new to the model."""
    cells = [
        cell.source
        for path in notebooks.CHAPTERS
        for cell in notebooks.read(path).cells
        if cell.cell_type == "markdown"
    ]
    text = "\n\n".join(cells)
    text = re.sub(r"```.*?```|\$\$.*?\$\$|<[^>]*>", "", text, flags=re.DOTALL)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("|")]
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[*`$#]", "", "\n".join(lines)))


SETTINGS = {
    "trained": TRAINED,
    "length": LENGTH,
    "texts": TEXTS,
    "places": list(PLACES),
    "passages": list(PASSAGES),
    "asked": list(ASKED),
    "cue": CUE,
    "passage": PASSAGE,
}


def digits(text: int, place: str) -> str:
    return str(random.Random(f"{text} {place}").randrange(10_000, 100_000))


def text_with_keys(text: str, number: int, encoding) -> list[int]:
    """Tokens of a part of the text, with a key after every 200 of the first."""
    tokens = encoding.encode(text, disallowed_special=())
    start = number * len(tokens) // TEXTS
    tokens = tokens[start:]
    ids = []
    for i, place in enumerate(PLACES):
        key = f"\nThe pass key of the {place} is {digits(number, place)}.\n"
        ids += tokens[200 * i : 200 * (i + 1)] + encoding.encode(key)
    return (ids + tokens[200 * len(PLACES) :])[:LENGTH]


@torch.no_grad()
def continued(model: Llama, ids: list[int], cache: list) -> tuple[Tensor, list[int]]:
    """After the text of a cache: the loss of each token but the first, in nats, and the
    likeliest one in its place. The cache stays as it is."""
    ids = torch.tensor(ids)
    scores = model(ids, cache=list(cache))[:-1]
    return next_token_losses(scores, ids), scores.argmax(dim=-1).tolist()


@torch.no_grad()
def read(model: Llama, encoding, number: int, ids: list[int]) -> dict:
    """What each thousand tokens cost, and what is then known of the early text."""
    cache = []
    hidden = model.hidden(torch.tensor(ids), cache=cache)
    nexts = torch.tensor(ids[1:]).split(STEP)
    costs = [
        F.cross_entropy(model.scores(x), y).item()
        for x, y in zip(hidden[:-1].split(STEP), nexts, strict=True)
    ]
    del hidden
    passages = [ids[start : start + PASSAGE] for start in PASSAGES]
    asked = []
    for seq in ASKED:
        past = [(k[:seq], v[:seq]) for k, v in cache]
        row = {"after": seq, "keys": [], "passages": []}
        for place in PLACES:
            question = encoding.encode(f"\nThe pass key of the {place} is ")
            key = encoding.encode(digits(number, place))
            loss, likeliest = continued(model, question + key, past)
            wrong = sum(a != b for a, b in zip(likeliest[-5:], key, strict=True))
            cost = round(loss[-5:].mean().item(), 3)
            row["keys"].append({"loss": cost, "wrong digits": wrong})
        for passage in passages:
            loss, _ = continued(model, passage, past)
            row["passages"].append(round(loss[CUE - 1 :].mean().item(), 3))
        asked.append(row)
    return {"loss": [round(cost, 3) for cost in costs], "asked": asked}


def main():
    torch.set_num_threads(1)
    model, encoding = load_smollm2()
    text, trained = prose(), model.rotary
    settings = SETTINGS | {"prose": sha256(text.encode()).hexdigest()}
    result = goals.resumed(RESULTS, setting("far_text", ("torch",)), settings)
    done = {(run["text"], run["scheme"]) for run in result["runs"]}
    for number in range(TEXTS):
        for scheme, options in SCHEMES.items():
            if (number, scheme) in done:
                continue
            model.rotary = RotaryPositions(
                trained.head_dim, base=trained.base, layout=trained.layout, **options
            )
            ids = text_with_keys(text, number, encoding)
            found = read(model, encoding, number, ids)
            result["runs"].append({"text": number, "scheme": scheme, **found})
            goals.keep(RESULTS, result)
            at_end = found["asked"][-1]
            keys = statistics.mean(key["loss"] for key in at_end["keys"])
            passages = statistics.mean(at_end["passages"])
            loss = found["loss"][-1]
            print(f"{number} {scheme:10} {loss:6.2f} {keys:6.2f} {passages:6.2f}")


if __name__ == "__main__":
    main()
