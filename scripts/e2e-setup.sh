#!/usr/bin/env bash
# What the tests in a real browser need besides what the other tests need: a browser, films, Node.
set -euo pipefail
cd "$(dirname "$0")/.."

source scripts/packages.sh
need chromium command -v chromium
need ffmpeg command -v ffmpeg
need nodejs command -v node
need npm command -v npm
# What docs/integrate.md is followed with.
need curl command -v curl
need jq command -v jq
# What the console prints is read again.
need poppler-utils command -v pdftotext
# Chinese in screenshots and in prompts' pictures.
need fonts-noto-cjk sh -c 'ls /usr/share/fonts/opentype/noto/NotoSansCJK*'
install_missing "The tests in a browser"
