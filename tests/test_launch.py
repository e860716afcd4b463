"""The buttons that run a chapter elsewhere point at the folder's own repository."""

import subprocess
import sys
import tomllib
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.testing.util import SphinxTestApp

from book._ext import launch
from tests import notebooks


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/ada/book.git", "https://github.com/ada/book"),
        ("https://github.com/ada/book/", "https://github.com/ada/book"),
        ("git@github.com:ada/book.git", "https://github.com/ada/book"),
        ("ssh://git@gitlab.com:22/ada/book", "https://gitlab.com/ada/book"),
        (
            "https://ada:secret@gitlab.com/g/sub/book.git",
            "https://gitlab.com/g/sub/book",
        ),
        ("https://git.example.edu/course/book", "https://git.example.edu/course/book"),
        ("/srv/git/book.git", None),
        ("../book", None),
        ("file:///srv/git/book.git", None),
        ("C:\\git\\book", None),
        ("", None),
    ],
)
def test_a_remote_becomes_an_address_without_a_password(remote, address):
    assert launch.web_address(remote) == address


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A function that runs git in a new repository: branch `main`, one commit."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.edu")

    def git(*words):
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)
        return tmp_path

    git("init", "-b", "main")
    git("commit", "--allow-empty", "-m", "first")
    return git


def test_a_folder_without_a_remote_has_no_source(repository, tmp_path):
    assert launch.source(repository("status")) is None
    assert launch.source(tmp_path / "missing") is None


def test_a_fork_points_at_the_fork(repository):
    repository("remote", "add", "upstream", "https://github.com/ada/book.git")
    folder = repository("remote", "add", "origin", "git@github.com:grace/book.git")
    assert launch.source(folder) == ("https://github.com/grace/book", "main")


def test_a_branch_of_the_remote_is_kept_and_another_is_not(repository):
    repository("remote", "add", "origin", "https://github.com/ada/book.git")
    repository("update-ref", "refs/remotes/origin/trunk", "HEAD")
    ref = "refs/remotes/origin/HEAD"
    repository("symbolic-ref", ref, "refs/remotes/origin/trunk")
    folder = repository("checkout", "-b", "mine")
    assert launch.source(folder) == ("https://github.com/ada/book", "trunk")
    repository("update-ref", "refs/remotes/origin/mine", "HEAD")
    assert launch.source(folder) == ("https://github.com/ada/book", "mine")


def test_a_folder_inside_another_project_has_no_source(repository):
    folder = repository("remote", "add", "origin", "https://github.com/ada/all.git")
    (folder / "book").mkdir()
    assert launch.source(folder / "book") is None


def buttons(folder, wanted):
    app = SimpleNamespace(srcdir=folder)
    config = SimpleNamespace(html_theme_options={"launch_buttons": wanted})
    launch.set_buttons(app, config)
    found = config.html_theme_options["launch_buttons"]
    return {name for name in found if name.endswith("_url")}


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("https://github.com/ada/book", {"binderhub_url", "colab_url"}),
        ("https://gitlab.com/ada/book", {"binderhub_url"}),
        ("https://gitlab.com/group/sub/book", set()),
        ("https://git.example.edu/ada/book", set()),
    ],
)
def test_a_button_is_there_where_its_service_reads_the_host(
    repository, remote, expected
):
    hub = {"jupyterhub_url": "https://hub.example.edu"}
    folder = repository("remote", "add", "origin", remote)
    assert buttons(folder, {}) == expected
    assert buttons(folder, hub) == expected | {"jupyterhub_url"}
    assert buttons(folder.parent, hub) == set()


CONFIGURATION = """
extensions = ["myst_nb", "sphinx_book_theme", "book._ext.launch"]
html_theme = "sphinx_book_theme"
html_theme_options = {"launch_buttons": {"jupyterhub_url": "https://hub.example.edu"}}
nb_execution_mode = "off"
"""


def test_a_built_page_has_the_buttons_and_a_copy_that_runs_alone(repository):
    folder = repository("remote", "add", "origin", "https://github.com/ada/book.git")
    (folder / "conf.py").write_text(CONFIGURATION, "utf-8")
    cells = [new_markdown_cell("# One"), new_code_cell("1 + 1")]
    notebook = new_notebook(cells=cells, metadata=notebooks.METADATA)
    nbformat.write(notebook, folder / "index.ipynb")
    app = SphinxTestApp(srcdir=folder, freshenv=True)
    try:
        app.build()
    finally:
        app.cleanup()
    page = BeautifulSoup((app.outdir / "index.html").read_text("utf-8"), "html.parser")
    (colab,) = (a for a in page.select("a") if "Run in Colab" in a.get_text())
    assert colab["href"] == (
        "https://colab.research.google.com/github/ada/book/blob/notebooks/index.ipynb"
    )
    links = [a["href"] for a in page.select(".dropdown-launch-buttons a")]
    assert sorted(links) == [
        "https://hub.example.edu/hub/user-redirect/git-pull?repo=https%3A//github.com"
        "/ada/book&urlpath=lab/tree/book/index.ipynb&branch=main",
        "https://mybinder.org/v2/gh/ada/book/main?urlpath=lab/tree/index.ipynb",
    ]
    copy = notebooks.read(app.outdir / "_sources" / "index.ipynb")
    assert [cell.source for cell in copy.cells[1:]] == ["# One", "1 + 1"]
    code = TransformerManager().transform_cell(copy.cells[0].source)
    assert (
        "git clone --quiet --depth 1 --branch main https://github.com/ada/book" in code
    )
    exec(
        compile(code, "ready", "exec"), {}
    )  # with the library at hand, nothing happens


def test_the_site_has_buttons_only_where_there_is_a_remote(site):
    page = (site / "chapters" / "08_rotary_positions.html").read_text("utf-8")
    found = launch.source(notebooks.ROOT)
    assert ("dropdown-launch-buttons" in page) == (found is not None)
    assert not found or found[0].partition("https://")[2] in page


def imported(source):
    """The packages that a cell imports."""
    for line in source.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word in ("import", "from"):
            yield rest.split()[0].partition(".")[0]


def test_binder_installs_what_the_library_and_the_chapters_need():
    environment = yaml.safe_load(
        (notebooks.ROOT / ".binder" / "environment.yml").read_text("utf-8")
    )
    given = {name.partition("=")[0] for name in environment["dependencies"]}
    project = tomllib.loads((notebooks.ROOT / "pyproject.toml").read_text("utf-8"))
    needed = {each.partition(">")[0] for each in project["project"]["dependencies"]}
    for path in notebooks.CHAPTERS:
        for cell in notebooks.read(path).cells:
            if cell.cell_type == "code":
                needed |= set(imported(cell.source)) - sys.stdlib_module_names
    called = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
    needed = {called.get(name, name) for name in needed}
    # Binder brings IPython, and `postBuild` installs the library.
    assert needed - {"IPython", "embeddings_lib"} <= given
