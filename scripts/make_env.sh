#!/bin/sh
# Make the virtual environment in folder $1 with deepvis in it, at the locked versions in requirements/.
# $2 is an extra of pyproject.toml ("dev"), or empty. PYTHON names the interpreter; unset, the first that works is taken.
set -eu
venv=$1
extra=${2:-}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# What pip was told not to look for is looked at once, at the end.
complete() {
    said=$("$venv/bin/python" -m pip --disable-pip-version-check check) || {
        echo "$said" >&2
        return 1
    }
}

fill() {
    sh scripts/install.sh "$venv/bin/python" "$extra" &&
        "$venv/bin/python" -m pip --disable-pip-version-check --quiet --quiet \
            install --no-deps --no-build-isolation --editable . &&
        complete
}

if [ -x "$venv/bin/python" ] && new_enough "$venv/bin/python"; then
    fill
    exit
fi

tried=
for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
    new_enough "$python" || continue
    tried="$tried $python"
    echo "Making $venv with $("$python" --version) (the first time, several hundred megabytes are fetched) ..."
    rm -rf "$venv"
    if "$python" -m venv "$venv" && fill; then
        exit 0
    fi
    echo "That did not work with $python." >&2
done
rm -rf "$venv"
if [ -z "$tried" ]; then
    echo "No Python 3.11 or newer was found. Install one, or name it: make PYTHON=/path/to/python3 ..." >&2
else
    echo "No environment could be made with:$tried. On Debian and Ubuntu, 'apt install python3-venv' may be missing." >&2
fi
exit 1
