"""Checks call your functions, and say what holds or show what does not."""

import ast
import contextlib
import copy
import inspect
import math
import random

import torch

DTYPES = ["float64", "float32", "bfloat16", "float16"]
DTYPES += ["int64", "int32", "int16", "int8", "uint8", "bool"]
LARGEST = 1 << 20  # rows, columns and so on of a tensor, where one may be 0
MOST_KEYS = 1000


class Wrong(Exception):
    """A sentence for the student about what does not hold."""


class Unwritten(Wrong):
    """There is no answer yet, so no example is worth showing."""


class Draw(random.Random):
    """Random inputs: one seed, check and size give the same on every machine."""

    public = "public"  # what everyone may see is drawn from this seed
    seed_of_course = public

    def integers(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Whole numbers from `low` to `high - 1`, of type int64."""
        numbers = [self.randrange(low, high) for _ in range(math.prod(shape))]
        return torch.tensor(numbers, dtype=torch.int64).reshape(shape)

    def normal(self, *shape: int) -> torch.Tensor:
        """Normal numbers with two decimals, so that a printed example is exact."""
        numbers = [round(self.gauss(0, 1), 2) for _ in range(math.prod(shape))]
        return torch.tensor(numbers, dtype=torch.float32).reshape(shape)


def encode(value):
    """A value as JSON can hold it; TypeError for what checks do not understand."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [encode(each) for each in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(each)] for key, each in value.items()]}
    if isinstance(value, bytes):
        return {"bytes": list(value)}
    dtype = str(getattr(value, "dtype", None)).removeprefix("torch.")
    if isinstance(value, torch.Tensor) and dtype in DTYPES:
        numbers = value.detach().cpu().flatten().tolist()
        return {"tensor": numbers, "shape": list(value.shape), "dtype": dtype}
    raise TypeError(type(value).__name__)


def decode(value):
    """What `encode` was given, with lists for tuples; raises for anything else."""
    if isinstance(value, list):
        return [decode(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        # Keys can be made so that each is compared with all that came before it.
        if len(value["dict"]) > MOST_KEYS:
            raise ValueError("too many keys")
        return {decode(key): decode(each) for key, each in value["dict"]}
    if "bytes" in value:
        return bytes(iter(value["bytes"]))  # a number would mean so many zeros
    numbers, shape, dtype = (value[key] for key in ("tensor", "shape", "dtype"))
    # A shape with a 0 holds no numbers, however long it says that it is.
    size = math.prod(max(1, each) for each in shape)
    if dtype not in DTYPES or len(shape) > 8 or min(shape, default=0) < 0:
        raise ValueError("not a tensor")
    if size > LARGEST:
        raise ValueError("too large")
    return torch.tensor(numbers, dtype=getattr(torch, dtype)).reshape(shape)


def show(value, decimals: int = 3) -> str:
    """A value on one line, with rounded numbers; a long one is cut."""

    def rounded(each):
        if isinstance(each, torch.Tensor):
            each = each.tolist()
        if isinstance(each, list | tuple):
            return [rounded(one) for one in each]
        return round(each, decimals) + 0.0 if isinstance(each, float) else each

    shape = ""
    if isinstance(value, torch.Tensor):
        shape = f"tensor of shape {tuple(value.shape)}: "
    text = repr(rounded(value))
    return shape + (text if len(text) <= 160 else text[:160] + " ...")


def alike(got, want, tolerance: float) -> bool:
    """Whether both have the same kind and shape, and numbers within the tolerance."""
    if isinstance(want, torch.Tensor):
        near = {"rtol": tolerance, "atol": tolerance}
        return got.shape == want.shape and torch.allclose(
            got.double(), want.double(), **near
        )
    if isinstance(got, torch.Tensor) and got.shape == ():
        got = got.item()
    if isinstance(want, int | float) and not isinstance(want, bool):
        if not isinstance(got, int | float) or isinstance(got, bool):
            return False
        if isinstance(want, int) and isinstance(got, int):
            return got == want  # whole numbers are right or wrong
        return math.isclose(got, want, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(want, list | tuple) and isinstance(got, list | tuple):
        return len(got) == len(want) and all(
            alike(one, other, tolerance) for one, other in zip(got, want, strict=True)
        )
    return type(got) is type(want) and got == want


def expect(got, want, tolerance: float = 1e-5, part: str = "") -> None:
    """Go on if `got` is `want`, numbers within the tolerance (relative or absolute);
    `part` says what is compared, where it is not the whole answer.
    """
    if not alike(got, want, tolerance):
        for decimals in (3, 6, 17):
            found, wanted = show(got, decimals), show(want, decimals)
            if found != wanted:
                break
        raise Wrong(f"{part}:\n" * bool(part) + f"got  {found}\nwant {wanted}")


def require(holds, sentence: str) -> None:
    """Go on if the condition holds; `sentence` says what is wrong if it does not."""
    if not holds:
        raise Wrong(sentence)


def loop(name: str, cells) -> str | None:
    """The first line of a loop in a function, or in one that it calls, as these code
    cells have them; where a name is given twice, the later one counts.
    """
    written, waiting = {}, [name]
    for cell in cells:
        with contextlib.suppress(Exception):  # what Python cannot read defines nothing
            for each in ast.parse(cell).body:
                for one in getattr(each, "targets", [each]):  # of `f = ...`, or `def f`
                    written[getattr(one, "id", getattr(one, "name", None))] = each
    while waiting:
        for node in ast.walk(written.pop(waiting.pop(), ast.Pass())):
            match node:
                case ast.For() | ast.While() | ast.comprehension():
                    line = ast.unparse(node).strip().partition("\n")[0]
                    return line.rstrip(":")
                case ast.Call(func=ast.Name(id=called)) if called in ("map", name):
                    return ast.unparse(node)
                case ast.Call(func=ast.Name(id=called)):
                    waiting.append(called)
    return None


def expect_no_loop(function) -> None:
    """Go on if the function, and those that it calls, are written without a loop."""
    if found := function.loop():
        raise Wrong(f"a loop: {found}")


class Check:
    """A property of some functions, tried on inputs of growing size.

    The property is a function of a `Draw`, a size, and then the functions that it
    calls, by their names.
    """

    def __init__(self, holds, points: float, sizes: tuple):
        self.holds, self.points, self.sizes = holds, points, sizes
        self.title = holds.__name__.replace("_", " ")
        self.calls = list(inspect.signature(holds).parameters)[2:]
        self.earned = 0.0

    def failure(self, seed: str, call, cells=()) -> str | None:
        """The smallest counter-example in words.

        `call(name, arguments, after)` answers, or gives the arguments as they are after
        the call. The code cells say how a function is written.
        """
        for size in self.sizes:
            last = []

            def caller(name, last=last):
                def called(*arguments, after=False):
                    last[:] = name, ", ".join(map(show, arguments)), "nothing"
                    answer = call(name, arguments, after)
                    last[2] = show(answer)
                    return answer

                called.loop = lambda: loop(name, cells)
                return called

            try:
                draw = Draw(f"{seed}/{self.title}/{size}")
                self.holds(draw, size, *map(caller, self.calls))
            except Unwritten as unwritten:
                return str(unwritten)
            except Wrong as wrong:
                said = str(wrong)
            except Exception:  # the check could not compute with the answer
                said = "the answer is not of the kind that was asked for"
                said += f"\ngot  {last[2]}" if last else ""
            else:
                continue
            return f"{last[0]}({last[1]})\n{said}" if last else said
        return None


def call_here(namespace: dict):
    """A way to call the functions of a notebook as the grader would."""

    def call(name, arguments, after=False):
        arguments = copy.deepcopy(arguments)
        if name not in namespace:
            raise Unwritten(f"{name} is not defined")
        try:
            answer = namespace[name](*arguments)
        except NotImplementedError:
            raise Unwritten(f"{name} is not written") from None
        except Exception as error:
            raise Wrong(f"{name} raised {type(error).__name__}: {error}") from None
        if answer is None:
            raise Unwritten(f"{name} is not written")
        try:
            return decode(encode(arguments if after else answer))
        except Exception:
            kind = f"{type(answer).__name__} {getattr(answer, 'dtype', '')}".strip()
            raise Wrong(f"{name} returned a {kind}, which no check reads") from None

    return call


def check(points: float, sizes=(1,)):
    """Try the decorated property at once, and print what came out."""

    def decorate(holds):
        this, seed = Check(holds, points, tuple(sizes)), Draw.seed_of_course
        notebook = holds.__globals__
        cells = notebook.get("In", ())  # where IPython keeps what was run
        failure = this.failure(seed, call_here(notebook), cells)
        if failure is None:
            this.earned = points
            print(f"right: {this.title} ({points:g} point{'s' * (points != 1)})")
        elif seed == Draw.public:
            print(f"not yet: {this.title}\n    " + failure.replace("\n", "\n    "))
        else:  # its inputs are the instructor's
            print(f"not yet: {this.title}")
        return this

    return decorate


def score(*checks: Check, of: float | None = None) -> float:
    """The points of these checks, or those `of` the whole question if all hold.

    nbgrader takes the last value of a cell as its grade.
    """
    earned = sum(check.earned for check in checks)
    if of is not None and earned == sum(check.points for check in checks):
        return of
    return earned
