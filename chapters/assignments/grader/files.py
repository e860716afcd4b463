"""Files and folders that are replaced whole: the old one stays until the new one is."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path`. The file or folder written there then replaces `path`.

    After an error, or in a process that was killed, `path` is as it was. Processes that
    replace the same path at the same time write under names of their own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new, old = (
        path.with_name(f"{path.name}.{os.getpid()}.{end}") for end in ("new", "old")
    )
    try:
        yield new
        if new.is_dir() and path.exists():  # a folder that is not empty stays
            path.rename(old)
        new.replace(path)
    finally:
        for rest in (new, old) if path.exists() else (new,):
            remove(rest)


def remove(path: Path) -> None:
    """Delete a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
