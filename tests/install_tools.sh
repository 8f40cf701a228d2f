#!/usr/bin/env bash
# Installs what some tests need and pip has not: a browser for those of the console, and Prometheus for those of metrics,
# from Debian, as root. Without them those tests are skipped, so this never fails.
set -uo pipefail
wanted=()
command -v chromium chromium-browser google-chrome >/dev/null || wanted+=(chromium)
command -v promtool >/dev/null || wanted+=(prometheus)
if [ "${#wanted[@]}" = 0 ]; then
  exit 0
fi
words="not installed: ${wanted[*]}; the tests that need them are skipped"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "$words" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # A service that is installed does not start.
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${wanted[@]}"; } >/dev/null 2>&1 || echo "$words" >&2
exit 0
