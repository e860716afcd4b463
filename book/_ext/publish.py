"""Put a finished site in its place: `python -m book._ext.publish BUILT PLACE`.

The old site stays until the new one is complete, so a failed or killed build loses
nothing.
"""

import shutil
import sys
from pathlib import Path

from chapters.assignments.grader.files import replacing


def publish(built: Path, place: Path) -> None:
    with replacing(place) as new:
        shutil.copytree(built, new)


if __name__ == "__main__":
    publish(*map(Path, sys.argv[1:]))
