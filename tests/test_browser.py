"""The built site in a real browser: every page complete, accessible, and true.

The site is served from a folder below the root, as a course would serve it, and every
other host is blocked. What the explorers show is compared with the library.
"""

import functools
import http.server
import math
import os
import random
import re
import shutil
import threading
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright
from sphinx_external_toc.parsing import parse_toc_yaml
from torch.testing import assert_close
from transformers.models.llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from book._ext import explorers
from embeddings_lib.analogy import WordVectors
from embeddings_lib.rotary import RotaryPositions
from embeddings_lib.show import COLOURS, show_tokens
from embeddings_lib.sinusoidal import sinusoidal_encoding
from embeddings_lib.sizing import BYTES, PUBLISHED
from embeddings_lib.tokenizer import merge
from tests.notebooks import ROOT

DESK = {"width": 1300, "height": 900}
PHONE = {"width": 390, "height": 844}
LISTED = list(parse_toc_yaml(ROOT / "_toc.yml"))
PAGES = [f"{name}.html" for name in (*LISTED, "search", "genindex")]
EXPLORERS = [f"book/explore/{name}.html" for name in explorers.STILLS]
FLAGS = [
    "--no-sandbox",  # for root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, names)), None)
        path = path or playwright.chromium.executable_path
        if not Path(path).exists():
            reason = (
                "NO BROWSER: the site's own tests did not run. Install Chromium, or "
                "run `python -m playwright install chromium`"
            )
            # Where every test must run, a missing browser is a failure.
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
        yield playwright.chromium.launch(executable_path=path, args=FLAGS)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    """The site's address: its folder lies below the root of the server."""
    handler = functools.partial(Quiet, directory=site.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{site.name}"
        server.shutdown()


class Visit:
    """A page of the site, and everything that went wrong on it."""

    def __init__(self, browser, address, name, until="networkidle", **options):
        self.problems = []
        self.name = name
        options = {"viewport": DESK, "color_scheme": "light"} | options
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(20_000)
        self.context.route(
            lambda url: not url.startswith((address, "data:", "blob:")), self.block
        )
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self.listen)
        self.page.on("requestfailed", lambda r: self.problems.append(f"failed {r.url}"))
        self.page.on("response", self.check)
        self.page.goto(f"{address}/{name}", wait_until=until)
        if name in EXPLORERS and options.get("java_script_enabled", True):
            self.page.locator(".explorer-ready").wait_for()

    def block(self, route):
        self.problems.append(f"another host: {route.request.url}")
        route.abort()

    def listen(self, message):
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def check(self, response):
        if response.status >= 400:
            self.problems.append(f"{response.status} {response.url}")

    def enter(self, **values):
        for name, value in values.items():
            place = self.page.locator(f".explorer [name={name}]")
            if isinstance(value, bool):
                place.set_checked(value)
            elif place.evaluate("place => place.tagName") == "SELECT":
                place.select_option(str(value))
            else:
                place.fill("" if value is None else str(value))

    def text(self, selector):
        return self.page.locator(f".explorer {selector}").inner_text()

    def texts(self, selector):
        return self.page.locator(f".explorer {selector}").all_inner_texts()

    def numbers(self, selector):
        return [number(text) for text in self.texts(selector)]

    @property
    def sentence(self):
        return self.text(".explorer-sentence")


def number(text):
    return float(text.replace("−", "-").replace(",", "").removesuffix(" %"))


@pytest.fixture(scope="module", params=PAGES)
def visit(request, browser, address):
    visit = Visit(browser, address, request.param)
    yield visit
    visit.context.close()


def test_a_page_is_complete(visit):
    assert visit.problems == []
    page = visit.page
    assert page.locator("h1:visible").count() >= 1
    formulas = page.locator(".math").count()
    assert page.locator(".math mjx-container").count() == formulas
    assert page.locator("mjx-merror").count() == 0


# axe-core takes 20 s for thousands of coloured pieces of code: one of each is kept.
THIN = """() => {
    const seen = new Set();
    for (const piece of document.querySelectorAll("pre span[class]")) {
        if (seen.has(piece.className)) piece.replaceWith(...piece.childNodes);
        else seen.add(piece.className);
    }
    document.querySelectorAll("pre").forEach(code => code.normalize());
}"""


def violations(page, **options):
    page.evaluate(THIN)
    page.wait_for_function("document.getAnimations().length === 0")  # of colours
    found = Axe().run(page, options={"resultTypes": ["violations"]} | options)
    return found.generate_report() if found.violations_count else ""


def test_a_page_is_accessible(visit):
    assert violations(visit.page) == ""


def test_a_page_is_as_readable_in_the_dark(visit):
    visit.page.emulate_media(color_scheme="dark")
    visit.page.locator("html[data-theme=dark]").wait_for()
    assert violations(visit.page, runOnly=["color-contrast"]) == ""
    visit.page.emulate_media(color_scheme="light")
    visit.page.locator("html[data-theme=light]").wait_for()


def test_a_page_prints_its_answers(visit):
    hidden = "details > :not(summary)"
    visit.page.emulate_media(media="print", color_scheme="light")
    for answer in visit.page.locator(hidden).all():
        assert answer.bounding_box()["height"] > 0
    visit.page.emulate_media(media="screen")


def test_a_page_fits_a_phone(visit):
    visit.page.set_viewport_size(PHONE)
    width = visit.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]


@pytest.mark.parametrize("name", ["chapters/07_rotary_positions.html", *EXPLORERS])
def test_a_page_opens_from_a_file(browser, site, name):
    visit = Visit(browser, site.as_uri(), name)
    assert visit.problems == []
    assert visit.page.locator("mjx-merror").count() == 0
    visit.context.close()


@pytest.fixture
def open_page(browser, address):
    """Open a page of the site; it is closed at the end of the test."""
    opened = []

    def open_page(name, **options):
        opened.append(Visit(browser, address, name, until="load", **options))
        return opened[-1]

    yield open_page
    for visit in opened:
        visit.context.close()


def test_a_reader_goes_from_page_to_page(open_page):
    page = open_page("book/intro.html").page
    for name in LISTED[1:4]:
        page.locator("a.right-next").click()
        page.wait_for_url(f"**/{name}.html")
    page.locator("a.left-prev").click()
    page.wait_for_url(f"**/{LISTED[2]}.html")
    page.locator("nav[aria-label=Main] a", has_text="Rotary positions").click()
    page.wait_for_url("**/07_rotary_positions.html")
    page.locator("nav[aria-label=Cover] a").click()
    page.wait_for_url("**/book/intro.html")


def test_search_finds_rope(open_page):
    page = open_page("search.html?q=RoPE").page
    first = page.locator("#search-results ul.search li a").first
    first.wait_for()
    found = page.locator("#search-results ul.search li a").all_inner_texts()
    assert any("Rotary positions" in title for title in found)


def test_an_answer_opens_with_mouse_and_keyboard(open_page):
    page = open_page("chapters/07_rotary_positions.html").page
    question = page.locator("details", has_text="Answer").first
    answer = question.locator(":scope > p").first
    expect(answer).to_be_hidden()
    question.locator("summary").click()
    expect(answer).to_be_visible()
    question.locator("summary").press("Enter")
    expect(answer).to_be_hidden()


def test_a_reader_chooses_the_dark(open_page):
    page = open_page("book/notation.html").page

    def background():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = background()
    button = page.locator("button.theme-switch-button:visible")
    while page.locator("html[data-mode=dark]").count() == 0:
        button.click()
    assert background() != light
    page.reload()
    assert page.locator("html[data-theme=dark]").count() == 1


# The explorers


def test_the_colours_are_those_of_the_figures(open_page):
    page = open_page("book/explore/clock.html").page
    shown = page.evaluate(
        "Array.from({length: 6}, (_, i) => getComputedStyle(document.documentElement)"
        ".getPropertyValue(`--explorer-${i}`))"
    )
    assert [colour.upper() for colour in shown] == COLOURS


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_still_figure_stands_in_without_scripts(open_page, name):
    page = open_page(name, java_script_enabled=False).page
    box = page.locator(".explorer-still").bounding_box()
    assert box["width"] > 300
    assert box["height"] > 50


def test_an_explorer_works_with_the_keyboard_and_is_read_aloud(open_page):
    visit = open_page("book/explore/rotary.html")
    slider = visit.page.get_by_label("m, position of the query, slider")
    slider.press("ArrowRight")
    assert visit.page.locator("[name=m]").input_value() == "8"
    assert visit.sentence.startswith("m − n = 4,")
    expect(visit.page.locator(".explorer [role=status]")).to_have_text(visit.sentence)


def test_an_input_out_of_range_is_explained(open_page):
    visit = open_page("book/explore/clock.html")
    visit.enter(position=-1)
    error = visit.text(".explorer-error")
    assert error == (
        "position, in tokens must be a whole number from 0 to 1,048,575; got -1."
    )
    visit.enter(position=1)
    assert visit.sentence.startswith("The row of position 1: 0.8415")
    assert not visit.page.locator(".explorer-error").is_visible()


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


def test_the_tokenizer_is_gpt2s(open_page, gpt2):
    visit = open_page("book/explore/tokens.html")
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


def test_the_tokenizer_counts(open_page, gpt2):
    visit = open_page("book/explore/tokens.html")
    visit.enter(text="naïve 👍")
    count = len(gpt2.encode("naïve 👍"))
    assert visit.sentence == f"{count} tokens for 7 characters and 11 bytes in UTF-8."
    visit.page.get_by_role("button", name="antidis").click()
    assert visit.sentence == "5 tokens for 28 characters and 28 bytes in UTF-8."


@pytest.mark.parametrize("word", ["lower", "antidisestablishmentarianism", "banana"])
def test_the_tokenizer_shows_each_merge(open_page, gpt2, word):
    visit = open_page("book/explore/tokens.html")
    visit.enter(text=f"first {word}")
    visit.page.locator(".explorer-tokens button").last.click()
    ranks = {gpt2.decode_single_token_bytes(i): i for i in range(50_256)}
    pieces, note = [bytes([byte]) for byte in f" {word}".encode()], "bytes"
    for step in visit.page.locator(".explorer-history li").all():
        shown = step.locator(".explorer-token").all_inner_texts()
        assert shown == [piece.decode().replace(" ", "·") for piece in pieces]
        assert step.locator(".explorer-note").inner_text() == note
        known = {ranks[a + b]: (a, b) for a, b in pairwise(pieces) if a + b in ranks}
        if known:
            note = f"merge {min(known) - 255:,}"
            pieces = merge(pieces, known[min(known)])
    assert not known


@pytest.mark.parametrize(
    ("position", "embed_dim", "base"),
    [(0, 8, 1e4), (1, 2, 1e4), (117, 16, 100.5), (1_048_575, 32, 5e5)],
)
def test_the_clock_shows_the_row(open_page, position, embed_dim, base):
    visit = open_page("book/explore/clock.html")
    visit.enter(position=position, embed_dim=embed_dim, base=base)
    row = sinusoidal_encoding(torch.tensor([position]), embed_dim, base=base)[0]
    shown = torch.tensor(visit.numbers("output"))
    assert_close(shown, row, atol=6e-5, rtol=0)
    assert visit.sentence.count(",") == embed_dim - 1


def score(q, k, m, n, base):
    """Of one query at m and one key at n, by the library."""
    rotary = RotaryPositions(len(q), base=base, layout="pairs")
    both = torch.tensor([q, k])[:, None]  # two tokens, one head
    turned, _ = rotary(both, both, torch.tensor([m, n]))
    return (turned[0] * turned[1]).sum().item()


@pytest.mark.parametrize("base", [2.0, 100.0, 1e4])
def test_the_rotations_give_the_librarys_score(open_page, base):
    visit = open_page("book/explore/rotary.html")
    visit.enter(base=base)
    for m, n in [(0, 0), (7, 4), (4, 7), (60, 1)]:
        visit.enter(m=m, n=n)
        before = visit.texts("p.explorer-note")[0]
        vectors = re.findall(r"[−\d.]+(?=[,)])", before)
        q, k = torch.tensor([number(x) for x in vectors]).chunk(2)
        shown = number(visit.sentence.split()[-1].rstrip("."))
        expected = score(q.tolist(), k.tolist(), m, n, base)
        assert shown == pytest.approx(expected, abs=6e-5)
        assert sum(visit.numbers("output")) == pytest.approx(shown, abs=3e-4)
        visit.page.get_by_role("button", name="another q and k").click()


def test_the_score_stays_when_both_move(open_page):
    visit = open_page("book/explore/rotary.html")
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


@pytest.mark.parametrize("name", SCALINGS)
def test_the_wavelengths_are_those_of_llama_3(open_page, name):
    base, head_dim, context, factor, low, high, original = SCALINGS[name]
    visit = open_page("book/explore/wavelengths.html")
    visit.enter(base=base, head_dim=head_dim, context=context, scaling=True)
    visit.enter(factor=factor, low=low, high=high, original=original)
    visit.page.locator(".explorer summary").click()
    _, before, band, wavelength, turns = (
        visit.texts(f"tbody td:nth-child({column})") for column in range(1, 6)
    )
    rope = {
        "rope_type": "llama3",
        "rope_theta": base,
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }
    sizes = {"hidden_size": head_dim, "num_attention_heads": 1}
    config = LlamaConfig(**sizes, max_position_embeddings=context, rope_parameters=rope)
    rates = LlamaRotaryEmbedding(config).inv_freq.double()
    unscaled = RotaryPositions(head_dim, base=base).waves.rates
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


def test_without_scaling_the_wavelengths_are_the_librarys(open_page):
    visit = open_page("book/explore/wavelengths.html")
    visit.enter(preset="Llama 2, 4,096 tokens")
    visit.page.locator(".explorer summary").click()
    shown = torch.tensor(visit.numbers("tbody td:nth-child(2)"), dtype=torch.float64)
    rates = RotaryPositions(128, base=10_000.0).waves.rates
    assert_close(shown, 2 * math.pi / rates, rtol=1e-5, atol=0)
    assert visit.page.locator(".explorer-band").count() == 0
    visit.enter(scaling=True, low=4)
    assert "low_freq_factor must be below high_freq_factor" in visit.text(
        ".explorer-error"
    )


def test_the_calculator_counts_every_published_model(open_page):
    visit = open_page("book/explore/sizes.html")
    for name, shape in PUBLISHED.items():
        visit.enter(preset=name)
        *parts, total = visit.numbers("table:first-of-type td:nth-child(2)")
        assert parts == list(shape.parameters().values()), name
        assert total == shape.total(), name
    visit.enter(preset="GPT-2 124M")
    assert visit.sentence.startswith("124,439,808 parameters, 497.8 MB in float32")


@pytest.mark.parametrize("dtype", BYTES)
def test_the_calculator_counts_bytes(open_page, dtype):
    visit = open_page("book/explore/sizes.html")
    shape = PUBLISHED["Llama 2 70B"]
    visit.enter(preset="Llama 2 70B", dtype=dtype, batch=3, seq=4096)
    weights, vectors, cache, *training = visit.numbers(
        "table:last-of-type td:nth-child(2)"
    )
    assert weights == shape.bytes(dtype)
    assert vectors == shape.input_bytes(3, 4096, dtype)
    with_cache, without = (
        shape.bytes_moved(1, offset, dtype)["blocks"] for offset in (4096, 0)
    )
    assert cache == 3 * (with_cache - without)
    expected = list(shape.training_bytes().values())
    assert training == [*expected, sum(expected)]
    visit.enter(optimizer="AdamW, float32")
    *_, training = visit.numbers("table:last-of-type td:nth-child(2)")
    assert training == sum(shape.training_bytes(mixed=False).values())
    visit.enter(optimizer="none, the model only runs")
    assert len(visit.texts("table:last-of-type tbody tr")) == 3


def test_the_calculator_refuses_heads_that_do_not_divide(open_page):
    visit = open_page("book/explore/sizes.html")
    visit.enter(heads=7)
    assert "embed_dim must be a multiple of heads" in visit.text(".explorer-error")
    visit.enter(heads=12, kv_heads=5)
    assert "heads must be a multiple of kv_heads" in visit.text(".explorer-error")
    visit.enter(kv_heads=None, layers="")
    assert visit.text(".explorer-error") == (
        "layers must be a whole number from 1 to 10,000; got nothing."
    )


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


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
@pytest.mark.parametrize("inputs", [True, False])
def test_the_words_answer_as_the_library_does(open_page, question, inputs):
    visit = open_page("book/explore/words.html")
    full = explorers.trained_words()
    stored = WordVectors(full.words, explorers.whole_rows(full).float())
    a, b, c = question
    visit.enter(word=b, a=a, b=b, c=c, inputs=inputs)
    for vectors, margin in ((stored, 0.0051), (full, 0.025)):
        expected = (
            dict(vectors.nearest(b, k=len(full.words) - 1)),
            dict(vectors.analogy(a, b, c, exclude_inputs=not inputs, k=100)),
        )
        for which, cosine_of in enumerate(expected, start=1):
            shown = answers(visit, which)
            assert len(shown) == 8
            for word, cosine in shown:
                assert cosine == pytest.approx(cosine_of[word], abs=margin)
    for which, cosine_of in enumerate(
        (
            stored.nearest(b, k=8),
            stored.analogy(a, b, c, exclude_inputs=not inputs, k=8),
        ),
        start=1,
    ):
        assert [word for word, _ in answers(visit, which)] == [w for w, _ in cosine_of]


def test_an_unknown_word_is_explained(open_page):
    visit = open_page("book/explore/words.html")
    visit.enter(word="Sesquipedalian")
    assert "words must be among the" in visit.text(".explorer-error")
    visit.enter(word=" Monday ")
    assert visit.sentence.startswith("Nearest to")
    assert answers(visit, 1)[0][0] == "tuesday"
