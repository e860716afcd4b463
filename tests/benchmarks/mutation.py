"""How much the tests notice: small changes of the library, and which of them pass.

python -m tests.benchmarks.mutation                     # every module: hours
python -m tests.benchmarks.mutation training            # some modules
python -m tests.benchmarks.mutation --sample 40         # 40 changes of each, at random
python -m tests.benchmarks.mutation --survivors         # those that passed the last run

A change swaps + and -, < and <=, a number and its neighbour, and the like. The tests
and examples of its module run first, and if they pass, all other tests that name
something of the module. A change that all of them pass is a survivor: a test is
missing, or the change is none. What was found for a module is kept as soon as it is
complete. `--survivors` is for a library that is as it was, with tests that are not.
"""

import argparse
import contextlib
import difflib
import functools
import importlib
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tests import mutants
from tests.benchmarks.goals import RESULTS, keep

ROOT = mutants.ROOT
PACKAGE = ROOT / "embeddings_lib"
# What a slip of the hand would do. The rest of cosmic-ray's operators make nonsense.
SLIPS = {
    *("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Div", "Div_FloorDiv"),
    *("Mod_FloorDiv", "Pow_Mul", "BitAnd_BitOr", "BitOr_BitAnd"),
    *("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Lt_Gt", "Gt_Lt", "LtE_GtE", "GtE_LtE"),
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
    *("Delete_Not", "Delete_USub", "Delete_Invert"),
}
NEVER = ("VariableInserter", "VariableReplacer", "RemoveDecorator")
# As they are imported from the package. The ranks of `sharding` import the library
# anew; `notebook` is tested by whole chapters.
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.stem not in ("__init__", "notebook") and path.parent.name != "sharding"
)
# A change that takes so much longer than none has no end.
TIMES = 5
SECONDS = 60
KEPT = RESULTS / "mutation.json"
SLOW = (
    *("benchmarks", "browser", "launch", "mutants", "notebook", "notebooks"),
    *("sharding", "site", "takeaway"),
)
# The test modules of those that have none under their own name.
NEAREST = {
    "_fast_rotation": ["test_rotary_positions.py", "test_fuzz.py"],
    "experiments.cooccurrence": ["test_skipgram.py"],
    "experiments.texts": ["test_schemes.py"],
    "published_models": ["test_model_shape.py"],
    "training": ["test_language_model.py"],
}
# The star before them is no product, though it is changed as one.
KEYWORDS_ONLY = re.compile(r"^\+ .*[\s(]/,")
PUBLIC = r"^(?:def|class) ([A-Za-z]\w*)"
SHAPES = "--jaxtyping-packages=embeddings_lib,beartype.beartype"


def file_of(module: str, package: Path = PACKAGE) -> Path:
    return package.joinpath(*module.split(".")).with_suffix(".py")


def source_of(module: str) -> str:
    return file_of(module).read_text("utf-8")


@dataclass(frozen=True)
class Change:
    """One module's new text."""

    module: str
    operator: str
    text: str

    @property
    def sign(self) -> list[str]:
        """What tells it from others: what was done, in which line, old and new."""
        before, after = source_of(self.module).splitlines(), self.text.splitlines()
        marked = list(difflib.ndiff(before, after))
        place = next(i for i, line in enumerate(marked, 1) if line[0] != " ")
        changed = [line for line in marked if line[:2] in ("- ", "+ ")]
        return [f"{self.operator}, line {place}", *changed]

    def plant(self, folder: Path) -> Path:
        """The changed file, in a copy of the library."""
        changed = file_of(self.module, shutil.copytree(PACKAGE, folder / PACKAGE.name))
        changed.write_text(self.text, "utf-8")
        return changed


def changes(module: str) -> list[Change]:
    """Every small change of a module as far as it computes something else."""
    # Only `make mutants` installs it, and this file can be read without.
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    source = source_of(module)
    found = {}
    for name in operator_names():
        kind = name.rpartition("/")[2]
        operator, _, slip = kind.partition("Operator_")
        if kind in NEVER or (
            operator.startswith("Replace") and slip and slip not in SLIPS
        ):
            continue
        for occurrence in range(10_000):
            text = mutate_code(source, get_operator(name)(), occurrence)
            if text is None:
                break
            change = Change(module, kind, text)
            if not any(KEYWORDS_ONLY.search(line) for line in change.sign[1:]):
                found.setdefault(text, change)
    return list(found.values())


def tests_of(module: str) -> list[str]:
    """The test modules that may notice, the nearest first."""
    source = source_of(module)
    name = module.split(".")[-1].strip("_")
    own = NEAREST.get(module, [f"test_{name}.py"])
    names = re.compile(rf"\b({'|'.join(re.findall(PUBLIC, source, re.MULTILINE))})\b")
    slow = {f"test_{name}.py" for name in SLOW}
    others = [
        path.name
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        if path.name not in slow and names.search(path.read_text("utf-8"))
    ]
    return [*own, *(name for name in others if name not in own)]


def outcome(change: Change, limit: int = 600) -> str:
    """Whether the change was killed, survived, or ran on past the limit in seconds."""
    signal.signal(signal.SIGALRM, _stop)
    with tempfile.TemporaryDirectory() as folder, _silence():
        examples = str(change.plant(Path(folder)))
        signal.alarm(limit)
        own, *others = tests_of(change.module)
        tests = [own, examples, *others]
        failed = verdict(Path(folder), tests, "--doctest-modules")
        if not signal.alarm(0):
            return "endless"
    return "killed" if failed else "survived"


def verdict(folder: Path, tests: list[str], *more: str) -> str:
    """What failed the tests of the library in `folder`; nothing if they pass."""
    for name in list(sys.modules):
        if name.split(".")[0] == PACKAGE.name:
            del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    failed = mutants.verdict(tests, SHAPES, *more)
    assert Path(sys.modules[PACKAGE.name].__file__).is_relative_to(folder)
    return failed


def _stop(*_):
    raise TimeoutError


@contextlib.contextmanager
def _silence():
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def preload() -> None:
    """Import what the tests import, but for the library, so that each fork has it."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        names = pool.apply(loaded_by_the_tests)
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def loaded_by_the_tests() -> list[str]:
    """The modules that are loaded when all tests are."""
    mutants.register_profile()
    tests = sorted({test for module in MODULES for test in tests_of(module)})
    with _silence():
        verdict(ROOT, tests, "--collect-only")
    return [
        name
        for name in sys.modules
        if not name.startswith(("embeddings_lib", "tests", "__mp", "conftest"))
    ]


def trial(change: Change, limit: int) -> tuple[Change, str]:
    try:
        return change, outcome(change, limit)
    except BaseException:  # the module could not even be imported
        return change, "killed"


def seconds_unchanged(module: str) -> float:
    """How long the module's tests take."""
    began = time.monotonic()
    if outcome(Change(module, "none", source_of(module))) != "survived":
        raise RuntimeError(
            "the tests must pass without a change, because a failure is what tells "
            f"that one was noticed; those of {module} fail: run {tests_of(module)}"
        )
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="module", help=", ".join(MODULES))
    parser.add_argument("--sample", type=int, help="so many changes of each module")
    parser.add_argument("--survivors", action="store_true", help="of the last run")
    wanted = parser.parse_args()
    if strange := set(wanted.modules) - set(MODULES):
        parser.error(f"modules must be some of {', '.join(MODULES)}; got {strange}")
    mutants.register_profile()
    preload()
    modules = wanted.modules or list(kept() if wanted.survivors else MODULES)
    # A process for each change, as a change may leave anything behind.
    fork = multiprocessing.get_context("fork")
    with fork.Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        durations = pool.map(seconds_unchanged, modules, chunksize=1)
        for module, duration in zip(modules, durations, strict=True):
            every = changes(module)
            before = kept().get(module) if wanted.survivors else None
            tried = every
            if before:
                tried = [each for each in every if each.sign in before["survivors"]]
            size = min(wanted.sample or len(tried), len(tried))
            chosen = random.Random(0).sample(tried, size)
            timed = functools.partial(trial, limit=round(SECONDS + TIMES * duration))
            trials = pool.imap_unordered(timed, chosen)
            found = list(tqdm(trials, module, total=len(chosen), disable=None))
            store(module, found, len(every), before)


def kept() -> dict[str, dict]:
    """What was found for each module that the library still has."""
    found = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    return {module: found[module] for module in found if module in MODULES}


def store(
    module: str, trials: list[tuple[Change, str]], every: int, before: dict | None
) -> None:
    """Keep what was found for this module, with what was killed before."""
    ends = Counter(end for _, end in trials)
    if before:
        ends += Counter(before["ends"] | {"survived": 0})
    survivors = sorted(change.sign for change, end in trials if end == "survived")
    ends = dict(sorted(ends.items()))
    result = {"changes": every, "ends": ends, "survivors": survivors}
    print(f"{module:26}{ends}", flush=True)
    for _, *lines in survivors:
        print(*lines, sep="\n", flush=True)
    keep(KEPT, dict(sorted((kept() | {module: result}).items())))


if __name__ == "__main__":
    sys.exit(main())
