"""How the kernels of nbval are reached, for any run of it that loads this."""

import os
import tempfile

import nbval.kernel


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
