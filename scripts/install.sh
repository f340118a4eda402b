#!/bin/sh
# Install what deepvis needs, at the versions and with the hashes in requirements/, into the environment of the
# interpreter $1. $2 is "dev" for what tests and linters need too. TORCH_INDEX names the package index of torch for CPUs
# alone; its hash must be in requirements/torch-cpu.txt (see scripts/lock.py).
# pip refuses a file whose hash is not listed. Every package is listed, what builds packages too, so that nothing is
# looked for beyond the lists.
set -eu
python=$1
extra=${2:-}
cd "$(dirname "$0")/.."

install() {
    "$python" -m pip --disable-pip-version-check --quiet --quiet install --require-hashes --no-deps \
        --no-build-isolation "$@"
}

torch_is_for_gpus() {
    "$python" -c '
import sys
from importlib.metadata import requires
sys.exit(not any(line.startswith(("cuda", "nvidia")) for line in requires("torch") or []))'
}

install -r requirements/build.txt
if [ -n "${TORCH_INDEX:-}" ]; then
    install --index-url "$TORCH_INDEX" -r requirements/torch-cpu.txt
# Where pip is set up to find a torch for CPUs, it is meant to be taken; elsewhere there is none of that version.
elif ! install -r requirements/torch-cpu.txt 2>/dev/null; then
    install -r requirements/torch.txt
fi
if torch_is_for_gpus; then
    install -r requirements/cuda.txt
fi
install -r requirements/run.txt ${extra:+-r "requirements/$extra.txt"}
