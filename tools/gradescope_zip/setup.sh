#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the image: Python and the course's packages.
set -euo pipefail
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive
apt-get update
# Ubuntu 24.04 has Python 3.12; 22.04 has 3.11 beside its own.
apt-get install -y --no-install-recommends bubblewrap python3.12-venv ||
  apt-get install -y --no-install-recommends bubblewrap python3.11-venv
for python in python3.12 python3.11; do
  if command -v "$python" >/dev/null; then break; fi
done
"$python" -m venv .venv
# PyPI's torch brings gigabytes of CUDA along; it is taken if this one can't be had.
.venv/bin/python -m pip install --no-cache-dir "$(grep '^torch==' requirements.txt)" \
  --index-url https://download.pytorch.org/whl/cpu || true
.venv/bin/python -m pip install --no-cache-dir -r requirements.txt
