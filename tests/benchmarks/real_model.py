"""Open SmolLM2, read 1,024 tokens and write with it, beside transformers.

python -m tests.benchmarks.real_model             # every part
python -m tests.benchmarks.real_model opening     # one part, the others stay

Some ten minutes of one core. The same weights are in both models, in float32. A round
runs each in a new order, and a ratio is taken within its round; "ours again" says how
far a model is from itself.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers

from embeddings_lib import Llama, load_smollm2, to_halves
from embeddings_lib.checkpoints import TRANSFORMERS_NAMES
from embeddings_lib.downloads import fetch
from tests.benchmarks import goals
from tests.benchmarks.measure import seconds, setting

RESULT = goals.RESULTS / "real_model.json"
ROUNDS = 7
# Linux alone says what a process held at most: `ru_maxrss` begins with its parent's.
OPEN = """
import json, re, time
from pathlib import Path
import torch, embeddings_lib, gguf, safetensors.torch

def peak():
    status = Path("/proc/self/status").read_text("ascii")
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])

held, start = peak(), time.perf_counter()
model, _ = embeddings_lib.load_smollm2()
model(torch.tensor([1]))
end = time.perf_counter()
print(json.dumps({"seconds": end - start, "peak megabytes": (peak() - held) / 1000}))
"""


def opening():
    """A process opens the model and reads one token: first from the file of llama.cpp,
    then from what was kept beside it. The imports do not count."""
    weights = load_smollm2()[0].shape.bytes() / 1e6
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(fetch("smollm2"), folder)
            for name in ("first", "second"):
                found = json.loads(
                    subprocess.run(
                        [sys.executable, "-c", OPEN],
                        env=os.environ | {"EMBEDDINGS_LIB_CACHE": folder},
                        capture_output=True,
                        check=True,
                    ).stdout
                )
                found["of the weights"] = found["peak megabytes"] / weights
                yield {
                    "name": name,
                    **{what: round(value, 3) for what, value in found.items()},
                }


def theirs(model: Llama) -> transformers.LlamaForCausalLM:
    """The same model in transformers, with the same weights."""
    shape = model.shape
    config = transformers.LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.embed_dim,
        intermediate_size=shape.mlp_dim,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        rms_norm_eps=model.norm.eps,
        rope_parameters={"rope_type": "default", "rope_theta": model.rotary.base},
        tie_word_embeddings=True,
        eos_token_id=None,
        pad_token_id=0,
    )
    weights = {}
    for name, weight in model.state_dict().items():
        parts = name.split(".")
        turns = parts[-2] in ("q", "k")
        name = ".".join(TRANSFORMERS_NAMES.get(part, part) for part in parts)
        weights[name] = to_halves(weight, model.rotary.head_dim) if turns else weight
    found = transformers.LlamaForCausalLM(config).eval()
    found.load_state_dict(weights, assign=True)
    return found


def prefill():
    """Scores for each of 1,024 tokens."""
    model, _ = load_smollm2()
    reference, token_ids = theirs(model), a_text(1024)
    with torch.no_grad():
        off = (model(token_ids) - reference(token_ids).logits).abs().max().item()
        assert off < 1e-2, off
        yield from paired(
            {
                "ours": lambda: model(token_ids),
                "ours again": lambda: model(token_ids),
                "transformers": lambda: reference(token_ids),
            }
        )


def decoding():
    """64 tokens after a prompt of 128, each the likeliest."""
    model, _ = load_smollm2()
    reference, prompt = theirs(model), a_text(128)

    def written():
        return reference.generate(
            prompt, max_new_tokens=64, min_new_tokens=64, do_sample=False
        )[:, prompt.shape[1] :]

    assert torch.equal(model.generate(prompt, 64), written())
    yield from paired(
        {
            "ours": lambda: model.generate(prompt, 64),
            "ours again": lambda: model.generate(prompt, 64),
            "transformers": written,
        }
    )


def a_text(length: int) -> torch.Tensor:
    """The first tokens of this file, again and again."""
    _, encoding = load_smollm2()
    ids = encoding.encode(Path(__file__).read_text(encoding="utf-8"))
    return torch.tensor([(ids * (length // len(ids) + 1))[:length]])


def paired(functions: dict):
    """Time of each over that of "ours", by the rounds; the first round warms up."""
    times = {name: [] for name in functions}
    for _ in range(ROUNDS + 1):
        for name in random.sample(list(functions), len(functions)):
            times[name].append(seconds(functions[name], 1))
    for name, found in times.items():
        ratios = [a / b for a, b in zip(found[1:], times["ours"][1:], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        yield {
            "name": name,
            "seconds": round(statistics.median(found[1:]), 3),
            "of ours": round(median, 3),
            "low": round(low, 3),
            "high": round(high, 3),
        }


PARTS = {"opening": opening, "prefill": prefill, "decoding": decoding}


def main():
    torch.set_num_threads(1)
    machine = setting("real_model", ("torch", "transformers"), rounds=ROUNDS)
    goals.keep_parts(RESULT, machine, PARTS)


if __name__ == "__main__":
    main()
