"""The library and its proof as pages of the book, and links between them and chapters.

`{{ library }}` on a page becomes the source of the whole library, in the order of
`book/library.yml`, and `{{ proof }}` the tests of each of its modules. A name of the
library leads to the section where a chapter built it; the first mention of the name in
each section of a chapter leads back, and a chapter ends with what it built.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path

import yaml
from docutils import nodes

from book._ext.chapters import ROOT, Chapter, chapters

PACKAGE = ROOT / "embeddings_lib"
PAGE, PROOF = "book/library", "book/proof"


@dataclass(frozen=True)
class Name:
    """A public name of the library, and the lines from it to the next one."""

    name: str
    module: str
    source: str

    @property
    def anchor(self) -> str:
        return nodes.make_id(f"library-{self.module}-{self.name}")


@dataclass(frozen=True)
class Module:
    name: str  # as it is imported from the package, such as `sharding.ranks`
    opening: str  # its docstring, its imports and all else above its first public name
    names: tuple[Name, ...]

    @property
    def path(self) -> Path:
        place = PACKAGE.joinpath(*self.name.split("."))
        return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")

    @property
    def anchor(self) -> str:
        return nodes.make_id(f"library-{self.name}")

    def holds(self, name: str) -> bool:
        return any(each.name == name for each in self.names)


@dataclass(frozen=True)
class Place:
    """Where a chapter shows the source of a name, or else where it first uses it."""

    chapter: Chapter
    heading: str
    built: bool


def taught() -> list[str]:
    """The modules in the order of the chapters."""
    return yaml.safe_load((ROOT / "book/library.yml").read_text("utf-8"))


def aside() -> list[str]:
    """The modules that no chapter is about."""
    found = (
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        for path in PACKAGE.rglob("*.py")
    )
    every = {name.removesuffix(".__init__") for name in found} - {"__init__"}
    return sorted(every - set(taught()))


def cut(text: str) -> dict[str, str]:
    """A module's source, cut before each public class, function and constant; what
    stands above the first is under an empty name.
    """
    lines = text.splitlines()
    starts = {"": 0}
    for node in ast.parse(text).body:
        first = node.lineno
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            name = node.name
            first = min([first] + [mark.lineno for mark in node.decorator_list])
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            name = ast.unparse(getattr(node, "target", None) or node.targets[0])
            name = name if name.isupper() else "_"
        else:
            continue
        if name.startswith("_"):
            continue
        while lines[first - 2].startswith("#"):  # a comment belongs to what follows
            first -= 1
        starts[name] = first - 1
    ends = [*list(starts.values())[1:], len(lines)]
    return {
        name: "\n".join(lines[start:end]).strip("\n")
        for (name, start), end in zip(starts.items(), ends, strict=True)
    }


@cache
def modules() -> tuple[Module, ...]:
    return tuple(map(read, taught() + aside()))


def read(name: str) -> Module:
    module = Module(name, "", ())
    parts = cut(module.path.read_text("utf-8"))
    opening = parts.pop("")
    names = tuple(Name(each, name, source) for each, source in parts.items())
    return replace(module, opening=opening, names=names)


def within(place: str) -> list[Module]:
    """The modules of a package. The package may be the whole library, or one module."""
    start = f"{place}.".lstrip(".")
    return [module for module in modules() if f"{module.name}.".startswith(start)]


@cache
def imported(chapter: Chapter) -> dict[str, str]:
    """Each name of the library that a chapter imports, and the module it is from."""
    trees = (tree for _, tree in chapter.code)
    return dict(chain.from_iterable(map(imports, trees)))


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The names that Python source imports from the library, and their modules.

    A package hands on what its modules define. A module is a name too, from itself.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            package, _, place = node.module.partition(".")
            for alias in node.names if package == PACKAGE.name else ():
                homes = (each.name for each in within(place) if each.holds(alias.name))
                module = f"{place}.{alias.name}".lstrip(".")
                yield alias.name, next(homes, module)


@cache
def mentions(chapter: Chapter) -> dict[str, list[tuple[str, str]]]:
    """What a chapter shows the source of, defines itself and uses: each as the heading
    that it is under, and the dotted name.
    """
    found = {"shown": [], "defined": [], "used": []}
    for heading, tree in chapter.code:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found["defined"].append((heading, node.name))
            elif isinstance(node, ast.Name | ast.Attribute):
                found["used"].append((heading, ast.unparse(node)))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "show_source":
                found["shown"] += [(heading, ast.unparse(one)) for one in node.args]
    return found


def places(name: Name, kind: str) -> Iterator[Place]:
    """Where chapters show, define or use a name of the library, or a part of it."""
    for chapter in chapters():
        for heading, text in mentions(chapter)[kind]:
            if text.removeprefix(f"{last(name.module)}.").split(".")[0] == name.name:
                yield Place(chapter, heading, built=kind != "used")


def last(module: str) -> str:
    """How source calls a module that it has imported from its package."""
    return module.rpartition(".")[2]


@cache
def builders(module: str) -> set[Chapter]:
    """The chapters that show source of a module."""
    names = next(found for found in modules() if found.name == module).names
    return {at.chapter for name in names for at in shown_or_used(name, "shown")}


def shown_or_used(name: Name, kind: str) -> Iterator[Place]:
    """The same, but only in chapters that import the name."""
    for at in places(name, kind):
        mine = imported(at.chapter)
        if name.module in (mine.get(name.name), mine.get(last(name.module))):
            yield at


@cache
def place(name: Name) -> Place | None:
    """Where a chapter shows the source of a name. If none does: where one defines it
    itself that shows other source of the module. If none does: where it is first used.
    """
    defined = places(name, "defined")
    return next(
        chain(
            shown_or_used(name, "shown"),
            (at for at in defined if at.chapter in builders(name.module)),
            shown_or_used(name, "used"),
        ),
        None,
    )


def origin(name: Name) -> str:
    """The chapter that a name is from, as a sentence; nothing if there is none."""
    if at := place(name):
        verb = "Built" if at.built else "First used"
        return f"{verb} in {at.chapter.link(at.heading)}."
    package = name.module.rpartition(".")[0]
    for whole in filter(None, (name.module, package)):
        others = (place(other) for module in within(whole) for other in module.names)
        found = [at.chapter for at in others if at]
        if found:
            return f"Part of {min(found, key=lambda each: each.number).link()}."
    return ""


@cache
def tests_of(module: Module) -> Path | None:
    """Its own test module, or its package's, or the one that calls its names most."""
    tests = ROOT / "tests"
    for name in reversed(module.name.split(".")):
        own = tests / f"test_{name.strip('_')}.py"
        if own.exists():
            return own
    calls = re.compile(rf"\b(?:{'|'.join(name.name for name in module.names)})\(")

    def used(file: Path) -> int:
        return len(calls.findall(file.read_text("utf-8")))

    return max(sorted(tests.glob("test_*.py")), key=used) if module.names else None


# The two pages


def fenced(source: str, language: str = "python") -> str:
    return f"````{language}\n{source}\n````\n"


def library_page() -> str:
    parts = [fenced((PACKAGE / "__init__.py").read_text("utf-8").strip())]
    helpers = aside()
    for module in modules():
        if module.name == helpers[0]:
            parts.append("## What stands aside\n")
            parts.append("Helpers of the others, which no chapter is about.\n")
        level = "###" if module.name in helpers else "##"
        says = f"`{module.path.relative_to(ROOT).as_posix()}`."
        if tests := tests_of(module):
            says += f" Its proof: [`tests/{tests.name}`](#{proof_anchor(tests.name)})."
        parts += [f"({module.anchor})=\n{level} `{module.name}`\n", f"{says}\n"]
        # Helpers are not coloured: that would double the weight of the page.
        language = "text" if module.name in helpers else "python"
        parts.append(fenced(module.opening, language))
        for name in module.names:
            parts.append(f"({name.anchor})=\n{level}# `{name.name}`\n")
            parts += [f"{origin(name)}\n", fenced(name.source, language)]
    return "\n".join(parts)


def proof_anchor(file: str) -> str:
    return nodes.make_id(f"proof-{Path(file).stem}")


def own_tests(chapter: Chapter) -> Path:
    """The tests of what a chapter builds for itself; in the museum, of its mutants."""
    own = ROOT / "tests" / f"test_{Path(chapter.docname).name[3:]}.py"
    return own if own.exists() else ROOT / "tests/test_mutants.py"


def claims(file: Path) -> dict[str, str]:
    """Each test of a file: its name, and the sentence that the name spells."""
    return {
        name: name.removeprefix("test_").replace("_", " ")
        for name in cut(file.read_text("utf-8"))
        if name.startswith("test_")
    }


def proofs() -> dict[Path, list[Module]]:
    """Each test module, in the library's order, and the modules that it tests."""
    found = {}
    for module in modules():
        if tests := tests_of(module):
            found.setdefault(tests, []).append(module)
    others = [*map(own_tests, chapters()), ROOT / "tests/mutants.py"]
    return found | {file: [] for file in others if file not in found}


def proof_page(app) -> str:
    parts = []
    for file, tested in proofs().items():
        parts.append(f"({proof_anchor(file.name)})=\n## `tests/{file.name}`\n")
        if tested:
            links = (f"[`{module.name}`](#{module.anchor})" for module in tested)
            parts.append(f"The proof of {' and '.join(links)}:\n")
        else:
            parts.append(ast.get_docstring(ast.parse(file.read_text("utf-8"))) + "\n")
        page = source_page(file).removeprefix("book/") + ".html"
        for name, claim in claims(file).items():
            # Other formats hold the claims alone.
            link = f'<a href="{page}#{name}">{claim}</a>'
            parts.append(f"- {link if app.builder.name == 'html' else claim}")
        parts.append("")
    return "\n".join(parts)


def source_page(file: Path) -> str:
    return f"{PROOF}/{file.stem}"


def source_pages(app) -> Iterator[tuple[str, dict, str]]:
    """A page for each test module, with a place for each test."""
    for file in proofs() if app.builder.name == "html" else ():
        name = f"tests/{file.name}"
        back = f'<a href="../proof.html#{proof_anchor(file.name)}">The proof</a>'
        body = f"<h1><code>{name}</code></h1><p>{back}</p>"
        for part, source in cut(file.read_text("utf-8")).items():
            code = app.builder.highlighter.highlight_block(source, "python")
            body += f'<div id="{part or "opening"}">{code}</div>'
        yield source_page(file), {"title": name, "body": body}, "page.html"


def write_pages(app, docname, source) -> None:
    if docname == PAGE:
        source[0] = source[0].replace("{{ library }}", library_page())
    if docname == PROOF:
        source[0] = source[0].replace("{{ proof }}", proof_page(app))


# From the chapters back


def to_library(app, docname: str, name: Name, *content: nodes.Node) -> nodes.reference:
    target = app.builder.get_relative_uri(docname, PAGE) + "#" + name.anchor
    return nodes.reference("", "", *content, internal=True, refuri=target)


def known(docname: str) -> dict[str, Name]:
    """The names that a page means when it writes them as code: in a chapter those that
    it imports, elsewhere those that the package itself hands on.
    """
    of_chapter = {chapter.docname: chapter for chapter in chapters()}.get(docname)
    if of_chapter:
        homes = imported(of_chapter)
    else:
        homes = dict(imports(ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))))
    return {
        name.name: name
        for module in modules()
        for name in module.names
        if homes.get(name.name) == module.name
    }


def link_names(app, doctree, docname) -> None:
    if docname in (PAGE, PROOF):
        return
    names, linked = known(docname), set()
    for code in list(doctree.findall(nodes.literal)):
        text = code.astext()
        section = next(filter(is_section, ancestors(code)), None)
        inside = {type(node) for node in ancestors(code)}
        if text not in names or (section, text) in linked:
            continue
        if inside.isdisjoint({nodes.reference, nodes.title}):
            linked.add((section, text))
            link = to_library(app, docname, names[text], code.deepcopy())
            code.parent.replace(code, link)


def ancestors(node: nodes.Node) -> Iterator[nodes.Node]:
    while node := node.parent:
        yield node


def is_section(node: nodes.Node) -> bool:
    return isinstance(node, nodes.section)


def end_chapter(app, doctree, docname) -> None:
    """What the chapter built, and where it is proved."""
    chapter = {chapter.docname: chapter for chapter in chapters()}.get(docname)
    if not chapter:
        return
    built = [
        (module, name)
        for module in modules()
        for name in module.names
        if (at := place(name)) and at.built and at.chapter == chapter
    ]
    names = [
        to_library(app, docname, name, nodes.literal("", name.name))
        for _, name in built
    ]
    files = dict.fromkeys(tests_of(module) for module, _ in built)
    proof = app.builder.get_relative_uri(docname, PROOF)
    tests = [
        nodes.reference(
            "",
            "",
            nodes.literal("", f"tests/{file.name}"),
            internal=True,
            refuri=f"{proof}#{proof_anchor(file.name)}",
        )
        for file in files or [own_tests(chapter)]
    ]
    box = nodes.container("", classes=["built-here"])
    for label, links in (("Built here: ", names), ("The proof: ", tests)):
        if links:
            line = nodes.paragraph("", "", nodes.strong("", label))
            for i, link in enumerate(links):
                line.extend([nodes.Text(", " if i else ""), link])
            line.append(nodes.Text("."))
            box.append(line)
    list(doctree.findall(nodes.section))[-1].append(box)


def setup(app) -> dict:
    app.connect("source-read", write_pages)
    app.connect("html-collect-pages", source_pages)
    app.connect("doctree-resolved", link_names)
    app.connect("doctree-resolved", end_chapter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
