"""Buttons that run a chapter elsewhere, made from the git remote of the folder.

So a fork's buttons point at the fork, and without a remote there are none. Binder and
a JupyterHub take the notebooks as they are, with the whole folder. Colab takes one
notebook alone, and only from GitHub. So the site's copy of each notebook, which is also
the one to download, starts with a cell that fetches the folder and installs the library
where it is missing; publishing puts these copies on the branch `notebooks`.
"""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from nbformat.v4 import new_code_cell

COLAB = "https://colab.research.google.com"
BINDER = "https://mybinder.org"
COPIES = "notebooks"  # the branch that holds the site's copies
READY = """\
# On a machine without the book's library, such as Colab's: fetch the book, install it.
import importlib.util

if importlib.util.find_spec("embeddings_lib") is None:
    !git clone --quiet --depth 1 --branch {branch} {address} book
    %pip install --quiet ./book
    %cd -q book/chapters"""


def git(folder: Path, *words: str) -> str:
    """What git prints, or an empty string if it fails or is missing."""
    try:
        run = subprocess.run(
            ["git", "-C", folder, *words], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""


def web_address(remote: str) -> str | None:
    """https://host/owner/name of a remote, without the user and password it may hold;
    None where a browser cannot go there.
    """
    if short := re.fullmatch(r"(?:[^@/:]+@)?([^/:]+\.[^/:]+):(?!//)(.+)", remote):
        host, path = short.groups()
    else:
        parts = urlsplit(remote)
        if parts.scheme not in ("https", "http", "ssh", "git"):
            return None
        host, path = parts.hostname, parts.path
    path = path.strip("/").removesuffix(".git")
    return f"https://{host}/{path}" if host and "/" in path else None


def source(folder: Path) -> tuple[str, str] | None:
    """The address and the branch of the folder's repository, or None without one.

    A branch that the remote does not have is replaced by the remote's main branch.
    """
    if git(folder, "rev-parse", "--show-prefix"):
        return None  # the folder lies inside another project
    names = git(folder, "remote").split()
    if not names:
        return None
    name = "origin" if "origin" in names else names[0]
    address = web_address(git(folder, "remote", "get-url", name))
    branch = git(folder, "branch", "--show-current")
    if not git(folder, "rev-parse", "-q", "--verify", f"refs/remotes/{name}/{branch}"):
        main = git(folder, "rev-parse", "--abbrev-ref", f"{name}/HEAD")
        branch = main.removeprefix(f"{name}/") or "main"
    return (address, branch) if address else None


def set_buttons(app, config) -> None:
    app.book_source = found = source(Path(app.srcdir))
    options = config.html_theme_options
    wanted = {key: url for key, url in options["launch_buttons"].items() if url}
    if not found:
        options["launch_buttons"] = {}
        return
    address, branch = found
    host, path = urlsplit(address)[1:3]
    plain = path.count("/") == 2  # /owner/name
    if plain and host in ("github.com", "gitlab.com"):
        wanted.setdefault("binderhub_url", BINDER)
    if plain and host == "github.com":
        wanted.setdefault("colab_url", COLAB)
    options |= {
        "launch_buttons": wanted | {"notebook_interface": "jupyterlab"},
        "repository_url": address,
        "repository_branch": branch,
        "repository_provider": "github" if host == "github.com" else "gitlab",
    }


def name_colab(app, pagename, templatename, context, doctree) -> None:
    """A button that says Colab, in place of a line in a menu; it opens the copy."""
    buttons = context["header_buttons"]
    for group in [each for each in buttons if each.get("label") == "launch-buttons"]:
        for button in [each for each in group["buttons"] if each["text"] == "Colab"]:
            _, branch = app.book_source
            url = button["url"].replace(f"/blob/{branch}/", f"/blob/{COPIES}/", 1)
            named = {"url": url, "text": "Run in Colab", "icon": "fas fa-play"}
            buttons.insert(0, button | named)
            group["buttons"].remove(button)


def ready_copies(app, exception) -> None:
    """Put the cell at the head of the site's copy of every notebook."""
    if exception or app.builder.format != "html" or not app.book_source:
        return
    address, branch = app.book_source
    for path in Path(app.outdir, "_sources").rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        cell = READY.format(address=address, branch=branch)
        notebook.cells.insert(0, new_code_cell(cell, id="ready"))
        nbformat.write(notebook, path)


def setup(app) -> dict:
    app.connect("config-inited", set_buttons)
    app.connect("html-page-context", name_colab, priority=502)
    app.connect("build-finished", ready_copies)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
