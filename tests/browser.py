"""The site as a reader meets it: a server, a browser, a page that notes what fails."""

import functools
import gzip
import http.server
import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright
from sphinx_external_toc.parsing import parse_toc_yaml

from book._ext import explorers
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
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no other host
]


def chromium(playwrights_own: str) -> str:
    """The path of a browser. Without one the tests are skipped, loudly; where every
    test must run, that is a failure.
    """
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), playwrights_own)
    if not Path(path).exists():
        reason = (
            "NO BROWSER: the site's own tests did not run. Install Chromium, or "
            "run `python -m playwright install chromium`"
        )
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return path


@contextmanager
def launched():
    """A browser, and the path of its program."""
    with sync_playwright() as playwright:
        path = chromium(playwright.chromium.executable_path)
        yield playwright.chromium.launch(executable_path=path, args=FLAGS), path


@functools.cache
def sent(path: Path) -> bytes:
    """A file as a web host sends it: what is text is compressed."""
    content = path.read_bytes()
    text = path.suffix in (".html", ".css", ".js", ".json", ".svg")
    return gzip.compress(content) if text else content


class Host(http.server.SimpleHTTPRequestHandler):
    """Sends compressed files, which the browser may keep for ten minutes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return super().do_GET()
        content = sent(path)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=600")
        if content.startswith(b"\x1f\x8b"):
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def served(site: Path):
    """The site's address: its folder lies below the root of the server."""
    handler = functools.partial(Host, directory=site.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{site.name}"
        server.shutdown()


PATIENCE = 300_000  # milliseconds; they end what hangs, and measure nothing
expect.set_options(timeout=PATIENCE)
READY = "document.fonts.ready.then(() => null)"


class Visit:
    """A tab of the browser, and everything that went wrong on the page it shows."""

    def __init__(self, browser, *addresses, **options):
        self.addresses = addresses
        self.asked, self.problems = set(), []
        options = {"viewport": DESK, "color_scheme": "light"} | options
        self.scripts = options.get("java_script_enabled", True)
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.page.on("request", self.ask)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self.listen)
        self.page.on("requestfailed", self.fail)
        self.page.on("response", self.check)

    def open(self, name, address=None):
        """Show a page, complete: its formulas set, its explorer ready."""
        # What the page before still loads is cut off when it is left: no fault of this.
        self.page.goto("about:blank")
        self.asked, self.problems = set(), []
        self.page.goto(f"{address or self.addresses[0]}/{name}")
        if self.scripts:
            self.page.evaluate(READY)
            if name in EXPLORERS:
                self.page.locator(".explorer-ready").wait_for()
        return self

    def ask(self, request):
        self.asked.add(request)
        own = (*self.addresses, "data:", "blob:", "about:blank")
        if not request.url.startswith(own):
            self.problems.append(f"another host: {request.url}")

    def fail(self, request):
        if request in self.asked:
            self.problems.append(f"failed {request.url}")

    def listen(self, message):
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def check(self, response):
        if response.status >= 400:
            self.problems.append(f"{response.status} {response.url}")

    def weight(self, site):
        """Bytes that a first visit to the page loads."""
        loaded = self.page.evaluate(
            "['navigation', 'resource'].flatMap(type => "
            "performance.getEntriesByType(type).map(entry => entry.name))"
        )
        paths = {unquote(urlsplit(url).path) for url in loaded if "://" in url}
        return sum(len(sent(site.parent / path.lstrip("/"))) for path in paths)

    def enter(self, **values):
        for name, value in values.items():
            place = self.page.locator(f".explorer [name={name}]")
            if isinstance(value, bool):
                place.set_checked(value)
            elif place.evaluate("place => place.tagName") == "SELECT":
                place.select_option(str(value))
            else:
                place.fill("" if value is None else str(value))

    def point(self, name, x=None, y=None):
        """Where a knob of an explorer is on the screen, or a place of its drawing."""
        return self.page.evaluate(
            """([name, x, y]) => {
                const knob = document.querySelector(
                    `.explorer-knob[data-name="${name}"]`);
                knob.scrollIntoView({ block: "center", behavior: "instant" });
                if (x === null) {
                    const grip = knob.querySelector(".explorer-grip");
                    const box = grip.getBoundingClientRect();
                    return [box.x + box.width / 2, box.y + box.height / 2];
                }
                const place = new DOMPoint(x, y).matrixTransform(
                    knob.ownerSVGElement.getScreenCTM());
                return [place.x, place.y];
            }""",
            [name, x, y],
        )

    def pull(self, name, x, y):
        """Pull a knob with the mouse to a place of its drawing, in four moves."""
        target = self.point(name, x, y)
        self.page.mouse.move(*self.point(name))
        self.page.mouse.down()
        self.page.mouse.move(*target, steps=4)
        self.page.mouse.up()

    def pull_with_a_finger(self, name, x, y):
        target, start = self.point(name, x, y), self.point(name)
        finger = self.context.new_cdp_session(self.page)
        middle = [(a + b) / 2 for a, b in zip(start, target, strict=True)]
        moves = [("Start", start), ("Move", middle), ("Move", target), ("End", None)]
        for kind, place in moves:
            points = [dict(zip("xy", place, strict=True))] if place else []
            event = {"type": f"touch{kind}", "touchPoints": points}
            finger.send("Input.dispatchTouchEvent", event)
        finger.detach()

    def press(self, name, *keys):
        knob = self.page.locator(f'.explorer-knob[data-name="{name}"][tabindex]')
        for key in keys:
            knob.press(key)

    def value(self, name):
        return self.page.locator(f".explorer [name={name}]").input_value()

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


# Answers are opened. Thousands of coloured pieces of code, and formula after formula,
# say nothing new to axe-core: one of each colour and three formulas are kept.
THIN = """() => {
    document.querySelectorAll("details").forEach(answer => answer.open = true);
    const kept = new Set();
    for (const piece of document.querySelectorAll("pre span[class]")) {
        if (kept.has(piece.className)) piece.replaceWith(...piece.childNodes);
        else kept.add(piece.className);
    }
    document.querySelectorAll("pre").forEach(code => code.normalize());
    [...document.querySelectorAll(".math")].slice(3).forEach(f => f.remove());
}"""
# The contrast that a text needs and has follows from its colour, whether it is large,
# and what lies behind it. This marks one text of each such look that is not yet known.
LOOKS = """known => {
    document.getAnimations().forEach(change => change.finish());
    const looks = new Set(known);
    const visit = (element, behind) => {
        if (!element.checkVisibility({ visibilityProperty: true })) return;
        if (element.tagName === "math") return;
        delete element.dataset.look;
        const style = getComputedStyle(element);
        const { color, backgroundColor, backgroundImage, opacity } = style;
        const faded = behind.includes("opacity");
        if (backgroundColor.startsWith("rgb(") && !faded) behind = backgroundColor;
        else if (backgroundColor !== "rgba(0, 0, 0, 0)") behind += backgroundColor;
        if (backgroundImage !== "none") behind += backgroundImage;
        if (opacity !== "1") behind += `opacity ${opacity}`;
        const bold = style.fontWeight >= 700;
        const large = parseFloat(style.fontSize) >= (bold ? 18.66 : 24);
        const look = `${color} ${large} on ${behind}`;
        const text = [...element.childNodes].some(node => node.data?.trim());
        if (text && !looks.has(look)) {
            element.dataset.look = "new";
            looks.add(look);
        }
        for (const child of element.children) visit(child, behind);
    };
    visit(document.body, "");
    return [...looks];
}"""


class Reader:
    """axe-core, which finds what a screen reader cannot read and what is too pale."""

    def __init__(self):
        self.looks = []

    def violations(self, page) -> list[str]:
        """Of every rule, and of contrast in the light and in the dark. A look whose
        contrast was measured on one page is not measured on the next.
        """
        page.evaluate(THIN)
        found = self.found(page, None, rules={"color-contrast": {"enabled": False}})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.locator(f"html[data-theme={theme}]").wait_for()
            looks = page.evaluate(LOOKS, self.looks)
            if len(looks) > len(self.looks):
                self.looks = looks
                found += self.found(page, "[data-look]", runOnly=["color-contrast"])
        page.emulate_media(color_scheme="light")
        return found

    def found(self, page, where, **options) -> list[str]:
        options = {"resultTypes": ["violations"]} | options
        return [
            f"{violation['id']}: {place['html']}"
            for violation in Axe().run(page, where, options).response["violations"]
            for place in violation["nodes"]
        ]
