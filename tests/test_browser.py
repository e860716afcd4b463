"""The built site in a real browser: every page complete, accessible, and true.

The site is served from a folder below the root, as a course would serve it, and every
other host is blocked. What the explorers show is compared with the library.
"""

import json
import math
import random
import re
import shutil
from itertools import chain, pairwise, product
from urllib.parse import urlencode, urlsplit

import imagesize
import pikepdf
import pytest
import torch
from bs4 import BeautifulSoup
from playwright.sync_api import expect
from sphinx_external_toc.parsing import parse_toc_data
from torch.testing import assert_close
from transformers.models.llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from book._ext import config_reader, configurations, explorers, pdf
from embeddings_lib import rotary_from_config
from embeddings_lib.experiments.word_vectors import WordVectors
from embeddings_lib.model_shape import BYTES
from embeddings_lib.notebook import COLOURS, show_tokens
from embeddings_lib.published_models import PUBLISHED
from embeddings_lib.rotary_positions import RotaryPositions
from embeddings_lib.sinusoidal_positions import sinusoidal_encoding
from embeddings_lib.tokenizer import merge
from tests.browser import (
    DESK,
    EXPLORERS,
    LISTED,
    PAGES,
    PATIENCE,
    PHONE,
    Reader,
    Visit,
    chromium,
    launched,
    number,
    served,
)
from tests.conftest import build
from tests.test_configurations import without


@pytest.fixture(scope="module")
def browser():
    with launched() as (browser, _):
        yield browser


@pytest.fixture(scope="module")
def address(site):
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def tab(browser, address, site):
    """One tab for all tests that need nothing of their own."""
    tab = Visit(browser, address, site.as_uri())
    yield tab
    tab.context.close()


@pytest.fixture(scope="module")
def reader():
    return Reader()


@pytest.fixture(scope="module", params=PAGES)
def visit(request, tab):
    return tab.open(request.param)


# Formulas that take no room, or hold an element that the browser does not know.
UNDRAWN = """() => [...document.querySelectorAll("math")].filter(formula => {
    const { width, height } = formula.getBoundingClientRect();
    return formula.checkVisibility() && !(width > 2 && height > 5)
        || formula.querySelector("merror");
}).map(formula => formula.textContent)"""


def test_a_page_is_complete(visit):
    assert visit.problems == []
    page = visit.page
    assert page.locator("h1:visible").count() >= 1
    formulas = page.locator(".math").count()
    assert page.locator(".math math").count() == formulas
    assert page.evaluate(UNDRAWN) == []


def test_a_first_visit_loads_little(visit, site):
    assert 100_000 < visit.weight(site) <= 1_500_000


def test_a_page_prints_its_answers(visit):
    visit.page.emulate_media(media="print")
    folded = visit.page.evaluate(
        "[...document.querySelectorAll('details > :not(summary)')]"
        ".filter(answer => answer.getBoundingClientRect().height === 0).length"
    )
    visit.page.emulate_media(media="screen")
    assert folded == 0


def test_a_page_fits_a_phone(visit):
    desk = visit.page.viewport_size
    visit.page.set_viewport_size(PHONE)
    width = visit.page.evaluate("document.documentElement.scrollWidth")
    visit.page.set_viewport_size(desk)
    assert width <= PHONE["width"]


# Code and formulas that are wider than their box, or formulas higher than it, which
# then scroll under the wheel.
CUT = """() => [...document.querySelectorAll("div.highlight pre, div.math > div")]
    .filter(box => box.checkVisibility() && (box.scrollWidth > box.clientWidth
        || box.matches(".math > div") && box.scrollHeight > box.clientHeight))
    .map(box => box.textContent.trim())"""


@pytest.mark.parametrize("width", [1280, 1366])
def test_code_and_formulas_fit_a_small_desk(visit, width):
    desk, scrollbar = visit.page.viewport_size, 15
    visit.page.set_viewport_size({"width": width - scrollbar, "height": 720})
    visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = 1)")
    cut = visit.page.evaluate(CUT)
    visit.page.set_viewport_size(desk)
    # Letters of India are not a column wide.
    assert [text for text in cut if not re.search("[\u0900-\u097f]", text)] == []


def test_a_page_is_accessible_in_the_light_and_in_the_dark(visit, reader):
    assert reader.violations(visit.page) == []


@pytest.mark.parametrize("name", ["chapters/08_rotary_positions.html", *EXPLORERS])
def test_a_page_opens_from_a_file(tab, site, name):
    tab.open(name, site.as_uri())
    assert tab.problems == []


@pytest.fixture
def slow(tab):
    """An address that never answers."""
    tab.context.route("**/slow", lambda route: None)
    yield "slow"
    tab.context.unroute("**/slow")


def test_what_a_page_still_loads_when_it_is_left_is_no_fault_of_the_next(tab, slow):
    tab.open("book/intro.html")
    with tab.page.expect_request("**/slow"):
        tab.page.evaluate("address => void fetch(address)", slow)
    tab.open("book/notation.html")
    assert tab.problems == []


def test_what_a_page_cannot_load_is_its_fault(tab):
    tab.context.route("**/gone", lambda route: route.abort())
    tab.open("book/intro.html")
    with tab.page.expect_event("requestfailed"):
        tab.page.evaluate("void fetch('gone').catch(() => null)")
    tab.context.unroute("**/gone")
    assert f"failed {tab.addresses[0]}/book/gone" in tab.problems


def test_a_reader_goes_from_page_to_page(tab):
    page = tab.open("book/intro.html").page

    def arrives_at(name):
        page.wait_for_url(f"**/{name}.html", wait_until="domcontentloaded")

    for name in LISTED[1:3]:
        page.locator("a.right-next").click()
        arrives_at(name)
    page.locator("a.left-prev").click()
    arrives_at(LISTED[1])
    page.locator("nav[aria-label=Main] a", has_text="Rotary positions").click()
    arrives_at("chapters/08_rotary_positions")
    page.locator("nav[aria-label=Cover] a").click()
    arrives_at("book/intro")


def searched(visit, query):
    """The sections that the search shows, on whatever page the reader is."""
    visit.page.locator("button.search-button__button:visible").first.click()
    visit.page.locator("#pst-search-dialog input").fill(query)
    visit.page.locator(f".found[data-query='{query}']").wait_for(state="attached")
    return visit.page.locator("#pst-search-dialog .found li")


def test_search_finds_the_chapter_of_rope_first(tab):
    visit = tab.open("book/notation.html")
    assert not [each.url for each in visit.asked if "pagefind" in each.url]
    found = searched(visit, "RoPE")
    assert found.first.inner_text().startswith("8. Rotary positions")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/chapters/08_rotary_positions.html#*")
    assert visit.problems == []


def test_what_is_found_leads_to_its_section(tab, site):
    for query in ("padding row", "rotate"):
        found = searched(tab.open("book/intro.html"), query)
        links = found.locator("a").evaluate_all("all => all.map(a => [a.href, a.text])")
        assert len(links) > 5
        for address, name in links:
            parts = urlsplit(address)
            page = site.parent / parts.path.lstrip("/")
            page = BeautifulSoup(page.read_text("utf-8"), "lxml")
            heading = page.find(id=parts.fragment).find(["h1", "h2", "h3", "h4"])
            assert name in f"{page.h1.text}{heading.text}".replace("#", "")


def test_a_root_is_found_and_not_each_letter_under_it(tab):
    found = searched(tab.open("book/intro.html"), "√d")
    marked = found.locator("mark").all_inner_texts()
    assert marked
    assert all("√d" in text for text in marked)


def test_the_search_is_accessible_and_hides_nothing_of_the_query(tab, reader):
    visit = tab.open("book/intro.html")
    assert searched(visit, "gradient").count() > 5
    covered = visit.page.locator("#pst-search-dialog").evaluate(
        """dialog => {
            const icon = dialog.querySelector("i").getBoundingClientRect();
            const input = dialog.querySelector("input");
            const text = input.getBoundingClientRect().left
                + parseFloat(getComputedStyle(input).paddingLeft);
            return icon.right - text;
        }"""
    )
    assert covered <= 0
    assert reader.violations(visit.page) == []


def test_the_search_page_finds_sections_too(tab):
    visit = tab.open("search.html?q=RoPE")
    first = visit.page.locator(".found a:visible").first
    expect(first).to_contain_text("Rotary positions")
    expect(visit.page.locator("input[name=q]:visible")).to_have_value("RoPE")
    assert visit.problems == []


def test_from_a_file_the_search_finds_pages(tab, site):
    visit = tab.open("search.html?q=RoPE", site.as_uri())
    found = visit.page.locator("#search-results ul.search li a")
    expect(found.filter(has_text="Rotary positions").first).to_be_visible()
    assert visit.problems == []


def test_an_answer_opens_with_mouse_and_keyboard(tab):
    page = tab.open("chapters/08_rotary_positions.html").page
    question = page.locator("details", has_text="Answer").first
    answer = question.locator(":scope > p").first
    expect(answer).to_be_hidden()
    question.locator("summary").click()
    expect(answer).to_be_visible()
    question.locator("summary").press("Enter")
    expect(answer).to_be_hidden()


def test_a_click_on_a_heading_sorts_the_published_models(tab):
    page = tab.open("book/configurations.html").page

    def waves():
        cells = page.locator("td[data-label='slowest wave']").all_inner_texts()
        return [number(cell) for cell in cells if cell != "–"]

    unsorted = waves()
    for descending in (False, True):
        page.get_by_role("button", name="slowest wave").click()
        assert waves() == sorted(unsorted, reverse=descending)


def test_a_finger_finds_the_button_that_copies_code(browser, address):
    visit = Visit(browser, address, viewport=PHONE, has_touch=True, is_mobile=True)
    page = visit.open("chapters/02_token_table.html").page
    button = page.locator("button.copybtn").first
    button.scroll_into_view_if_needed()
    expect(button).to_have_css("opacity", "1")
    visit.context.close()


# Of each figure that is narrower than its column: its file, and its width on the page.
FIGURES = """() => [...document.querySelectorAll(".cell_output img")]
    .map(figure => [figure, figure.getBoundingClientRect().width])
    .filter(([figure, width]) => width < figure.parentElement.clientWidth - 1)
    .map(([figure, width]) => [figure.getAttribute("src"), width])"""


def test_the_lettering_of_all_figures_has_one_size(tab, site):
    scales = []
    for chapter in site.glob("chapters/*.html"):
        page = tab.open(f"chapters/{chapter.name}").page
        for source, width in page.evaluate(FIGURES):
            drawn, _ = imagesize.get(chapter.parent / source)
            scales.append(width / drawn)
    assert len(scales) > 50
    assert max(scales) - min(scales) < 0.01


def test_the_notation_is_read_on_a_phone_without_scrolling_sideways(browser, address):
    visit = Visit(browser, address, viewport=PHONE)
    page = visit.open("book/notation.html").page
    wider = page.locator("article :is(table, tr, td)").evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth + 1"
        " || e.getBoundingClientRect().right > innerWidth).map(e => e.innerText)"
    )
    assert wider == []
    meaning = page.locator("td", has_text="numbers in the vector of one token")
    assert meaning.bounding_box()["width"] > 200
    visit.context.close()


def test_a_reader_chooses_the_dark(tab):
    page = tab.open("book/explore/index.html").page

    def background():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = background()
    button = page.locator("button.theme-switch-button:visible")
    while page.locator("html[data-mode=dark]").count() == 0:
        button.click()
    assert background() != light
    page.reload()
    assert page.locator("html[data-theme=dark]").count() == 1
    page.evaluate("localStorage.clear()")


def test_the_icons_are_drawn(tab):
    page = tab.open("book/intro.html").page
    assert (
        page.evaluate(
            "document.fonts.load('900 16px \"Font Awesome 6 Free\"', '\\uf002')"
            ".then(fonts => fonts.at(-1).status)"
        )
        == "loaded"
    )


@pytest.fixture
def no_browser(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    return str(tmp_path / "missing")


def test_without_a_browser_the_skip_is_loud(monkeypatch, no_browser):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="NO BROWSER"):
        chromium(no_browser)


def test_where_every_test_must_run_a_missing_browser_is_a_failure(
    monkeypatch, no_browser
):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="NO BROWSER"):
        chromium(no_browser)


# The explorers


def test_the_colours_are_those_of_the_figures(tab):
    page = tab.open("book/explore/clock.html").page
    shown = page.evaluate(
        "Array.from({length: 6}, (_, i) => getComputedStyle(document.documentElement)"
        ".getPropertyValue(`--explorer-${i}`))"
    )
    assert [colour.upper() for colour in shown] == COLOURS


@pytest.fixture(scope="module")
def tab_without_scripts(browser, address):
    tab = Visit(browser, address, java_script_enabled=False)
    yield tab
    tab.context.close()


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_still_figure_stands_in_without_scripts(tab_without_scripts, name):
    page = tab_without_scripts.open(name).page
    box = page.locator(".explorer-still").bounding_box()
    assert box["width"] > 300
    assert box["height"] > 50


# How far what a reader sees has moved without being asked, as the browser counts it.
SHIFT = """() => new Promise(done => requestAnimationFrame(() => setTimeout(() => {
    const observer = new PerformanceObserver(() => null);
    observer.observe({ type: "layout-shift", buffered: true });
    done(observer.takeRecords().reduce((sum, shift) => sum + shift.value, 0));
})))"""
PAINTED = "performance.getEntriesByName('first-contentful-paint').length > 0"


@pytest.mark.parametrize("name", EXPLORERS)
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_moves_when_an_explorer_takes_its_place(browser, address, name, size):
    page = browser.new_page(viewport=size)
    page.set_default_timeout(PATIENCE)
    script = re.compile(re.escape(f"explorers/{name.split('/')[-1][:-5]}.js"))
    held = []
    page.route(script, lambda route: held.append(route))
    with page.expect_request(script):
        page.goto(f"{address}/{name}", wait_until="commit")
    page.wait_for_function(f"{PAINTED} && document.querySelector('.explorer-still')")
    still = page.evaluate(SHIFT)
    held[0].continue_()
    page.locator(".explorer-ready").wait_for()
    moved = page.evaluate(SHIFT)
    page.close()
    assert still <= moved < 0.05


def test_a_lost_data_file_is_explained_beside_the_still_figure(tab):
    tab.context.route("**/words.data.js*", lambda route: route.fulfill(status=404))
    tab.page.goto(f"{tab.addresses[0]}/book/explore/words.html")
    tab.page.locator(".explorer-error").wait_for()
    assert tab.text(".explorer-error").endswith("words.data.js cannot be read.")
    assert tab.page.locator(".explorer-still").is_visible()
    tab.context.unroute("**/words.data.js*")


def test_an_explorer_works_with_the_keyboard_and_is_read_aloud(tab):
    visit = tab.open("book/explore/rotary.html")
    slider = visit.page.get_by_label("m, position of the query, slider")
    slider.press("ArrowRight")
    assert visit.page.locator("[name=m]").input_value() == "8"
    assert visit.sentence.startswith("m − n = 4,")
    expect(visit.page.locator(".explorer [role=status]")).to_have_text(visit.sentence)


def test_an_input_out_of_range_is_explained(tab):
    visit = tab.open("book/explore/clock.html")
    visit.enter(position=-1)
    error = visit.text(".explorer-error")
    assert error == (
        "position, in tokens must be a whole number from 0 to 1,048,575; got -1."
    )
    visit.enter(position=1)
    assert visit.sentence.startswith("The row of position 1: 0.8415")
    assert not visit.page.locator(".explorer-error").is_visible()


ENTERED = {
    "tokens": {"text": "naïve 👍"},
    "clock": {"embed_dim": 16, "position": 117},
    "rotary": {"m": 9, "n": 2, "base": 50},
    "wavelengths": {"scaling": False, "base": 20_000},
    "sizes": {"layers": 7, "dtype": "bfloat16"},
    "config": {"preset": "Mistral 7B", "seq": 4096, "dtype": "float32"},
    "words": {"word": "france", "inputs": False},
}
KEPT = """values => {
    const state = new URLSearchParams(location.hash.split("?")[1]);
    return Object.entries(values).every(([name, value]) => state.get(name) === value);
}"""


def shown(visit):
    visit.page.locator(".explorer-ready").wait_for()
    return visit.sentence, visit.text(".explorer-view")


@pytest.mark.parametrize("name", ENTERED)
def test_the_address_of_an_explorer_keeps_what_was_entered(tab, name):
    visit = tab.open(f"book/explore/{name}.html")
    before = shown(visit)
    if name == "rotary":
        visit.page.get_by_role("button", name="another q and k").click()
    visit.enter(**ENTERED[name])
    written = {key: str(value) for key, value in ENTERED[name].items()}
    written |= {key: text.lower() for key, text in written.items() if text == "False"}
    visit.page.wait_for_function(KEPT, arg=written)
    address, after = visit.page.url, shown(visit)
    assert after != before
    visit.page.goto("about:blank")
    visit.page.goto(address)
    assert shown(visit) == after
    assert visit.problems == []


@pytest.mark.parametrize("name", ENTERED)
def test_an_address_pasted_on_the_open_page_is_obeyed(tab, name):
    visit = tab.open(f"book/explore/{name}.html")
    before = shown(visit)
    visit.enter(**ENTERED[name])
    after = shown(visit)
    words = {"True": "true", "False": "false"}
    state = {key: words.get(str(value), value) for key, value in ENTERED[name].items()}
    for address, expected in (("", before), (urlencode(state), after)):
        visit.page.evaluate(
            """hash => new Promise(done => {
                addEventListener("hashchange", () => done(), { once: true });
                location.hash = hash;
            })""",
            f"explore-{name}?{address}",
        )
        assert shown(visit) == expected


def test_every_explorer_is_folded_where_its_chapter_leads_to_it(site):
    found = []
    for path in sorted(site.glob("chapters/*.html")):
        page = BeautifulSoup(path.read_text("utf-8"), "lxml")
        for place in page.select("details.explorer-folded"):
            name = place.select_one("[data-explorer]")["data-explorer"]
            above = place.find_previous_sibling("p")
            assert above.select(f"a[href$='explore/{name}.html']")
            found.append(name)
    assert sorted(found) == sorted(explorers.STILLS)


def test_an_explorer_opens_inside_its_chapter_and_not_before_it_is_asked(tab):
    visit = tab.open("chapters/08_rotary_positions.html")
    loaded = {each.url.rpartition("/")[2].partition("?")[0] for each in visit.asked}
    assert "folded.js" in loaded
    assert not {"kit.js", "rotary.js"} & loaded
    visit.page.locator(".explorer-folded > summary").click()
    visit.page.locator(".explorer-ready").wait_for()
    visit.enter(m=9, n=2)
    start = explorers.START["rotary"]
    q, k = (list(chain.from_iterable(start[name])) for name in "qk")
    expected = score(q, k, 9, 2, float(start["base"]))
    assert number(visit.sentence.split()[-1].rstrip(".")) == pytest.approx(
        expected, abs=6e-5
    )
    visit.page.wait_for_function(KEPT, arg={"m": "9", "n": "2"})
    address, sentence = visit.page.url, visit.sentence
    visit.page.goto("about:blank")
    visit.page.goto(address)
    visit.page.locator(".explorer-ready").wait_for()
    assert visit.sentence == sentence
    visit.open("chapters/08_rotary_positions.html")
    visit.page.evaluate("hash => void (location.hash = hash)", urlsplit(address)[4])
    visit.page.locator(".explorer-ready").wait_for()
    assert visit.sentence == sentence
    assert visit.problems == []


TEXTS = [
    "",
    "Hello world",
    "  leading   and trailing spaces  ",
    "We'll see; they've SHOUTED 'TIS and it's don'T",
    "tabs\tand\n\nline ends\r\n \n x",
    "no\u00a0break\u3000wide\u2028line\ufeffmark\x85next\x0bup",
    "1234567 3.14159 ²³ ½ ٣٤ Ⅷ",
    "naïve café e\u0301 straße ﬁ İstanbul",
    "Привет γειά שלום سلام 世界 こんにちは 안녕 हिन्दी ไทย",
    "👩‍🚀👍🏽🏳️‍🌈 🦙 \U0001d54f",
    "<|endoftext|> is text here",
    "for i in range(10):\n    print(i)  # }{][()",
    "a" * 70 + "!" * 40 + " " * 30,
    " SolidGoldMagikarp StreamerBot",
    "\x00\x01\x7f",
]


def random_texts(count):
    draw = random.Random(0)
    parts = [part for text in TEXTS for part in text]
    return ["".join(draw.choices(parts, k=draw.randrange(30))) for _ in range(count)]


def test_the_tokenizer_is_gpt2s(tab, gpt2):
    visit = tab.open("book/explore/tokens.html")
    texts = TEXTS + random_texts(300)
    shown = visit.page.evaluate(
        """texts => texts.map(text => {
            const place = document.querySelector(".explorer [name=text]");
            place.value = text;
            place.dispatchEvent(new Event("input", { bubbles: true }));
            const tokens = [...document.querySelectorAll(".explorer-tokens button")];
            return tokens.map(t => [t.querySelector("code").textContent, t.dataset.id]);
        })""",
        texts,
    )
    for text, tokens in zip(texts, shown, strict=True):
        text = text.replace("\r\n", "\n").replace("\r", "\n")  # as an input holds it
        expected = show_tokens(gpt2, text)
        assert [int(id) for _, id in tokens] == list(expected.ids), text
        assert [piece for piece, _ in tokens] == list(expected.pieces), text


def test_the_tokenizer_counts(tab, gpt2):
    visit = tab.open("book/explore/tokens.html")
    visit.enter(text="naïve 👍")
    count = len(gpt2.encode("naïve 👍"))
    assert visit.sentence == f"{count} tokens for 7 characters and 11 bytes in UTF-8."
    visit.page.get_by_role("button", name="antidis").click()
    assert visit.sentence == "5 tokens for 28 characters and 28 bytes in UTF-8."


def merges(gpt2, word):
    """Each step of the encoding of a word: what it is called, and its pieces."""
    ranks = {gpt2.decode_single_token_bytes(i): i for i in range(50_256)}
    pieces, note = [bytes([byte]) for byte in f" {word}".encode()], "bytes"
    while note:
        yield note, [piece.decode().replace(" ", "·") for piece in pieces]
        known = {ranks[a + b]: (a, b) for a, b in pairwise(pieces) if a + b in ranks}
        note = known and f"merge {min(known) - 255:,}"
        pieces = known and merge(pieces, known[min(known)])


def test_the_tokenizer_shows_each_merge(tab, gpt2):
    visit = tab.open("book/explore/tokens.html")
    for word in ("lower", "antidisestablishmentarianism", "banana"):
        visit.enter(text=f"first {word}")
        visit.page.locator(".explorer-tokens button").last.click()
        shown = visit.page.locator(".explorer-history li").evaluate_all(
            """steps => steps.map(step => [
                step.querySelector(".explorer-note").innerText,
                [...step.querySelectorAll(".explorer-token")].map(t => t.innerText),
            ])"""
        )
        assert shown == [list(step) for step in merges(gpt2, word)]


def test_a_token_lights_up_in_the_text_and_among_the_boxes(tab):
    visit = tab.open("book/explore/tokens.html")
    visit.enter(text="the 🦙 sleeps")
    lit = visit.page.locator(".explorer-behind .explorer-lit")
    boxes = visit.page.locator(".explorer-tokens button")
    last = boxes.count() - 1
    for i, piece in [(0, "the"), (1, " 🦙"), (last, " sleeps")]:
        boxes.nth(i).hover()
        assert lit.all_text_contents() == [piece]
        boxes.nth(i).focus()
        assert lit.all_text_contents() == [piece]
    spans = visit.page.locator(".explorer-behind span")
    box = spans.last.bounding_box()
    visit.page.mouse.move(box["x"] + 20, box["y"] + 5)
    assert visit.page.locator("button.explorer-lit code").all_inner_texts() == [
        "·sleeps"
    ]
    text = visit.page.locator("[name=text]")
    text.press("Home")
    assert visit.page.locator("button.explorer-lit code").all_inner_texts() == ["the"]


def test_the_tinted_text_lies_behind_the_typed_text(tab):
    visit = tab.open("book/explore/tokens.html")
    visit.enter(text="wide words " * 40)
    typed, behind = (
        visit.page.locator(place).evaluate(
            "e => [e.clientWidth, e.scrollHeight, getComputedStyle(e).font]"
        )
        for place in ("[name=text]", ".explorer-behind")
    )
    assert typed == behind


def test_an_id_is_looked_up(tab, gpt2):
    visit = tab.open("book/explore/tokens.html")
    for id in (0, 255, 318, 50_255):
        visit.enter(id=id)
        text = gpt2.decode_single_token_bytes(id)
        (shown,) = visit.texts(".explorer-found code")
        try:
            assert shown == text.decode().replace(" ", "·")
        except UnicodeDecodeError:
            assert shown == "".join(f"\\x{byte:02x}" for byte in text)
    visit.enter(text="It", id=318)
    visit.page.get_by_role("button", name="add it to the text").click()
    assert visit.value("text") == "It is"
    visit.enter(id=50_257)
    assert "look up an ID must be a whole number" in visit.text(".explorer-error")


def test_the_merges_are_played_one_by_one(standing):
    visit = standing("book/explore/tokens.html")
    steps = visit.page.locator(".explorer-history li")
    height = visit.page.locator(".explorer-history").bounding_box()["height"]
    count = steps.count()
    visit.page.get_by_role("button", name="play the merges").click()
    for shown in range(1, count):
        visible = steps.evaluate_all(
            "all => all.filter(s => s.checkVisibility("
            "{ visibilityProperty: true })).length"
        )
        assert visible == shown
        visit.page.clock.run_for(800)
    assert visit.page.locator(".explorer-later").count() == 0
    assert visit.page.locator(".explorer-history").bounding_box()["height"] == height
    expect(visit.page.get_by_role("button", name="play the merges")).to_be_visible()


ROWS = [(0, 8, 1e4), (1, 2, 1e4), (117, 16, 100.5), (1_048_575, 32, 5e5)]


def test_the_clock_shows_the_row(tab):
    visit = tab.open("book/explore/clock.html")
    for position, embed_dim, base in ROWS:
        visit.enter(position=position, embed_dim=embed_dim, base=base)
        row = sinusoidal_encoding(torch.tensor([position]), embed_dim, base=base)[0]
        shown = torch.tensor(visit.numbers("output"))
        assert_close(shown, row, atol=6e-5, rtol=0)
        assert visit.sentence.count(",") == embed_dim - 1


def product_of_rows(visit):
    return number(visit.text(".explorer-product strong"))


def test_the_clock_multiplies_two_rows(tab):
    visit = tab.open("book/explore/clock.html")
    for (position, embed_dim, base), other in product(ROWS, (0, 12, 200)):
        visit.enter(position=position, other=other, embed_dim=embed_dim, base=base)
        both = torch.tensor([position, other])
        first, second = sinusoidal_encoding(both, embed_dim, base=base).double()
        assert product_of_rows(visit) == pytest.approx(float(first @ second), abs=6e-5)
    before = product_of_rows(visit)
    visit.enter(position=150)
    moved = product_of_rows(visit)
    visit.page.get_by_role("button", name="both one back").click()
    assert moved == product_of_rows(visit) != before


@pytest.fixture(scope="module")
def phone(browser, address):
    phone = Visit(browser, address, viewport=PHONE, has_touch=True, is_mobile=True)
    yield phone
    phone.context.close()


@pytest.mark.parametrize("way", ["mouse", "finger"])
def test_a_hand_goes_where_it_is_pulled(tab, phone, way):
    visit = (tab if way == "mouse" else phone).open("book/explore/clock.html")
    pull = visit.pull if way == "mouse" else visit.pull_with_a_finger
    for i, angle in [(1, 2.0), (2, -1.0), (3, 3.0)]:
        before = int(visit.value("position"))
        rate = 10_000 ** (-2 * i / 8)
        pull(f"position {i}", math.sin(angle), -math.cos(angle))
        position = int(visit.value("position"))
        off = math.remainder(position * rate - angle, 2 * math.pi)
        assert position == 0 or abs(off) <= rate / 2 + 0.01, (i, position)
        assert abs(position - before) <= 2 * math.pi / rate
        assert visit.sentence.startswith(f"The row of position {position}:")
    assert visit.problems == []


def test_a_tap_on_the_table_of_rows_chooses_a_position(phone):
    table = phone.open("book/explore/clock.html").page.locator("[data-name=row]").first
    height = table.bounding_box()["height"]
    table.tap(position={"x": 100, "y": height * 40.5 / 64})
    assert phone.sentence.startswith("The row of position 40:")


def test_keys_turn_a_hand_by_a_minute(tab):
    visit = tab.open("book/explore/clock.html")
    visit.press("position 3", "ArrowRight", "ArrowUp", "ArrowLeft")
    assert int(visit.value("position")) == 5 + round(2 * math.pi * 1000 / 60)
    visit.press("other 0", "ArrowUp", "ArrowUp")
    assert visit.value("other") == "10"
    visit.press("position 3", *["ArrowDown"] * 3)
    assert visit.value("position") == "0"


@pytest.fixture
def standing(browser, address):
    """Opens a page on which time stands still, unless `clock.run_for` moves it."""
    visits = []

    def open_page(name, **options):
        visits.append(Visit(browser, address, **options))
        visits[-1].page.clock.install(time="2026-01-01")
        visits[-1].open(name).page.clock.pause_at("2026-01-02")
        return visits[-1]

    yield open_page
    for visit in visits:
        visit.context.close()


def test_time_passes_on_the_clock_until_it_is_stopped(standing):
    visit = standing("book/explore/clock.html")
    visit.page.get_by_role("button", name="let time pass").click()
    visit.page.clock.run_for(2000)
    assert visit.value("position") == "10"
    visit.page.get_by_role("button", name="stop").click()
    visit.page.clock.run_for(2000)
    assert visit.value("position") == "10"


def test_where_less_motion_is_preferred_each_press_is_a_step(standing):
    visit = standing("book/explore/clock.html", reduced_motion="reduce")
    for position in ("6", "7"):
        visit.page.get_by_role("button", name="let time pass, one step").click()
        visit.page.clock.run_for(2000)
        assert visit.value("position") == position


# Where a finger cannot scroll the page, because it pulls.
TRAPS = """() => [...document.querySelectorAll(".explorer-knob .explorer-grip")]
    .map(grip => grip.getBoundingClientRect())
    .map(({ width, height }) => Math.max(width, height))"""


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_finger_scrolls_the_page_nearly_everywhere(phone, name):
    sizes = phone.open(name).page.evaluate(TRAPS)
    assert max(sizes, default=0) < 50


def score(q, k, m, n, base):
    """Of one query at m and one key at n, by the library."""
    rotary = RotaryPositions(len(q), base=base, layout="pairs")
    both = torch.tensor([q, k])[:, None]  # two tokens, one head
    turned, _ = rotary(both, both, torch.tensor([m, n]))
    return (turned[0] * turned[1]).sum().item()


def shown_vectors(visit):
    """q and k before they turn, as the page of rotations prints them."""
    before = visit.texts("p.explorer-note")[0]
    numbers = [number(x) for x in re.findall(r"[−\d.]+(?=[,)])", before)]
    return numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]


def shown_score(visit):
    return number(visit.sentence.split()[-1].rstrip("."))


def test_the_rotations_give_the_librarys_score(tab):
    visit = tab.open("book/explore/rotary.html")
    for base, (m, n) in product([2.0, 100.0, 1e4], [(0, 0), (7, 4), (4, 7), (23, 1)]):
        visit.enter(base=base, m=m, n=n)
        shown = shown_score(visit)
        expected = score(*shown_vectors(visit), m, n, base)
        assert shown == pytest.approx(expected, abs=6e-5)
        assert sum(visit.numbers("output")) == pytest.approx(shown, abs=3e-4)
        visit.page.get_by_role("button", name="another q and k").click()


def test_a_query_that_is_pulled_keeps_the_librarys_score(tab):
    visit = tab.open("book/explore/rotary.html")
    for name, pair in [("query", 0), ("key", 2)]:
        visit.pull(f"{name} {pair}", -0.3, 0.6)  # up is negative
        across, up = shown_tip(visit, name, pair)
        assert (across, up) == pytest.approx((-0.3, -0.6), abs=0.02)
        expected = score(*shown_vectors(visit), 7, 4, 100.0)
        assert shown_score(visit) == pytest.approx(expected, abs=6e-5)
    visit.press("query 0", "ArrowRight", "ArrowUp")
    assert shown_tip(visit, "query", 0) == pytest.approx((-0.25, -0.55), abs=0.02)


def shown_tip(visit, name, pair):
    knob = visit.page.locator(f'.explorer-knob[data-name="{name} {pair}"]')
    across, up = re.findall(r"[−\d.]+", knob.get_attribute("aria-valuetext"))
    return number(across), number(up)


def test_of_two_tips_the_nearer_is_pulled_and_no_further_than_the_rim(tab):
    visit = tab.open("book/explore/rotary.html")
    query, key = (
        visit.page.locator(f'[data-name="{name} 1"] .explorer-grip').bounding_box()
        for name in ("query", "key")
    )
    assert math.dist((query["x"], query["y"]), (key["x"], key["y"])) < key["width"] / 2
    before = shown_tip(visit, "key", 1)
    visit.pull("query 1", 1.2, 0)
    assert shown_tip(visit, "query", 1) == pytest.approx((1, 0), abs=0.02)
    assert shown_tip(visit, "key", 1) == before


def test_words_of_the_text_are_where_q_and_k_are_pulled(tab):
    visit = tab.open("book/explore/rotary.html")
    places = visit.page.locator("svg[aria-label^='a text'] > text").evaluate_all(
        "all => all.map(word => ['x', 'y'].map(at => Number(word.getAttribute(at))))"
    )
    visit.pull("m", *places[21])
    visit.pull("n", *places[15])
    assert (visit.value("m"), visit.value("n")) == ("21", "15")
    before = visit.sentence
    visit.pull("m", *places[14])
    visit.pull("n", *places[8])
    assert visit.sentence == before  # the distance is the same
    visit.press("m", "ArrowRight", "ArrowRight", "ArrowLeft")
    assert visit.value("m") == "15"


def test_where_k_is_q_the_score_is_largest_at_home_and_the_same_both_ways(tab):
    visit = tab.open("book/explore/rotary.html")
    visit.page.get_by_role("button", name="k = q").click()
    scores = {}
    for m in range(0, 21, 2):
        visit.enter(m=m, n=10)
        scores[m - 10] = shown_score(visit)
    q, _ = shown_vectors(visit)
    assert scores[0] == pytest.approx(sum(x * x for x in q), abs=6e-5)
    assert max(scores.values()) == scores[0]
    assert all(scores[d] == scores[-d] for d in scores)


def test_the_matrix_of_scores_is_constant_along_its_diagonals(tab):
    visit = tab.open("book/explore/rotary.html")
    squares = visit.page.evaluate(
        """() => [...document.querySelectorAll("[data-name=cell] .explorer-heat path")]
            .map(path => [path.getAttribute("d"), path.className.baseVal
                + path.getAttribute("fill-opacity")])"""
    )
    colour = {
        (int(m), int(n)): name
        for path, name in squares
        for n, m in re.findall(r"M(\d+) (\d+)", path)
    }
    assert len(colour) == 24 * 24
    assert len(set(colour.values())) > 5
    assert all(
        colour[m, n] == colour[m + 1, n + 1] for m, n in colour if max(m, n) < 23
    )
    matrix = visit.page.locator("[data-name=cell]").first
    side = matrix.bounding_box()["width"]
    matrix.click(position={"x": side * 2.5 / 24, "y": side * 19.5 / 24})
    assert (visit.value("m"), visit.value("n")) == ("19", "2")


def test_the_score_stays_when_both_move(tab):
    visit = tab.open("book/explore/rotary.html")
    before = visit.sentence
    dials = visit.page.locator(".explorer-dial").first.inner_html()
    for _ in range(5):
        visit.page.get_by_role("button", name="both one on").click()
    assert visit.page.locator("[name=m]").input_value() == "12"
    assert visit.sentence == before
    assert visit.page.locator(".explorer-dial").first.inner_html() != dials
    visit.enter(m=13)
    assert visit.sentence != before


SCALINGS = {
    "Llama 3.1": (500_000.0, 128, 131_072, 8.0, 1.0, 4.0, 8192),
    "Llama 3.2": (500_000.0, 64, 131_072, 32.0, 1.0, 4.0, 8192),
    "another": (10_000.0, 32, 3000, 3.5, 2.0, 5.5, 1000),
}


def llama3(base, head_dim, context, factor, low, high, original):
    rope = {
        "rope_type": "llama3",
        "rope_theta": base,
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }
    sizes = {"hidden_size": head_dim, "num_attention_heads": 1}
    return LlamaConfig(**sizes, max_position_embeddings=context, rope_parameters=rope)


@pytest.mark.parametrize("name", SCALINGS)
def test_the_wavelengths_are_those_of_llama_3(tab, name):
    base, head_dim, context, factor, low, high, original = SCALINGS[name]
    visit = tab.open("book/explore/wavelengths.html")
    visit.enter(base=base, head_dim=head_dim, context=context, scaling=True)
    visit.enter(factor=factor, low=low, high=high, original=original)
    visit.page.locator(".explorer summary").click()
    _, before, band, wavelength, turns = (
        visit.texts(f"tbody td:nth-child({column})") for column in range(1, 6)
    )
    config = llama3(*SCALINGS[name])
    rates = LlamaRotaryEmbedding(config).inv_freq.double()
    unscaled = RotaryPositions(head_dim, base=base).angles.rates
    shown = torch.tensor(list(map(number, wavelength)), dtype=torch.float64)
    assert_close(shown, 2 * math.pi / rates, rtol=2e-5, atol=0)
    shown = torch.tensor(list(map(number, before)), dtype=torch.float64)
    assert_close(shown, 2 * math.pi / unscaled, rtol=1e-5, atol=0)
    ratio = unscaled / rates
    expected = [
        "kept" if r < 1 + 1e-6 else "divided" if r > factor * (1 - 1e-6) else "blended"
        for r in ratio.tolist()
    ]
    assert band == expected
    short = int((2 * math.pi / rates > context).sum())
    assert short == sum(number(count) < 1 for count in turns)
    assert f"{short} of {head_dim // 2} pairs never complete a turn" in visit.sentence
    assert f"{expected.count('blended')} blended" in visit.sentence


def test_a_pair_under_the_mouse_tells_its_wavelength(tab):
    visit = tab.open("book/explore/wavelengths.html")
    visit.enter(preset="Llama 2, 4,096 tokens")
    strips = visit.page.locator(".explorer-chart rect.explorer-grip")
    lengths = 2 * math.pi / RotaryPositions(128, base=10_000.0).angles.rates
    for pair in (3, 50):
        strips.nth(pair).hover(position={"x": 300, "y": 2})
        told, length = visit.text(".explorer-pair"), float(lengths[pair])
        assert told.startswith(f"Pair {pair} comes round every")
        _, shown, turns = (number(x) for x in re.findall(r"[\d,]*\d\.?\d*", told))
        assert shown == pytest.approx(length, rel=1e-5)
        assert turns == pytest.approx(4096 / length, rel=1e-3)
    visit.page.get_by_label("pair, slider").press("ArrowRight")
    assert visit.text(".explorer-pair strong") == "Pair 51"


def test_the_context_and_the_factor_are_pulled(tab):
    visit = tab.open("book/explore/wavelengths.html")
    visit.press("context", "ArrowLeft", "ArrowLeft")
    assert visit.value("context") == "32768"
    visit.press("factor", "ArrowUp")
    assert visit.value("factor") == "9"
    ticks = visit.page.locator(
        ".explorer-chart text", has_text=re.compile("^10+$|,000$")
    )
    places = {
        number(tick.text_content()): float(tick.get_attribute("x"))
        for tick in ticks.all()[:4]
    }
    visit.pull("context", places[1000], 100)
    assert visit.value("context") == "1000"
    rates = LlamaRotaryEmbedding(llama3(500_000.0, 128, 131_072, 9.0, 1.0, 4.0, 8192))
    short = int((2 * math.pi / rates.inv_freq.double() > 1000).sum())
    assert visit.sentence.startswith(f"{short} of 64 pairs never complete a turn")
    decade = places[1000] - places[100]
    slowest = 2 * math.pi / float(RotaryPositions(128, base=5e5).angles.rates[-1])
    visit.pull("factor", places[1000] + decade * math.log10(16 * slowest / 1000), 300)
    assert float(visit.value("factor")) == pytest.approx(16, rel=0.05)


def test_the_edges_of_the_bands_are_named_in_tokens(tab):
    visit = tab.open("book/explore/wavelengths.html")
    visit.enter(original=6000, low=1.5, high=3)
    edges = visit.page.locator(".explorer-chart text").all_text_contents()
    assert {"kept up to 2,000", "divided from 4,000"} <= set(edges)


def test_without_scaling_the_wavelengths_are_the_librarys(tab):
    visit = tab.open("book/explore/wavelengths.html")
    visit.enter(preset="Llama 2, 4,096 tokens")
    visit.page.locator(".explorer summary").click()
    shown = torch.tensor(visit.numbers("tbody td:nth-child(2)"), dtype=torch.float64)
    rates = RotaryPositions(128, base=10_000.0).angles.rates
    assert_close(shown, 2 * math.pi / rates, rtol=1e-5, atol=0)
    assert visit.page.locator(".explorer-band").count() == 0
    visit.enter(scaling=True, low=4)
    assert "low_freq_factor must be below high_freq_factor" in visit.text(
        ".explorer-error"
    )


def test_the_calculator_counts_every_published_model(tab):
    visit = tab.open("book/explore/sizes.html")
    for name, shape in PUBLISHED.items():
        visit.enter(preset=name)
        *parts, total = visit.numbers("table:first-of-type td:nth-child(2)")
        assert parts == list(shape.parameters().values()), name
        assert total == shape.total(), name
    visit.enter(preset="GPT-2 124M")
    assert visit.sentence.startswith("124,439,808 parameters, 497.8 MB in float32")


def test_two_models_stand_side_by_side(tab):
    visit = tab.open("book/explore/sizes.html")
    visit.enter(preset="GPT-2 124M", dtype="bfloat16")
    for name, shape in PUBLISHED.items():
        visit.enter(beside=name)
        shares = visit.numbers("table:first-of-type td:nth-child(4)")[:-1]
        expected = [100 * x / shape.total() for x in shape.parameters().values()]
        assert shares == pytest.approx(expected, abs=0.051), name
        weights = visit.texts("table:last-of-type td:nth-child(4)")[0]
        size, unit = weights.split()
        assert float(size.replace(",", "")) * {"MB": 1e6, "GB": 1e9, "TB": 1e12}[
            unit
        ] == pytest.approx(shape.bytes("bfloat16"), rel=6e-4)


def test_the_memory_of_two_models_is_held_against_graphics_cards(tab):
    visit = tab.open("book/explore/sizes.html")
    visit.enter(preset="Llama 2 7B", beside="Llama 2 70B", dtype="bfloat16")
    visit.enter(optimizer="none, the model only runs", seq=4096, batch=1)
    own, other = visit.texts(".explorer-against .explorer-row .explorer-note")
    assert own.endswith("fits in 24 GB")
    assert other.endswith("takes 2 cards of 80 GB")
    slider = visit.page.get_by_label("texts at once (batch), slider")
    for _ in range(4):
        slider.press("ArrowRight")
    assert visit.value("batch") == "16"
    assert visit.texts(".explorer-against .explorer-note")[0].endswith("fits in 80 GB")
    ends = visit.page.locator(".explorer-card").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect().right)"
    )
    box = visit.page.locator(".explorer-against").bounding_box()
    scale = (ends[1] - box["x"]) / 80
    assert ends[0] - box["x"] == pytest.approx(24 * scale, abs=1)


AMOUNTS = "table:last-of-type td:nth-child(2)"


def test_the_calculator_counts_bytes(tab):
    visit = tab.open("book/explore/sizes.html")
    shape = PUBLISHED["Llama 2 70B"]
    visit.enter(preset="Llama 2 70B", batch=3, seq=4096)
    for dtype in BYTES:
        visit.enter(dtype=dtype, optimizer="AdamW, mixed precision")
        weights, vectors, cache, *training = visit.numbers(AMOUNTS)
        assert weights == shape.bytes(dtype)
        assert vectors == shape.input_bytes(3, 4096, dtype)
        with_cache, without = (
            shape.bytes_moved(1, offset, dtype)["blocks"] for offset in (4096, 0)
        )
        assert cache == 3 * (with_cache - without)
        expected = list(shape.training_bytes().values())
        assert training == [*expected, sum(expected)]
    visit.enter(optimizer="AdamW, float32")
    *_, training = visit.numbers(AMOUNTS)
    assert training == sum(shape.training_bytes(mixed=False).values())
    visit.enter(optimizer="none, the model only runs")
    assert len(visit.texts("table:last-of-type tbody tr")) == 3


def test_the_calculator_refuses_heads_that_do_not_divide(tab):
    visit = tab.open("book/explore/sizes.html")
    visit.enter(heads=7)
    assert "embed_dim must be a multiple of heads" in visit.text(".explorer-error")
    visit.enter(heads=12, kv_heads=5)
    assert "heads must be a multiple of kv_heads" in visit.text(".explorer-error")
    visit.enter(kv_heads=None, layers="")
    assert visit.text(".explorer-error") == (
        "layers must be a whole number from 1 to 10,000; got nothing."
    )


# The kinds of layers that the reader shows: each heading, each rotation, each pair.
TURNS = """file => {
    const place = document.querySelector(".explorer [name=config]");
    place.value = file;
    place.dispatchEvent(new Event("input", { bubbles: true }));
    const error = document.querySelector(".explorer-error");
    const cells = (part, rows) => [...part.querySelectorAll(`${rows} tbody tr`)]
        .map(row => [...row.cells].map(cell => cell.textContent));
    return {
        error: error.hidden ? null : error.textContent,
        kinds: [...document.querySelectorAll(".explorer section")].map(part => ({
            heading: part.querySelector("h2").textContent,
            rotation: Object.fromEntries(cells(part, "section > table")),
            pairs: cells(part, "details table"),
        })),
    };
}"""


def layers_named(heading):
    """The layers of "3 of 5 layers: 0–1, 4"."""
    parts = [part.split("–") for part in heading.partition(": ")[2].split(", ")]
    return [n for part in parts for n in range(int(part[0]), int(part[-1]) + 1)]


def assert_the_reader_says(shown, config):
    kinds = configurations.kinds(config)
    assert len(shown) == len(kinds)
    for (turning, layers), part in zip(kinds.items(), shown, strict=True):
        if len(kinds) > 1:
            assert layers_named(part["heading"]) == layers
        else:
            assert part["heading"] == "Every layer"
        if turning is None:
            assert part["pairs"] == []
            continue
        longest = configurations.longest_text(config)
        rotary = rotary_from_config(config, layer=layers[0], seq=longest)
        rates = torch.tensor([number(cells[1]) for cells in part["pairs"]])
        assert_close(rates.double(), rotary.angles.rates, rtol=1e-5, atol=0)
        said = part["rotation"]
        assert said["type"] == turning.scaling
        assert number(said["base"]) == turning.base
        features = f"{turning.rotary_dim} of {turning.head_dim}"
        assert said["features that turn"] == features
        assert said["a pair is in"] == turning.layout
        assert number(said["queries and keys grow by"]) == pytest.approx(
            turning.growth, rel=1e-5
        )
        assert number(said["slowest wave, in tokens"]) == pytest.approx(
            turning.slowest, rel=1e-5
        )


def test_the_reader_of_configurations_says_what_the_library_says(tab):
    visit = tab.open("book/explore/config.html")
    before = len(visit.asked)
    for name, row in configurations.published().items():
        visit.enter(preset=name)
        text = visit.page.locator("[name=config]").input_value()
        shown = visit.page.evaluate(TURNS, text)
        assert shown["error"] is None, name
        config = json.loads(text)
        assert config.items() >= row["config"].items(), name
        assert_the_reader_says(shown["kinds"], config)
    assert len(visit.asked) == before  # nothing left the page
    assert visit.problems == []


def keys_of(config):
    inner = [keys_of(value) for value in config.values() if isinstance(value, dict)]
    return {*config}.union(*inner)


# Without these a file is of no layer, or of nothing.
WHOLE = {"text_config", "num_hidden_layers", "n_layer"}


def test_the_reader_refuses_a_file_where_the_library_does(tab):
    visit = tab.open("book/explore/config.html")
    refused = 0
    for name, row in configurations.published().items():
        for key in sorted(keys_of(row["config"]) - WHOLE):
            less = without(row["config"], key)
            shown = visit.page.evaluate(TURNS, json.dumps(less))
            try:
                configurations.kinds(less)
            except ValueError:
                refused += 1
                assert shown["error"], f"{name} without {key}"
            else:
                assert shown["error"] is None, f"{name} without {key}"
                assert_the_reader_says(shown["kinds"], less)
    assert refused > 50


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("Phi-2", {"partial_rotary_factor": 0}, "partial_rotary_factor must be above"),
        ("Phi-2", {"partial_rotary_factor": 0.01}, "rotary_dim must be even"),
        ("Phi-2", {"model_type": "phi-msft"}, "model_type must be .*; got 'phi-msft'"),
        ("Phi-2", {"hidden_size": "big"}, "hidden_size must be numeric; got 'big'"),
        ("Llama 2 7B", {"rope_theta": 1}, "rope_theta must be above 1; got 1"),
        ("Llama 2 7B", {"rope_theta": "1e4"}, "rope_theta must be numeric"),
        ("Llama 2 7B", {"rope_scaling": 4}, "rope_scaling must hold keys .*; got 4"),
        (
            "Hunyuan 7B",
            {"rope_scaling": {"type": "xdrope"}},
            "rope_type .*got 'xdrope'",
        ),
        ("Qwen3 0.6B", {"rope_scaling": {"long_mscale": 1.2}}, "got long_mscale"),
        (
            "Qwen3 0.6B",
            {"rope_scaling": {"factor": 4}},
            "rope_type must be given",
        ),
        ("Qwen3 0.6B", {"num_hidden_layers": 2.5}, "num_hidden_layers must be a whole"),
        ("Gemma 3 1B", {"sliding_window_pattern": "L"}, "window_pattern must be a who"),
        (
            "Llama 3.1 8B",
            {"rope_scaling": {"type": "llama3", "factor": 8}},
            "'llama3' must have the keys .*; this one lacks low_freq_factor, high_f",
        ),
        (
            "Llama 3.1 8B",
            {"rope_scaling": {"type": "linear", "factor": 0.5}},
            "factor must be at least 1, because rates only become slower; got 0.5",
        ),
        (
            "Qwen2.5 3B",
            {"rope_scaling": {"type": "yarn", "factor": 4, "mscale": 1}},
            "mscale and mscale_all_dim must stand together",
        ),
    ],
)
def test_the_reader_names_the_key_that_it_cannot_read(tab, name, change, message):
    visit = tab.open("book/explore/config.html")
    config = configurations.published()[name]["config"] | change
    shown = visit.page.evaluate(TURNS, json.dumps(config))
    assert re.search(message, shown["error"])


def test_without_a_number_of_layers_each_type_is_shown(tab):
    visit = tab.open("book/explore/config.html")
    config = without(
        configurations.published()["Gemma 3 1B"]["config"], "num_hidden_layers"
    )
    shown = visit.page.evaluate(TURNS, json.dumps(config))["kinds"]
    assert [part["heading"] for part in shown] == [
        "full_attention",
        "sliding_attention",
    ]
    for part in shown:
        rotary = rotary_from_config(config, layer=part["heading"])
        assert number(part["rotation"]["base"]) == rotary.base


def test_what_is_not_a_file_is_no_riddle(tab):
    visit = tab.open("book/explore/config.html")
    visit.enter(config='{"model_type": }')
    assert visit.text(".explorer-error").startswith("config.json must be JSON, and")
    visit.enter(config="[1, 2]")
    assert visit.text(".explorer-error").startswith("config.json must hold keys in")
    visit.enter(config='{"model_type": "llama", "head_dim": 8}')
    assert "the file names no length" in visit.sentence


def test_the_reader_counts_the_table_as_the_library_does(tab):
    visit = tab.open("book/explore/config.html")
    for name, sized in config_reader.SIZED.items():
        shape = PUBLISHED[sized]
        visit.enter(preset=name, dtype="float16")
        bill = visit.page.locator("table", has_text="The bill of the table")
        rows = bill.locator("tbody tr").all()
        said = {
            row.locator("td").first.inner_text(): row.locator("td").last.inner_text()
            for row in rows
        }
        parts = shape.parameters()
        table_and_head = parts["token table"] + parts["head"]
        assert number(said["rows, vocab_size"]) == shape.vocab_size
        assert number(said["numbers in a row, hidden_size"]) == shape.embed_dim
        assert number(said["parameters of table and head"]) == table_and_head
        assert number(said["parameters of the whole model"]) == shape.total()
        assert number(said["share of table and head"]) == pytest.approx(
            100 * table_and_head / shape.total(), rel=5e-3
        )
        gigabytes, unit = said["bytes in float16"].split()
        size = {"MB": 1e6, "GB": 1e9}[unit] * number(gigabytes)
        assert size == pytest.approx(2 * table_and_head, rel=1e-3)


def test_each_key_leads_to_the_chapter_that_explains_it(tab, site):
    visit = tab.open("book/explore/config.html")
    visit.enter(preset="DeepSeek-V3")
    keys = set(visit.texts(".explorer-keys code"))
    assert keys >= keys_of(configurations.published()["DeepSeek-V3"]["config"])
    links = visit.page.locator(".explorer-keys a").evaluate_all(
        "all => all.map(a => [a.textContent, new URL(a.href).pathname])"
    )
    assert len(links) > 10
    for name, path in links:
        assert (site.parent / path.lstrip("/")).is_file(), path
        assert f"/{name.removeprefix('chapter ').zfill(2)}_" in path


ANSWER, C_ALONE, B_PLUS_C, NEAR = 1, 2, 3, 4


def answers(visit, which):
    words = visit.texts(f".explorer-list:nth-of-type({which}) .explorer-word")
    cosines = visit.numbers(f".explorer-list:nth-of-type({which}) output")
    return list(zip(words, cosines, strict=True))


QUESTIONS = [
    ("man", "king", "woman"),
    ("france", "paris", "italy"),
    ("walk", "walked", "play"),
    ("man", "doctor", "woman"),
]


def test_the_words_answer_as_the_library_does(tab):
    visit = tab.open("book/explore/words.html")
    full = explorers.trained_words()
    stored = WordVectors(full.words, explorers.whole_rows(full).float())

    def expected(vectors, k):
        return (
            vectors.nearest(b, k=k),
            vectors.analogy(a, b, c, exclude_inputs=not inputs, k=k),
        )

    for (a, b, c), inputs in product(QUESTIONS, [True, False]):
        visit.enter(word=b, a=a, b=b, c=c, inputs=inputs)
        shown = answers(visit, NEAR), answers(visit, ANSWER)
        for vectors, margin in ((stored, 0.0051), (full, 0.025)):
            for list_shown, all_cosines in zip(
                shown, expected(vectors, 200), strict=True
            ):
                cosine_of = dict(all_cosines)
                assert len(list_shown) == 8
                for word, cosine in list_shown:
                    assert cosine == pytest.approx(cosine_of[word], abs=margin)
        for list_shown, best in zip(shown, expected(stored, 8), strict=True):
            assert [word for word, _ in list_shown] == [word for word, _ in best]


def test_an_unknown_word_is_explained(tab):
    visit = tab.open("book/explore/words.html")
    visit.enter(word="Sesquipedalian")
    assert "words must be among the" in visit.text(".explorer-error")
    visit.enter(word=" Monday ")
    assert visit.sentence.startswith("Nearest to")
    assert answers(visit, NEAR)[0][0] == "tuesday"


def test_the_step_is_pulled_and_stands_beside_its_controls(tab):
    visit = tab.open("book/explore/words.html")
    full = explorers.trained_words()
    rows = WordVectors(full.words, explorers.whole_rows(full).float()).unit_rows
    a, b, c = (rows[full.row_of[word]] for word in ("man", "king", "woman"))

    def best(target):
        cosines = rows @ (target / target.norm())
        return [full.words[row] for row in cosines.topk(8).indices.tolist()]

    def seen(which):
        return [word for word, _ in answers(visit, which)]

    assert seen(C_ALONE) == best(c)
    first, *others = answers(visit, B_PLUS_C)  # b and c are equally near to b + c
    assert {first[0], others[0][0]} == {"king", "woman"}
    assert first[1] == others[0][1]
    assert [word for word, _ in others[1:]] == best(b + c)[2:]
    home, corner = (
        visit.page.locator(".explorer-step").last.evaluate(
            f"e => e.x{end}.baseVal.value"
        )
        for end in (1, 2)
    )
    for times in (0.5, 0.0, 1.5, 1.0):
        visit.pull("tip", home + times * (corner - home), 100)
        assert float(visit.value("step")) == times
        assert seen(ANSWER) == best(c + times * (b - a))
    visit.press("tip", "ArrowLeft", "ArrowDown")
    assert float(visit.value("step")) == 0.9


def test_the_step_is_drawn_to_scale(tab):
    visit = tab.open("book/explore/words.html")
    full = explorers.trained_words()
    rows = WordVectors(full.words, explorers.whole_rows(full).float()).unit_rows
    a, b, c = (rows[full.row_of[word]] for word in ("man", "king", "woman"))
    dots = visit.page.locator("svg .explorer-whole").evaluate_all(
        "all => all.map(e => [e.cx.baseVal.value, e.cy.baseVal.value])"
    )
    scale = math.dist(dots[0], dots[1]) / float((b - a).norm())
    for (i, x), (j, y) in [((0, a), (2, c)), ((1, b), (2, c))]:
        drawn = math.dist(dots[i], dots[j])
        assert drawn == pytest.approx(scale * float((x - y).norm()), rel=1e-4)


def test_a_page_is_printed_with_the_figures_that_nobody_came_near(
    browser, address, tmp_path
):
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/chapters/08_rotary_positions.html")
    figures = page.locator('.cell_output img[loading="lazy"]').count()
    page.pdf(path=tmp_path / "page.pdf")
    page.close()
    with pikepdf.open(tmp_path / "page.pdf") as file:
        drawn = sum(len(printed.get_images()) for printed in file.pages)
    assert drawn >= figures > 1


def test_the_printed_book_has_numbers_formulas_and_its_own_links(
    browser, site, tmp_path
):
    chapter = "chapters/07_sinusoidal_positions"
    part = {"caption": "Where am I?", "chapters": [{"file": chapter}]}
    toc = {"format": "jb-book", "root": "book/intro", "parts": [part]}
    book = pdf.Book(site, parse_toc_data(toc))
    starts = pdf.starts_of(pdf.print_page(browser, book.html({}), tmp_path))
    first, last = (starts[pdf.anchor(chapter, place)] for place in ("", "figure-7-4"))
    assert 2 < first < last
    assert f"<span>{first}</span>" in book.contents(starts)
    with pikepdf.open(tmp_path / "book.pdf") as file:
        assert len(file.pages) > last
        fonts = {
            str(font.get("/BaseFont"))  # Type 3 fonts, of drawings, have no name
            for page in file.pages
            for font in page.Resources.get("/Font", {}).values()
        }
        assert any("STIXTwoMath" in name for name in fonts)
        title = str(file.Root.Outlines.First.Title)
    assert title == "How Text Enters a Language Model"
    links = BeautifulSoup(book.html(starts), "html.parser").select("a[href]")
    inner = {link["href"][1:] for link in links if link["href"][0] == "#"}
    assert inner <= starts.keys()
    assert not [link for link in links if link["href"].startswith("file:")]


# Of each figure, how far its proportions are from those it was drawn with.
SQUASHED = """() => [...document.querySelectorAll(".cell_output img")].map(figure =>
    Math.abs(figure.width / figure.height
        / (figure.naturalWidth / figure.naturalHeight) - 1))"""


def test_the_epub_lists_its_chapters_and_keeps_the_shape_of_figures(browser, tmp_path):
    chapter = "chapters/07_sinusoidal_positions"
    part = {"caption": "Where am I?", "chapters": [{"file": chapter}]}
    toc = {"format": "jb-book", "root": "book/intro", "parts": [part]}
    (tmp_path / "toc.yml").write_text(json.dumps(toc), "utf-8")
    options = ["--builder", "custom", "--custom-builder", "epub"]
    build(tmp_path, "--toc", tmp_path / "toc.yml", *options)
    book = tmp_path / "_build" / "epub"
    contents = BeautifulSoup((book / "nav.xhtml").read_text("utf-8"), "html.parser")
    places = [link["href"] for link in contents.select("a[href]")]
    assert places == ["book/intro.xhtml", f"{chapter}.xhtml"]
    assert "unknown" not in (book / "content.opf").read_text("utf-8")
    page = browser.new_page(viewport=PHONE)
    page.set_default_timeout(PATIENCE)
    page.goto((book / f"{chapter}.xhtml").as_uri())
    changes = page.evaluate(SQUASHED)
    page.close()
    assert len(changes) > 1
    assert max(changes) < 0.02
