"""Files that are replaced whole, and text in whatever encoding it came."""

import codecs
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


def decoded(path: Path) -> str:
    """The text of a file from a spreadsheet: UTF-8 or UTF-16, and Windows' own else."""
    text = path.read_bytes()
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return text.decode("utf-16")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return text.decode("cp1252", errors="replace")
