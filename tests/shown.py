"""How much of the library the chapters show.

`python -m tests.shown` prints for each module how many lines of code it has, and how
many of them stand in a listing of a chapter; then the listings that are too long, and
the shown functions that have too many guards. Files whose names begin with an
underscore, `downloads` and `notebook` are no part of what the chapters teach, and are
left out.

A *line of code* holds a part of a statement: it is not blank, no comment and no
docstring. Imports and tables of data count, though no listing can show them. The second
share leaves these out, and the last column counts every line of the file.

A *listing* is what one call of `show_source` prints. A line that stands in two listings
counts once.

A *guard* is a statement that raises, an `if` that does nothing else, or a call of a
function of `_guards` or of one whose name begins with `_check` or `_refuse`. The
functions of `_guards` themselves may have as many as they need.
"""

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from book._ext.chapters import Chapter, chapters
from embeddings_lib.notebook import docstring_lines, show_source

PACKAGE = Path(__file__).parents[1] / "embeddings_lib"
GUARDS = "embeddings_lib._guards"
LEAST_SHARE, MOST_LINES, MOST_GUARDS = 0.6, 40, 1
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def modules() -> list[Path]:
    beside = {"downloads.py", "notebook.py"}
    return [
        file
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.name[0] != "_" and file.name not in beside
    ]


def lines_of_code(text: str) -> set[int]:
    """The numbers of the lines that hold a part of a statement."""
    found = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    return found - docstring_lines(text)


def imports_and_data(text: str) -> set[int]:
    """The lines of a module's statements that define no class and no function."""
    return {
        line
        for node in ast.parse(text).body
        if not isinstance(node, ast.ClassDef | ast.FunctionDef)
        for line in range(node.lineno, node.end_lineno + 1)
    }


@dataclass(frozen=True)
class Listing:
    chapter: Chapter
    names: str
    things: tuple

    @property
    def length(self) -> int:
        return len(repr(show_source(*self.things)).splitlines())

    def lines(self) -> Iterator[tuple[Path, int]]:
        """Each line that it shows or leaves a docstring out of, with its file."""
        for thing in map(inspect.unwrap, self.things):
            source, first = inspect.getsourcelines(thing)
            for number in range(first, first + len(source)):
                yield Path(inspect.getfile(thing)).resolve(), number

    def guards(self) -> Iterator[tuple[str, int]]:
        """The number of guards in each function that it shows."""
        for thing in map(inspect.unwrap, self.things):
            module = inspect.getmodule(thing)
            if module.__name__ == GUARDS:
                continue
            for function in functions(ast.parse(repr(show_source(thing)))):
                method = f".{function.name}" if inspect.isclass(thing) else ""
                guards = count_guards(function, guards_known_to(module))
                yield f"{thing.__qualname__}{method}", guards


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """The functions and methods of a tree, without those inside another one."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
        else:
            yield from functions(node)


def guards_known_to(module) -> set[str]:
    return {
        name
        for name, thing in vars(module).items()
        if getattr(thing, "__module__", "") == GUARDS
    }


def count_guards(node: ast.AST, known: set[str]) -> int:
    match node:
        case ast.Raise() | ast.If(body=[ast.Raise()], orelse=[]):
            return 1
        case ast.Call(func=function):
            path, _, name = ast.unparse(function).rpartition(".")
            private = name.startswith(("_check", "_refuse"))
            if private or path == "_guards" or name in known:
                return 1
    return sum(count_guards(child, known) for child in ast.iter_child_nodes(node))


def calls_of_show_source(cell: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(cell):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "show_source":
            yield node


@cache
def listings() -> tuple[Listing, ...]:
    """Every listing of every chapter, its names resolved by the chapter's imports."""
    found = []
    for chapter in chapters():
        names = {}
        for _, cell in chapter.code:
            for node in ast.walk(cell):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    exec(ast.unparse(node), names)
            for call in calls_of_show_source(cell):
                shown = [ast.unparse(thing) for thing in call.args]
                things = tuple(eval(name, names) for name in shown)
                found.append(Listing(chapter, ", ".join(shown), things))
    return tuple(found)


@dataclass(frozen=True)
class Count:
    """The lines of a module, or of all."""

    name: str
    code: int
    shown: int
    teaching: int  # lines of code without imports and data
    raw: int

    @property
    def share(self) -> float:
        return self.shown / self.code

    def __str__(self) -> str:
        taught = self.shown / self.teaching
        return (
            f"{self.name:34}{self.code:6}{self.shown:6}{self.share:7.0%}"
            f"{self.teaching:9}{taught:7.0%}{self.raw:7}"
        )


@cache
def counts() -> tuple[Count, ...]:
    """One for each module, and then the sum."""
    shown = {line for listing in listings() for line in listing.lines()}
    found = []
    for file in modules():
        text = file.read_text("utf-8")
        code = lines_of_code(text)
        found.append(
            Count(
                file.relative_to(PACKAGE).as_posix(),
                len(code),
                sum((file, line) in shown for line in code),
                len(code - imports_and_data(text)),
                len(text.splitlines()),
            )
        )
    columns = ("code", "shown", "teaching", "raw")
    sums = (sum(getattr(count, column) for count in found) for column in columns)
    return (*found, Count("together", *sums))


def too_long() -> list[str]:
    return [
        f"{listing.chapter.docname}: {listing.names}, {listing.length} lines"
        for listing in listings()
        if listing.length > MOST_LINES
    ]


def too_guarded() -> list[str]:
    return [
        f"{listing.chapter.docname}: {name}, {guards} guards"
        for listing in listings()
        for name, guards in listing.guards()
        if guards > MOST_GUARDS
    ]


def main() -> None:
    print(f"{'':34}{'code':>6}{'shown':>6}{'':7}{'no data':>9}{'':7}{'raw':>7}")
    print(*counts(), sep="\n")
    print(f"\n{len(listings())} listings, longer than {MOST_LINES} lines:")
    print(*too_long() or ["none"], sep="\n")
    print(f"\nshown functions with more than {MOST_GUARDS} guard:")
    print(*too_guarded() or ["none"], sep="\n")


if __name__ == "__main__":
    main()
