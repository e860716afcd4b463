import os
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from embeddings_lib import gpt2_encoding
from tests.notebooks import ROOT

# Two busy processes share the machine's cores: a slow example is not a wrong one.
settings.register_profile("book", deadline=None)
settings.load_profile("book")


@pytest.fixture(scope="session")
def gpt2():
    return gpt2_encoding()


@pytest.fixture
def as_users_call_it():
    """Without the tests' shape checks, so that the library's own errors are seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    """Each test compiles anew: PyTorch compiles one function only so many times."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@pytest.fixture
def graphs():
    """The graphs that `torch.compile(..., backend=graphs.keep)` makes, unchanged."""

    class Graphs(list):
        def keep(self, graph, inputs):
            self.append(graph)
            return graph.forward

    return Graphs()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The book, built as `make book` builds it: every warning is an error.

    Where several processes share the tests, the first to ask builds it for all.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "site.lock"):
        finished = folder / "site.finished"
        if not finished.exists():
            build(folder, "--all", "-W", "-n", "--keep-going")
            finished.touch()
    return folder / "_build" / "html"


def build(folder: Path, *options: str | Path) -> None:
    """The book, into the folder; a failure shows what was said."""
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    options = ["-q", "--path-output", folder, *options]
    result = subprocess.run(
        [jupyter_book, "build", ROOT, *options], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
