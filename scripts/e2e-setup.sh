#!/usr/bin/env bash
# What the tests in a real browser need besides what the other tests need: a browser, films, Node.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
need() { # PACKAGE COMMAND: the package is missing if there is no such command
  command -v "$2" > /dev/null || missing+=("$1")
}
need chromium chromium
need ffmpeg ffmpeg
need nodejs node
need npm npm
# What docs/integrate.md is followed with.
need curl curl
need jq jq
# Chinese in screenshots and in prompts' pictures.
ls /usr/share/fonts/opentype/noto/NotoSansCJK* > /dev/null 2>&1 || missing+=(fonts-noto-cjk)

if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "The tests in a browser need these Debian packages, or what your system calls them: ${missing[*]}" >&2
    exit 1
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
fi
