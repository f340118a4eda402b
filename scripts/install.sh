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

pip_install() {
    "$python" -m pip --disable-pip-version-check install --require-hashes --no-deps --no-build-isolation "$@"
}

install() {
    pip_install --quiet --quiet "$@"
}

# Where pip is set up to find a torch for CPUs, it is meant to be taken; elsewhere there is none of that version. That
# alone is a reason for the other one, of several gigabytes: a wrong hash or a network that fails ends the installation.
# pip calls it "no matching distribution" too when it could not ask; it then says that it tries again, or why not.
install_torch_for_cpus() {
    said=$(mktemp)
    if pip_install -r requirements/torch-cpu.txt >"$said" 2>&1; then
        found=0
    elif grep -q "No matching distribution" "$said" && ! grep -q "Retrying (\|Could not fetch URL" "$said"; then
        found=1
    else
        cat "$said" >&2
        found=2
    fi
    rm -f "$said"
    [ "$found" -lt 2 ] || exit 1
    return "$found"
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
elif ! install_torch_for_cpus; then
    install -r requirements/torch.txt
fi
if torch_is_for_gpus; then
    install -r requirements/cuda.txt
fi
install -r requirements/run.txt ${extra:+-r "requirements/$extra.txt"}
