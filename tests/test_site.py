"""The built site: no warning, no broken link, nothing from another host."""

import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import imagesize
import pytest
import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from fontTools.ttLib import TTFont
from sphinx_external_toc.parsing import parse_toc_yaml

from book._ext import description, downloads, explorers, mathematics, publish
from embeddings_lib.downloads import AssetError
from tests.notebooks import ROOT


@pytest.fixture(scope="module")
def pages(site):
    """Path -> parsed page, for every page that a reader can open."""
    found = {
        path: BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in site.rglob("*.html")
        if "_static" not in path.parts
    }
    assert len(found) >= 8
    return found


def references(page):
    for tag, attribute in (
        ("a", "href"),
        ("img", "src"),
        ("script", "src"),
        ("link", "href"),
    ):
        for element in page.find_all(tag, **{attribute: True}):
            yield tag, element[attribute]


def test_every_internal_link_and_image_resolves(site, pages):
    places = {
        path: {element["id"] for element in page.select("[id]")}
        for path, page in pages.items()
    }
    broken = []
    for path, page in pages.items():
        for _, reference in references(page):
            parts = urlsplit(reference)
            if parts.scheme or parts.netloc:
                continue
            target = (
                (path.parent / unquote(parts.path)).resolve() if parts.path else path
            )
            place = unquote(parts.fragment)
            if not target.exists():
                broken.append(f"{path.relative_to(site)}: {reference}")
            elif place and target in places and place not in places[target]:
                broken.append(f"{path.relative_to(site)}: {reference} (no place)")
    assert broken == []


def test_a_page_loads_nothing_from_another_host(site, pages):
    for path, page in pages.items():
        loaded = [
            ref for tag, ref in references(page) if tag in ("img", "script", "link")
        ]
        styles = re.findall(r"url\(['\"]?(https?:[^)]*)", path.read_text("utf-8"))
        assert [ref for ref in loaded + styles if urlsplit(ref).netloc] == []


def test_every_figure_says_what_it_shows(pages):
    for path, page in pages.items():
        for image in page.select("article img"):
            alt = image.get("alt", "")
            assert len(alt) > 20, (
                f"{path.name}: {image['src']} has the alt text {alt!r}"
            )


def test_no_markup_is_left_raw(pages):
    for path, page in pages.items():
        for block in page.select("article"):
            for code in block.select("pre, code"):
                code.extract()
            text = block.get_text()
            assert "```" not in text, path.name
            assert not re.search(r"\| (—|---) \|", text), f"a table in {path.name}"
            assert not re.search(r"\{(code-cell|cite|doc|ref|bibliography)", text), (
                path.name
            )


def formula(tex: str) -> BeautifulSoup:
    return BeautifulSoup(mathematics.mathml(tex, "inline"), "html.parser")


@pytest.mark.parametrize(
    ("tex", "spaces"),
    [
        (r"\sin a \cos b", ["0.1667em"] * 3),
        (r"\ln(x)", ["0"]),
        (r"\log_2 x", ["0.1667em"]),
        (r"2 \cos^2 x", ["0.1667em"] * 2),
    ],
)
def test_a_function_stands_off_its_neighbours_but_not_its_parenthesis(tex, spaces):
    # U+2061 is the invisible sign between a function and what it is applied to.
    apart = formula(tex).select("mspace, mo[rspace]")
    assert [each.get("width") or each["rspace"] for each in apart] == spaces


@pytest.mark.parametrize(
    ("tex", "prefix"),
    [("a - b", []), ("= -b", ["−"]), (r"\sigma(-s) - c", ["−"]), (r"-\ln -x", ["−"])],
)
def test_a_minus_without_a_left_side_is_a_sign(tex, prefix):
    # At the start of a row a browser knows by itself.
    assert [m.get_text() for m in formula(tex).select("mo[form=prefix]")] == prefix


def test_a_word_in_a_formula_is_a_name():
    assert formula(r"\frac{\text{turns} - \text{low}}{2}").select("mtext") == []
    (text,) = formula(r"x \text{, but not } y").select("mtext")
    assert text.get_text().split() == [",", "but", "not"]


@pytest.mark.parametrize("tex", [r"\sinn a", r"\frac{1", r"\left( x", "x_"])
def test_a_formula_that_cannot_be_read_is_named(tex):
    with pytest.raises(ValueError, match=re.escape(f"got {tex!r}: check its commands")):
        formula(tex)


def test_aligned_equations_keep_their_columns_in_mathml():
    tex = r"\begin{aligned} a &= b \\ &= c \end{aligned}"
    rows = formula(tex).select("mtr")
    assert [len(row.select("mtd")) for row in rows] == [2, 2]
    assert "&" not in formula(tex).get_text()


def test_a_formula_keeps_its_comma(pages):
    for page in pages.values():
        for after in page.select("p > span.math"):
            follower = str(after.next_sibling or "")
            assert not re.match("[.,:;?!)]", follower), after.parent.get_text()


def test_the_font_of_the_formulas_has_their_signs(site, pages):
    font = TTFont(site / "_static/maths.woff")
    text = "".join(
        sign.get_text() for page in pages.values() for sign in page.select("math *")
    )
    assert {"∑", "σ", "⊤"} <= set(text)
    drawn = {"√"} | {character for character in text if character.isprintable()}
    assert {ord(character) for character in drawn} <= set(font.getBestCmap())
    assert "MATH" in font
    assert (site / "_static/maths.woff").stat().st_size < 100_000


def test_a_page_is_light(site, pages):
    for path, page in pages.items():
        images = [path.parent / image["src"] for image in page.select("article img")]
        weight = path.stat().st_size + sum(image.stat().st_size for image in images)
        assert weight < 1_500_000, path.name


def test_every_page_says_in_its_own_words_what_it_is_about(site):
    said = {}
    for name in parse_toc_yaml(ROOT / "_toc.yml"):
        page = BeautifulSoup((site / f"{name}.html").read_text("utf-8"), "html.parser")
        (description,) = page.select("meta[name=description]")
        said[name] = description["content"]
        assert len(said[name]) > 40, name
        assert said[name][:40] in " ".join(page.select_one("article").text.split())
    assert len(set(said.values())) == len(said)


def test_a_shared_page_shows_a_picture_large_enough_for_a_preview(site):
    shown = {}
    for name in parse_toc_yaml(ROOT / "_toc.yml"):
        page = BeautifulSoup((site / f"{name}.html").read_text("utf-8"), "html.parser")
        (image,) = page.select("meta[property='og:image']")
        place = Path(urlsplit(image["content"]).path)
        shown[name] = site / place.parent.name / place.name
        width, height = imagesize.get(shown[name])
        assert width >= 600, name
        assert height >= 250, name
    assert shown["book/intro"] == site / "_static/card.png"
    assert imagesize.get(shown["book/intro"]) == (1200, 630)
    assert len(set(shown.values())) > 10  # each chapter its own


def of_app(address="", remote=None):
    config = SimpleNamespace(html_baseurl=address)
    return SimpleNamespace(config=config, book_source=remote and (remote, "main"))


def test_a_picture_has_the_address_where_the_site_is_published():
    github, gitlab = (f"https://{host}.com/ada/book" for host in ("github", "gitlab"))
    pages, course = "https://ada.github.io/book/", "https://course.example.edu/"
    assert description.site_address(of_app(remote=github)) == pages
    assert description.site_address(of_app(course, remote=github)) == course
    assert description.site_address(of_app(remote=gitlab)) == ""
    assert description.site_address(of_app()) == ""


def test_a_page_leads_to_the_whole_book_where_it_is_published():
    def menu(files):
        group = {"label": "download-buttons", "buttons": []}
        app = SimpleNamespace(config=SimpleNamespace(book_files=files))
        pathto = {"book.pdf": "../book.pdf", "book.epub": "../book.epub"}
        context = {"header_buttons": [group], "pathto": lambda name, _: pathto[name]}
        downloads.add_links(app, "chapters/x", "page.html", context, None)
        return [(button["text"], button["url"]) for button in group["buttons"]]

    assert menu([]) == []
    assert menu(["book.pdf", "book.epub"]) == [
        ("the book, .pdf", "../book.pdf"),
        ("the book, .epub", "../book.epub"),
    ]


def test_the_workflow_publishes_what_the_pages_lead_to():
    text = (ROOT / ".github/workflows/book.yml").read_text("utf-8")
    steps = yaml.safe_load(text)["jobs"]["publish"]["steps"]
    (build,) = (step for step in steps if "BOOK_FILES" in step.get("env", {}))
    made = {f"book.{kind}" for kind in build["run"].split()[2:]}
    named = build["env"]["BOOK_FILES"].split()
    moved = steps[steps.index(build) + 1]["run"].split()
    assert set(named) == made
    assert moved == ["mv", *(f"_build/{name}" for name in named), "_build/html/"]


def test_if_a_download_fails_a_note_takes_the_place_of_the_explorer(monkeypatch):
    def unreachable():
        raise AssetError("the vocabulary cannot be fetched")

    monkeypatch.setitem(explorers.FILES, "words", unreachable)
    document = SimpleNamespace(settings=SimpleNamespace(env=None))
    page = SimpleNamespace(
        arguments=["words"], state=SimpleNamespace(document=document)
    )
    (note,) = explorers.Explorer.run(page)
    assert isinstance(note, nodes.note)
    assert "the vocabulary cannot be fetched" in note.astext()


def test_publishing_replaces_the_old_site(tmp_path):
    built, place = tmp_path / "built", tmp_path / "html"
    for folder, content in ((built, "new"), (place, "old")):
        folder.mkdir()
        (folder / f"{content}.html").touch()
    publish.publish(built, place)
    assert [path.name for path in place.iterdir()] == ["new.html"]
