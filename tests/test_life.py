"""The life of a module: however it was made, moved, copied or filled, it is the same.

Each event of a module's life is tried on each public module. Afterwards it must give
what a new module with the same weights gives, and the same gradients, and what was tied
must still be tied.
"""

import copy
import io
import pickle

import pytest
import torch
from torch.nn.parallel import replicate
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

from embeddings_lib import (
    InputEmbedding,
    LearnedPositions,
    Llama,
    ModelShape,
    RotaryPositions,
    SinusoidalPositions,
    SkipGram,
    T5Bias,
    TinyLM,
    TokenEmbedding,
    sinusoidal_encoding,
)
from embeddings_lib.exact_angles import ExactAngles, wave_rates
from embeddings_lib.language_model import Block
from embeddings_lib.llama import LlamaBlock
from embeddings_lib.sharding import run_on_ranks, shard

VOCAB, CONTEXT, DIM = 11, 9, 8
IDS = torch.tensor([[7, 0, 10, 7], [3, 3, 1, 0]])
PLACES = torch.tensor([3, 1, 0, 8])
FAR = torch.tensor([3, 1023, 1024, 1_048_575])
X = torch.linspace(-1, 1, 64).view(2, 4, 1, 8)


def shape(tied=True):
    sizes = {"vocab_size": VOCAB, "embed_dim": DIM, "layers": 2, "heads": 2}
    return ModelShape(**sizes, kv_heads=1, tied=tied, gated=True, biases="none")


def inputs(positions=None, **options):
    return InputEmbedding(TokenEmbedding(VOCAB, DIM), positions, **options)


MODULES = {
    "TokenEmbedding": (lambda: TokenEmbedding(VOCAB, DIM), (IDS,)),
    "sparse TokenEmbedding": (
        lambda: TokenEmbedding(VOCAB, DIM, sparse=True),
        (IDS,),
    ),
    "LearnedPositions": (lambda: LearnedPositions(CONTEXT, DIM), (PLACES,)),
    "SinusoidalPositions": (lambda: SinusoidalPositions(DIM), (FAR,)),
    "ExactAngles": (lambda: ExactAngles(wave_rates(8), start=1.5, radius=1.25), (FAR,)),
    "RotaryPositions": (lambda: RotaryPositions(8), (X, X, FAR)),
    "RotaryPositions, pairs": (
        lambda: RotaryPositions(8, layout="pairs", rotary_dim=4),
        (X, X, FAR),
    ),
    "InputEmbedding": (inputs, (IDS,)),
    "InputEmbedding, learned": (
        lambda: inputs(LearnedPositions(CONTEXT, DIM), scale=2.0),
        (IDS,),
    ),
    "InputEmbedding, sinusoidal": (lambda: inputs(SinusoidalPositions(DIM)), (IDS,)),
    "InputEmbedding, in place": (
        lambda: inputs(LearnedPositions(CONTEXT, DIM), inplace=True),
        (IDS,),
    ),
    "T5Bias": (lambda: T5Bias(2, buckets=8, max_distance=16), (3, 5)),
    "SkipGram": (lambda: SkipGram(VOCAB, DIM), (IDS[0], IDS.T)),
    "Block": (lambda: Block(DIM, 2), (X[..., 0, :],)),
    "LlamaBlock": (lambda: LlamaBlock(shape()), (X[..., 0, :],)),
    "TinyLM, learned": (lambda: TinyLM(inputs(LearnedPositions(CONTEXT, DIM))), (IDS,)),
    "TinyLM, sinusoidal": (lambda: TinyLM(inputs(SinusoidalPositions(DIM))), (IDS,)),
    "TinyLM, rotary": (
        lambda: TinyLM(inputs(), rotary=RotaryPositions(2)),
        (IDS,),
    ),
    "TinyLM, T5": (lambda: TinyLM(inputs(), bias=T5Bias(4)), (IDS,)),
    "TinyLM, untied": (lambda: TinyLM(inputs(), tied=False), (IDS,)),
    "Llama": (lambda: Llama(shape(), RotaryPositions(4)), (IDS,)),
    "Llama, untied": (
        lambda: Llama(shape(tied=False), RotaryPositions(4)),
        (IDS,),
    ),
}


def fresh(name):
    """A new module, the same each time: no weight is 0, so that none is overlooked."""
    torch.manual_seed(0)
    module = MODULES[name][0]()
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_()
    return module


def tensors(outputs):
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for output in outputs for tensor in tensors(output)]


def seen(module, name):
    """All that a module gives: what it computes, and the gradient of each weight."""
    module.zero_grad()
    outputs = tensors(module(*MODULES[name][1]))
    if any(True for _ in module.parameters()):
        sum((x * x).sum() for x in outputs).backward()
    gradients = {key: weight.grad for key, weight in module.named_parameters()}
    return [x.detach() for x in outputs], gradients


# Each event gets a module and its weights, and gives a module with these weights.


def emptied(module, weights):
    module = module.to_empty(device="cpu")
    module.load_state_dict(weights)
    return module


def on_meta(name):
    with torch.device("meta"):
        return MODULES[name][0]()


def reloaded(module, weights):
    module.load_state_dict(weights)
    return module


def assigned(module, weights):
    module.load_state_dict(copy.deepcopy(weights), assign=True)
    return module


def saved(module, _):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def run_in_inference_mode(name):
    module = fresh(name)
    with torch.inference_mode():
        module(*MODULES[name][1])
    return module


def moved_in_inference_mode(name):
    module = fresh(name)
    with torch.inference_mode():
        return module.to("meta")


def built_as_16_bits(name):
    torch.set_default_dtype(torch.bfloat16)
    try:
        return fresh(name)
    finally:
        torch.set_default_dtype(torch.float32)


EVENTS = {
    "made on meta, then emptied": lambda name, w: emptied(on_meta(name), w),
    "made on meta, then assigned": lambda name, w: assigned(on_meta(name), w),
    "emptied": lambda name, w: emptied(fresh(name), w),
    "loaded": lambda name, w: reloaded(fresh(name), w),
    "assigned": lambda name, w: assigned(fresh(name), w),
    "moved to meta and back": lambda name, w: emptied(fresh(name).to("meta"), w),
    "moved to meta and assigned": lambda name, w: assigned(fresh(name).to("meta"), w),
    "float16 and back": lambda name, w: reloaded(fresh(name).half().float(), w),
    "bfloat16 and back": lambda name, w: reloaded(
        fresh(name).to(torch.bfloat16).to(torch.float32), w
    ),
    "float64 and back": lambda name, _: fresh(name).double().float(),
    "moved to where it is": lambda name, _: fresh(name).to("cpu").cpu(),
    "in shared memory": lambda name, _: fresh(name).share_memory(),
    "deep copy": lambda name, _: copy.deepcopy(fresh(name)),
    "pickle": lambda name, _: pickle.loads(pickle.dumps(fresh(name))),
    "saved whole": lambda name, w: saved(fresh(name), w),
    "run in inference mode": lambda name, _: run_in_inference_mode(name),
    "moved in inference mode": lambda name, w: assigned(
        moved_in_inference_mode(name), w
    ),
    "16 bits by default": lambda name, w: reloaded(built_as_16_bits(name).float(), w),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("event", EVENTS)
def test_whatever_happens_it_is_as_a_new_module(event, name):
    new = fresh(name)
    module = EVENTS[event](name, copy.deepcopy(new.state_dict()))
    assert_close(seen(module, name), seen(new, name), rtol=0, atol=0)


@pytest.mark.parametrize("name", MODULES)
def test_each_part_that_was_emptied_can_be_drawn_anew(name):
    """As FSDP2's guide does it: each module that holds weights resets its own."""
    module = on_meta(name).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.fill_(torch.nan)
    for part in module.modules():
        if any(True for _ in [*part.parameters(False), *part.buffers(False)]):
            part.reset_parameters()
    for key, weight in module.named_parameters():
        assert weight.isfinite().all(), key
    assert all(x.isfinite().all() for x in tensors(module(*MODULES[name][1])))


@pytest.mark.parametrize("name", MODULES)
def test_mixed_precision_computes_nearly_the_same(name):
    new = fresh(name)
    outputs, gradients = seen(new, name)
    with torch.autocast("cpu", torch.bfloat16):
        found, rounded = seen(fresh(name), name)
    for x, y in zip(found, outputs, strict=True):
        assert_close(x.float(), y, rtol=0, atol=2**-3 * y.abs().max().item())
    assert rounded.keys() == gradients.keys()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_replica_takes_its_weights_and_tables_along(name, device, monkeypatch):
    """`DataParallel` needs GPUs. Here the copies that it spreads go elsewhere."""

    def copies(tensors, devices, detach=False):
        return [[x.to(to, copy=True) for x in tensors] for to in devices]

    steps = replicate.__globals__  # of its file, whose name PyTorch gave to it
    monkeypatch.setitem(steps, "_broadcast_coalesced_reshape", copies)
    monkeypatch.setitem(steps, "_get_device_index", lambda device, _: device)
    module, arguments = fresh(name), MODULES[name][1]
    (replica,) = replicate(module, [device])
    there = [x.to(device) if isinstance(x, torch.Tensor) else x for x in arguments]
    found, expected = tensors(replica(*there)), tensors(module(*arguments))
    assert all(x.device.type == device for x in found)
    if device == "cpu":
        assert_close(found, expected, rtol=0, atol=0)


def drawn_anew(mesh):
    """The pieces of a table made on "meta", and of one emptied and drawn anew."""
    torch.manual_seed(0)
    table = shard(TokenEmbedding(VOCAB, DIM, std=1.0, device="meta"), mesh)
    first = table.piece().detach().clone()
    table.to_empty(device="cpu").reset_parameters()
    return first, table.piece().detach()


def test_a_table_in_pieces_is_drawn_anew_as_it_was():
    pieces = run_on_ranks(drawn_anew, 2)
    for first, again in pieces:
        assert_close(again, first, rtol=0, atol=0)
        assert 0.5 < first.std() < 1.5
    assert not torch.equal(pieces[0][1][:5], pieces[1][1][:5])


class NoFloat64(TorchFunctionMode):
    """A device without float64, as Apple's GPUs: "meta" stands for it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        wide = (torch.float64, torch.complex128)
        for tensor in [result, *args]:
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                assert tensor.dtype not in wide, f"{function} makes {tensor.dtype}"
        return result


@pytest.mark.parametrize("name", MODULES)
def test_a_device_without_float64_is_enough(name):
    arguments = MODULES[name][1]
    there = [x.to("meta") if isinstance(x, torch.Tensor) else x for x in arguments]
    with NoFloat64():
        with torch.device("meta"):
            made = MODULES[name][0]()
        for module in made, MODULES[name][0]().to("meta"):
            for x in tensors(module(*there)):
                assert x.is_meta
        with torch.device("cpu"):
            made.to_empty(device="cpu").to("meta")


@pytest.mark.parametrize("positions", [PLACES, PLACES.float()])
def test_sinusoids_need_no_float64_on_the_device_of_the_positions(positions):
    with NoFloat64(), pytest.raises(NotImplementedError, match="meta"):
        sinusoidal_encoding(positions.to("meta"), DIM)  # computed on the CPU


def spread(mesh):
    """Each module as FSDP2 and DDP spread it: what one rank sees."""
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    found = {}
    for name in MODULES:
        if "sparse" in name:
            continue  # PyTorch's distributed tensors have no sparse gradients
        module = fresh(name)
        outputs, gradients = seen(fully_shard(module, mesh=mesh), name)
        gradients = {key: grad.full_tensor() for key, grad in gradients.items()}
        found[name] = {"FSDP2": (outputs, gradients)}
        if gradients:
            module = DistributedDataParallel(fresh(name))
            outputs, gradients = seen(module, name)
            gradients = {k.removeprefix("module."): g for k, g in gradients.items()}
            found[name]["DDP"] = outputs, gradients
    return found


@pytest.fixture(scope="module")
def spread_out():
    return run_on_ranks(spread, 2)


def test_spread_over_ranks_it_is_as_alone(spread_out):
    for rank in spread_out:
        for name, ways in rank.items():
            for way, found in ways.items():
                assert_close(found, seen(fresh(name), name), msg=f"{name}, {way}")
