"""Measure, print a table, and store the result with the machine's description.

python -m tests.benchmarks                   # everything on the CPU: some minutes
python -m tests.benchmarks --device cuda     # the same on a GPU
python -m tests.benchmarks --parts rotary    # one part; nothing is stored
"""

import argparse
import os
import subprocess
import sys
from importlib.metadata import version

os.environ["KINETO_LOG_LEVEL"] = "99"  # the profiler is silent

import torch
import torch.nn.functional as F
from rotary_embedding_torch import RotaryEmbedding
from transformers import GPT2Config, LlamaConfig
from transformers.models.gpt2.modeling_gpt2 import GPT2Model
from transformers.models.llama import modeling_llama as llama
from x_transformers import x_transformers

from embeddings_lib import (
    InputEmbedding,
    LearnedPositions,
    RotaryPositions,
    SinusoidalPositions,
    TokenEmbedding,
)
from tests.benchmarks import goals, measure
from tests.benchmarks.measure import captured, machine, paired, peak_bytes

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# A GPU's cache holds some 50 MB: the large case there is queries and keys of 1 GB each.
ROTARY_SHAPES = {
    "cpu": [(1, 1, 32, 128), (8, 1024, 12, 64), (1, 4096, 12, 64)],
    "cuda": [(1, 1, 32, 128), (8, 1024, 12, 64), (16, 4096, 32, 128)],
}


def rotary():
    """Queries and keys turned; `clone` copies both. Peers get the layout they want."""
    for shape in ROTARY_SHAPES["cuda" if measure.on_gpu else "cpu"]:
        for dtype in DTYPES:
            yield from rotary_case(shape, dtype, "forward")
    yield from rotary_case((8, 1024, 12, 64), "float32", "forward and backward")
    yield from rotary_case((1, 1024, 8, 64), "float32", "forward")
    yield from rotary_case((1, 32_768, 8, 64), "float32", "forward")


def rotary_case(shape, dtype, what):
    torch.compiler.reset()
    _, seq, heads, dim = shape
    q, k = torch.randn(2, *shape).to(DTYPES[dtype])
    by_heads = [x.transpose(1, 2).contiguous() for x in (q, k)]
    halves, pairs = (RotaryPositions(dim, layout=name) for name in ("halves", "pairs"))
    config = LlamaConfig(hidden_size=heads * dim, num_attention_heads=heads)
    theirs = llama.LlamaRotaryEmbedding(config)
    places = torch.arange(seq)[None]
    cos, sin = theirs(q, places)
    turns = torch.polar(torch.ones(seq, dim // 2), places[0, :, None] * theirs.inv_freq)
    lucid = RotaryEmbedding(dim, cache_max_seq_len=2**16)
    other = x_transformers.RotaryEmbedding(dim)

    def complex_product(x):
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * turns[:, None]).flatten(-2).to(x.dtype)

    def x_transformers_one(x):
        freqs, scale = other(places[0])
        return x_transformers.apply_rotary_pos_emb(x, freqs, scale)

    functions = {
        "clone": lambda q, k: (q.clone(), k.clone()),
        "pairs": pairs,
        "halves": halves,
        "transformers, angles given": lambda q, k: llama.apply_rotary_pos_emb(
            q, k, cos, sin, unsqueeze_dim=2
        ),
        "transformers": lambda q, k: llama.apply_rotary_pos_emb(
            q, k, *theirs(q, places), unsqueeze_dim=2
        ),
        "complex product, angles given": lambda q, k: (
            complex_product(q),
            complex_product(k),
        ),
        "rotary-embedding-torch": lambda q, k: [
            lucid.rotate_queries_or_keys(x) for x in by_heads
        ],
        "x-transformers": lambda q, k: [x_transformers_one(x) for x in by_heads],
    }
    if what == "forward":
        functions["pairs, in place"] = lambda q, k: pairs(q, k, inplace=True)
        if seq > 1:
            functions["halves, compiled"] = torch.compile(halves, fullgraph=True)
            functions["pairs, compiled"] = torch.compile(pairs, fullgraph=True)
        calls = {
            name: torch.no_grad()(lambda f=f: f(q, k)) for name, f in functions.items()
        }
        if q.is_cuda:
            for name in ("pairs", "halves"):
                calls[f"{name}, CUDA graph"] = captured(calls[name])
    else:
        q, k = (x.requires_grad_() for x in (q, k))
        by_heads = [x.requires_grad_() for x in by_heads]
        up = torch.randn_like(q), torch.randn_like(k)
        up_by_heads = [x.transpose(1, 2).contiguous() for x in up]

        def train(function, name):
            peer = name in ("rotary-embedding-torch", "x-transformers")
            inputs, ups = (by_heads, up_by_heads) if peer else ((q, k), up)
            return torch.autograd.grad(function(q, k), inputs, ups)

        calls = {
            name: lambda f=f, name=name: train(f, name) for name, f in functions.items()
        }
    yield from case("rotary", shape, dtype, what, calls)


def sinusoidal():
    """Rows of the encoding, 768 wide; `clone` copies them."""
    for seq in (1, 1024, 32_768):
        positions = SinusoidalPositions(768)

        def usual(seq=seq, positions=positions):
            device = positions.angles.low.device
            rates = 10_000.0 ** (-torch.arange(0, 768, 2, device=device) / 768)
            angles = torch.arange(seq, device=device)[:, None] * rates
            rows = torch.empty(seq, 768, device=device)
            rows[:, 0::2], rows[:, 1::2] = angles.sin(), angles.cos()
            return rows

        rows = usual()
        calls = {
            "clone": rows.clone,
            "looked up": lambda seq=seq, p=positions: p.span(seq),
            "float32 sines": usual,
        }
        yield from case("sinusoidal", (seq, 768), "float32", "forward", calls)


def combined():
    """Token plus position, GPT-2's sizes; `clone` copies the result."""
    for shape in [(1, 1), (8, 1024)]:
        for dtype in DTYPES:
            yield from combined_case(shape, dtype, "forward")
    yield from combined_case((8, 1024), "float32", "forward and backward")


def combined_case(shape, dtype, what):
    ids = torch.randint(0, 50_257, shape)
    ours = InputEmbedding(TokenEmbedding(50_257, 768), LearnedPositions(1024, 768))
    ours = ours.to(DTYPES[dtype]).eval()
    inplace = InputEmbedding(ours.token_table, ours.positions, inplace=True).eval()
    theirs = GPT2Model(GPT2Config(n_layer=0)).to(DTYPES[dtype])
    offset = 0 if shape[1] > 1 else 700
    table = ours.token_table.weight
    places = ours.positions.weight[offset : offset + shape[1]]
    x = ours(ids, offset=offset).detach()

    def gpt2():
        positions = torch.arange(offset, offset + shape[1], device=ids.device)[None]
        return theirs.wte(ids) + theirs.wpe(positions)

    torch.compiler.reset()
    compiled = torch.compile(ours, fullgraph=True)
    functions = {
        "clone": x.clone,
        "ours": lambda: ours(ids, offset=offset),
        "ours, in place": lambda: inplace(ids, offset=offset),
        "transformers": gpt2,
        "ours, compiled": lambda: compiled(ids, offset=offset),
    }
    if what == "forward":
        functions |= {
            "token rows alone": lambda: F.embedding(ids, table),
            "no checks": lambda: F.embedding(ids, table).add_(places),
        }
        calls = {name: torch.no_grad()(f) for name, f in functions.items()}
    else:
        own = list(ours.parameters())
        tables = {name: own for name in functions if name.startswith("ours")}
        tables["transformers"] = [theirs.wte.weight, theirs.wpe.weight]
        calls = {
            name: lambda f=functions[name], w=w: torch.autograd.grad(f(), w, x)
            for name, w in tables.items()
        }
        calls["clone"] = x.clone
    yield from case("combined", shape, dtype, what, calls)


def case(part, shape, dtype, what, calls):
    """Time the calls. A default device would slow down each of them, so it is off."""
    torch.set_default_device(None)
    yield from timed(part, shape, dtype, what, calls)
    torch.set_default_device("cuda" if measure.on_gpu else None)


def timed(part, shape, dtype, what, calls):
    print(f"\n{part}, {'×'.join(map(str, shape))}, {dtype}, {what}")
    copied = peak_bytes(calls["clone"])
    for name, row in paired(calls).items():
        if name != "clone again":
            row["memory"] = round(peak_bytes(calls[name]) / copied, 3)
        print(
            f"  {name:30} {row['ratio']:7.2f} ({row['low']:.2f} to {row['high']:.2f})"
            f"{row['microseconds']:12,.1f} µs   memory {row.get('memory', 1):5.2f}"
        )
        labels = {"part": part, "shape": shape, "dtype": dtype, "what": what}
        yield {**labels, "name": name, **row}


def angles():
    """Largest error of cosine and sine over 1,000 positions, against float64."""
    ours = RotaryPositions(128)
    theirs = llama.LlamaRotaryEmbedding(
        LlamaConfig(hidden_size=128, num_attention_heads=1)
    )
    other = x_transformers.RotaryEmbedding(128)
    lucid = RotaryEmbedding(128)
    for start in (1_000, 10_000, 100_000, 1_047_576):
        places = torch.arange(start, start + 1000)
        exact = places.double()[:, None] * ours.angles.rates
        cos, sin = (x[0, :, :64] for x in theirs(torch.ones(1), places[None]))
        found = {
            "ours": ours.angles(places).view(torch.complex64),
            "transformers": torch.complex(cos, sin),
            "x-transformers": cis(other(places)[0][0, :, ::2]),
            "rotary-embedding-torch": cis(lucid(places.float())[:, ::2].detach()),
        }
        for name, points in found.items():
            error = torch.view_as_real(points - cis(exact)).abs().max().item()
            print(f"  from {start:9,}: {name:24} {error:.1e}")
            yield {"part": "angles", "start": start, "name": name, "error": error}


def cis(angles):
    return torch.polar(torch.ones_like(angles), angles)


def importing():
    """Seconds that `import embeddings_lib` takes where torch has been imported."""
    timing = "s = time.time(); import embeddings_lib; print(time.time() - s)"
    code = f"import time, torch; {timing}"
    runs = [subprocess.check_output([sys.executable, "-c", code]) for _ in range(7)]
    seconds = round(min(map(float, runs)), 3)
    print(f"  {seconds} s beyond torch")
    yield {"part": "importing", "seconds": seconds}


PARTS = [rotary, sinusoidal, combined, angles, importing]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=ROTARY_SHAPES, default="cpu")
    names = [part.__name__ for part in PARTS]
    parser.add_argument("--parts", nargs="+", choices=names)
    wanted = parser.parse_args()
    if wanted.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "--device cuda needs a GPU that PyTorch can use, because times are taken "
            "on it; torch.cuda.is_available() is False: leave --device out"
        )
    if wanted.device == "cuda":
        measure.on_gpu = True
        torch.set_default_device("cuda")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    chosen = [part for part in PARTS if part.__name__ in (wanted.parts or names)]
    rows = [row for part in chosen for row in part()]
    if wanted.parts:
        return  # a part is no result to keep
    packages = ("torch", "transformers", "x-transformers", "rotary-embedding-torch")
    versions = {name: version(name) for name in packages}
    goals.store(wanted.device, machine() | versions, rows)
    print(goals.page())


main()
