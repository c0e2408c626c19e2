#!/bin/sh
# Makes a virtual environment with pip in it: tools/venv.sh FOLDER
#
# Takes $PYTHON when it is set. Otherwise it tries every usual name and takes the first that really
# runs (some names are shims that only fail) and is 3.11, 3.12 or 3.13; failing these, a later one.
set -eu

venv=${1:?usage: tools/venv.sh FOLDER}
log=$venv.log

# fits PYTHON [END]: it runs, and is 3.11 or later but older than END.
fits() {
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < ${2:-(4, 0)})" >/dev/null 2>&1
}

pick() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" && echo "$PYTHON" && return
        echo "PYTHON=$PYTHON does not run, or is older than 3.11." >&2
        return 1
    fi
    for end in "(3, 14)" "(4, 0)"; do
        for name in python3 python3.13 python3.12 python3.11 python; do
            fits "$name" "$end" && echo "$name" && return
        done
    done
    echo "No Python 3.11 or later was found. Install one, or name it: make setup PYTHON=/path/to/python3" >&2
    return 1
}

works() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 && fits "$venv/bin/python"
}

# Some distributions ship venv without ensurepip. An environment without pip can still be made, and
# the pip outside can put a pip into it.
make_venv() {
    rm -rf "$venv"
    "$python" -m venv "$venv" >"$log" 2>&1 && works && return
    rm -rf "$venv"
    "$python" -m venv --without-pip "$venv" >>"$log" 2>&1 &&
        "$python" -m pip --python "$venv/bin/python" install --quiet pip >>"$log" 2>&1 && works && return
    rm -rf "$venv"
    "$python" -m virtualenv --quiet "$venv" >>"$log" 2>&1 && works
}

if works; then exit 0; fi
python=$(pick)
echo "Making $venv with $("$python" --version)"
if ! make_venv; then
    cat "$log" >&2
    echo >&2
    echo "$python can make no virtual environment: it has neither ensurepip nor a pip of 22.3 or later," >&2
    echo "nor virtualenv. On Debian or Ubuntu: apt install python3-venv; elsewhere: pip install virtualenv" >&2
    exit 1
fi
rm -f "$log"
