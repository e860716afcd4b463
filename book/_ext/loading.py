"""What a page loads and when: the text first.

Scripts run once the text has been read. A figure is loaded when a reader comes near it.
The page gives its size beforehand, so that nothing jumps, and all in one proportion to
what was drawn, so that the lettering of all figures has one size.
"""

import re
from pathlib import Path

import imagesize

# Short scripts on the pages themselves use these at once.
AT_ONCE = ("documentation_options.js", "doctools.js")
SHOWN = 0.715  # a figure's pixels on the page, for one that was drawn
FIGURE = re.compile(r'<img (?=[^>]*src="[^"]*_images/([^"/]+)")')


def order_scripts(app, pagename, templatename, context, doctree) -> None:
    for script in context["script_files"]:
        if script.filename and not script.filename.endswith(AT_ONCE):
            script.attributes["defer"] = "defer"


def size_figures(app, pagename, templatename, context, doctree) -> None:
    lazy = 'loading="lazy" ' if app.builder.name == "html" else ""
    stored = {name: Path(app.srcdir, path) for path, name in app.builder.images.items()}

    def sized(match: re.Match) -> str:
        width, height = imagesize.get(stored[match[1]])
        shown = SHOWN if match[1].endswith(".png") else 1
        size = f'width="{width * shown:.0f}" height="{height * shown:.0f}" '
        known = size if width > 0 else ""
        return f"<img {lazy}{known}"

    if "body" in context:
        context["body"] = FIGURE.sub(sized, context["body"])


def setup(app) -> dict:
    app.connect("html-page-context", order_scripts, priority=900)
    app.connect("html-page-context", size_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
