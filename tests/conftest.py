import os
import tempfile

import jaxtyping
import nbval.kernel
import pytest
from hypothesis import settings

from embeddings_lib import gpt2_encoding

# Two busy processes share the machine's cores: a slow example is not a wrong one.
settings.register_profile("book", deadline=None)
settings.load_profile("book")


def pytest_configure(config):
    """Let the notebooks' kernels talk through files, where the system can.

    Over TCP a kernel is told its ports before it binds them. Between the two, another
    process may take one, and then the kernel never answers: seen once in 70 starts.
    """
    if os.name == "posix":
        folder = tempfile.TemporaryDirectory(prefix="kernels")
        config.add_cleanup(folder.cleanup)
        manager = nbval.kernel.KernelManager

        def with_sockets_of_its_own(**options):
            place = tempfile.mkdtemp(dir=folder.name)
            return manager(transport="ipc", ip=f"{place}/socket", **options)

        nbval.kernel.KernelManager = with_sockets_of_its_own


@pytest.fixture(scope="session")
def gpt2():
    return gpt2_encoding()


@pytest.fixture
def as_users_call_it():
    """Without the tests' shape checks, so that the library's own errors are seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
