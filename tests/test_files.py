"""A file or a folder is replaced whole, or not at all."""

import pytest

from chapters.assignments.grader.files import replacing


def write_file(path, text):
    path.write_text(text, "utf-8")


def write_folder(path, text):
    path.mkdir()
    write_file(path / "page.html", text)


def read(path):
    return (path / "page.html" if path.is_dir() else path).read_text("utf-8")


kinds = pytest.mark.parametrize("write", [write_file, write_folder])


@kinds
def test_the_new_one_takes_the_place_of_the_old_one(write, tmp_path):
    path = tmp_path / "missing folder" / "place"
    for text in ("old", "new"):
        with replacing(path) as beside:
            write(beside, text)
        assert read(path) == text
    assert list(path.parent.iterdir()) == [path]


@kinds
def test_until_the_new_one_is_whole_the_old_one_stays(write, tmp_path):
    path = tmp_path / "place"
    write(path, "old")
    with replacing(path) as beside:
        write(beside, "half of the n")
        assert read(path) == "old"


@kinds
def test_after_an_error_only_the_old_one_is_there(write, tmp_path):
    path = tmp_path / "place"
    write(path, "old")

    def stopped():
        with replacing(path) as beside:
            write(beside, "half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert read(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


@kinds
def test_where_nothing_was_written_the_old_one_stays(write, tmp_path):
    path = tmp_path / "place"
    write(path, "old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert read(path) == "old"
