#!/bin/sh
# Prints every figure of docs/performance.md as Markdown, measured on this machine: about fifteen minutes.
# Nothing else should run meanwhile. Needs `make models`; Node with npm for its peer (WITHOUT_NODE=1 leaves it out).
set -eu
cd "$(dirname "$0")/.."

CARGO=${CARGO:-cargo}
$CARGO build --locked --release --quiet
invigil=target/release/invigil
peers=echo,node
[ -z "${WITHOUT_NODE:-}" ] || peers=echo

# 9,000 connections to each of two servers, and their other ends, from one process.
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge 18200 ] || ulimit -n 18200

echo "Measured $(date -u +%Y-%m-%d) on $(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)," \
	"Linux $(uname -r), load average $(cut -d' ' -f1 /proc/loadavg) before."
printf '\n## Events\n'
$invigil bench ingest --all --threads --peers $peers
printf '\n## Storage\n\n'
$invigil bench storage
printf '\n## Replay\n\n'
$invigil bench replay
