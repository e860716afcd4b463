"""What a page loads and when: the text first, and nothing from another host.

Scripts run once the text is read in. MathJax comes with the site; a page with formulas
loads it when its text is on the screen, and a page without never. A figure's size
stands on the page, so that nothing jumps when the figure comes.
"""

import re
import shutil
from importlib.metadata import files
from pathlib import Path

import imagesize

NEEDED = ("static/mathjax/tex-chtml.js", "static/mathjax/output/chtml/fonts/woff-v2/")
# Short scripts on the pages themselves use these at once.
AT_ONCE = ("documentation_options.js", "doctools.js")
AFTER_THE_TEXT = """\
addEventListener("load", () => requestAnimationFrame(() => setTimeout(() => {{
  const script = document.createElement("script");
  script.src = "{}";
  document.head.append(script);
}})));"""
FIGURE = re.compile(r'<img (?=[^>]*src="[^"]*_images/([^"/]+)")')


def copy_mathjax(app, exception) -> None:
    if exception or app.builder.name != "html":
        return
    for file in files("sphinx-mathjax-offline"):
        inside = file.as_posix().partition("/")[2]
        if inside.startswith(NEEDED):
            target = Path(app.outdir, "_static", inside.removeprefix("static/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)


def order_scripts(app, pagename, templatename, context, doctree) -> None:
    mathjax = f"_static/{app.config.mathjax_path}"
    scripts = context["script_files"]
    scripts[:] = [script for script in scripts if script.filename != mathjax]
    for script in scripts:
        if script.filename and not script.filename.endswith(AT_ONCE):
            script.attributes["defer"] = "defer"
    if 'class="math' in context.get("body", ""):
        address = context["pathto"](mathjax, resource=True)
        app.add_js_file(None, body=AFTER_THE_TEXT.format(address))


def size_figures(app, pagename, templatename, context, doctree) -> None:
    stored = {name: Path(app.srcdir, path) for path, name in app.builder.images.items()}

    def sized(match: re.Match) -> str:
        width, height = map(int, imagesize.get(stored[match[1]]))
        known = f'width="{width}" height="{height}" ' if width > 0 else ""
        return f"<img {known}"

    if "body" in context:
        context["body"] = FIGURE.sub(sized, context["body"])


def setup(app) -> dict:
    app.connect("html-page-context", order_scripts, priority=900)
    app.connect("html-page-context", size_figures)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
