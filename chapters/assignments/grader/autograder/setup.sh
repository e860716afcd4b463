#!/bin/bash
# Gradescope runs this once, as root, when it builds the image of the autograder.
set -euo pipefail
apt-get update
apt-get install -y bubblewrap python3.11-venv
python3.11 -m venv /autograder/python
/autograder/python/bin/python -m pip install -r /autograder/source/requirements.txt
