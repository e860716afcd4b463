"""Put a finished site in its place: `python -m book._ext.publish BUILT PLACE`.

The old site stays until the new one is complete, so a failed or killed build loses
nothing.
"""

import shutil
import sys
from pathlib import Path


def publish(built: Path, place: Path) -> None:
    new, old = (
        place.with_name(place.name + ".new"),
        place.with_name(place.name + ".old"),
    )
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(built, new)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    publish(*map(Path, sys.argv[1:]))
