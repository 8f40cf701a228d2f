#!/usr/bin/env bash
# What is installed: as a bill of materials, or looked up among known vulnerabilities. The tools have an environment of
# their own, so that they are no part of what they look at.
# Use: supply_chain.sh sbom PYTHON FILE | supply_chain.sh audit PYTHON
set -euo pipefail
what=$1
python=$2
tools=build/supply-chain

if [ ! -x "$tools/bin/cyclonedx-py" ] || [ ! -x "$tools/bin/pip-audit" ] || [ constraints.txt -nt "$tools/installed" ]; then
    "$python" -m venv "$tools"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt cyclonedx-bom pip-audit
    touch "$tools/installed"
fi

if [ "$what" = sbom ]; then
    mkdir -p "$(dirname "$3")"
    "$tools/bin/cyclonedx-py" environment --pyproject pyproject.toml --output-reproducible --of JSON -o "$3" "$python"
    echo "Wrote $3: $(grep -c '"purl"' "$3") packages."
    exit
fi

# A service that knows none of the packages would answer that nothing is wrong: one that everybody has is asked first.
probe=$(mktemp)
trap 'rm -f "$probe"' EXIT
grep '^numpy==' constraints.txt >"$probe"
if ! "$tools/bin/pip-audit" --strict --no-deps --disable-pip --progress-spinner off -r "$probe" >"$probe.log" 2>&1 \
    && ! grep -q 'known vulnerabilit' "$probe.log"; then
    tail -n 3 "$probe.log" >&2
    rm -f "$probe.log"
    echo "NOTHING WAS AUDITED: no service of known vulnerabilities can be reached from here." >&2
    exit 3
fi
rm -f "$probe.log"
"$tools/bin/pip-audit" --strict --no-deps --disable-pip --progress-spinner off -r constraints.txt
