#!/usr/bin/env bash
# What the tests need besides Rust: system packages, and a private Python environment with pinned packages.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=tests/cache/venv
REQUIREMENTS=tests/python/requirements.txt

source scripts/packages.sh
need strace command -v strace
need systemd systemd-analyze --version
need haproxy command -v haproxy
need python3 command -v python3
need python3-venv python3 -c 'import ensurepip'
need postgresql sh -c 'ls /usr/lib/postgresql/*/bin/postgres || command -v postgres'
need redis-server command -v redis-server
install_missing "The tests"

# Complete only if it was made from these very requirements.
if ! cmp -s "$REQUIREMENTS" "$VENV/requirements.txt"; then
  rm -rf "$VENV"
  mkdir -p "$(dirname "$VENV")"
  python3 -m venv "$VENV"
  "$VENV/bin/pip" install -q --disable-pip-version-check --require-hashes --only-binary :all: -r "$REQUIREMENTS"
  cp "$REQUIREMENTS" "$VENV/requirements.txt"
fi
