"""What a page loads and when: the text first.

Scripts run once the text has been read. A figure is loaded when a reader comes near it.
The page gives its size beforehand, so that nothing jumps.
"""

import re
from pathlib import Path

import imagesize

# Short scripts on the pages themselves use these at once.
AT_ONCE = ("documentation_options.js", "doctools.js")
FIGURE = re.compile(r'<img (?=[^>]*src="[^"]*_images/([^"/]+)")')


def order_scripts(app, pagename, templatename, context, doctree) -> None:
    for script in context["script_files"]:
        if script.filename and not script.filename.endswith(AT_ONCE):
            script.attributes["defer"] = "defer"


def size_figures(app, pagename, templatename, context, doctree) -> None:
    lazy = 'loading="lazy" ' if app.builder.name == "html" else ""
    stored = {name: Path(app.srcdir, path) for path, name in app.builder.images.items()}

    def sized(match: re.Match) -> str:
        width, height = map(int, imagesize.get(stored[match[1]]))
        known = f'width="{width}" height="{height}" ' if width > 0 else ""
        return f"<img {lazy}{known}"

    if "body" in context:
        context["body"] = FIGURE.sub(sized, context["body"])


def setup(app) -> dict:
    app.connect("html-page-context", order_scripts, priority=900)
    app.connect("html-page-context", size_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
