import jaxtyping
import pytest
from hypothesis import settings

from embeddings_lib import gpt2_encoding

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
