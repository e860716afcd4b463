"""Serve the mathematics from the site itself: copy what a page needs of MathJax into
it.
"""

import shutil
from importlib.metadata import files
from pathlib import Path

NEEDED = ("static/mathjax/tex-chtml.js", "static/mathjax/output/chtml/fonts/woff-v2/")


def copy_mathjax(app, exception) -> None:
    if exception or app.builder.name != "html":
        return
    for file in files("sphinx-mathjax-offline"):
        inside = file.as_posix().partition("/")[2]
        if inside.startswith(NEEDED):
            target = Path(app.outdir, "_static", inside.removeprefix("static/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)


def setup(app) -> dict:
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
