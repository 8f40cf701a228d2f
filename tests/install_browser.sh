#!/usr/bin/env bash
# Installs a browser for the tests of the console, where none is found and this machine lets it: Debian's chromium, as root.
# Without one, those tests are skipped, so this never fails.
set -uo pipefail
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo 'no browser: the tests of the console are skipped (install chromium)' >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 \
  || echo 'no browser: chromium cannot be installed; the tests of the console are skipped' >&2
exit 0
