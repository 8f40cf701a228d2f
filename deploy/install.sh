#!/usr/bin/env bash
# Makes the virtual environment and installs Springtide into it, as constraints.txt pins it; shows a progress bar.
# Use: install.sh PYTHON VENV
set -euo pipefail
python=$1
venv=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Springtide needs Python 3.11 or newer${python:+, and $python is not}; name one by: make PYTHON=PATH" >&2
    exit 2
fi
if ! "$python" -m venv "$venv" >/dev/null; then
    echo "$python cannot make a virtual environment: on Debian and Ubuntu, apt-get install python3-venv" >&2
    exit 2
fi

log=$venv/install.log
"$venv/bin/python" -m pip install --disable-pip-version-check --no-input -c constraints.txt -e '.[all,dev]' \
    >"$log" 2>&1 &
pip=$!
trap 'kill $pip 2>/dev/null; exit 130' INT TERM

# pip goes twice over all packages: it collects them, then it installs them.
total=$((2 * $(wc -l <constraints.txt)))
width=30
start=$SECONDS
while kill -0 "$pip" 2>/dev/null; do
    if [ -t 1 ]; then
        collected=$(grep -c '^Collecting ' "$log" || true)
        installed=$(find "$venv"/lib/*/site-packages -maxdepth 1 -name '*.dist-info' | wc -l)
        filled=$((width * (collected + installed) / total))
        filled=$((filled < width ? filled : width))
        bar=$(printf '%*s' "$filled" '' | tr ' ' '#')
        printf '\r  Installing into %s [%-*s] %d s ' "$venv" "$width" "$bar" $((SECONDS - start))
    fi
    sleep 0.5
done
if ! wait "$pip"; then
    [ -t 1 ] && echo
    tail -n 20 "$log" >&2
    exit 1
fi
[ -t 1 ] && printf '\r'
echo "  Installed into $venv in $((SECONDS - start)) s."
