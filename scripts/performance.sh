#!/bin/sh
# Prints every figure of docs/performance.md as Markdown, measured on this machine: about fifteen minutes.
# Nothing else should run meanwhile. Needs `make models`; Node with npm for its peer (WITHOUT_NODE=1 leaves it out), and
# PostgreSQL's programs (WITHOUT_POSTGRES=1). Several nodes need those and Redis's (WITHOUT_REDIS=1), ten minutes more.
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
if [ -z "${WITHOUT_POSTGRES:-}" ]; then
	printf '\n## PostgreSQL\n\n'
	$invigil bench journal
	$invigil bench journal --events 8
	$invigil bench ingest --peers postgres --connections 256
	$invigil bench ingest --peers postgres --window 32
	$invigil bench ingest --peers postgres --connections 2000 --rate 5000 --window 8
fi
if [ -z "${WITHOUT_POSTGRES:-}${WITHOUT_REDIS:-}" ]; then
	printf '\n## Several nodes\n\n'
	for nodes in 1 2 3; do
		echo "Nodes: $nodes"
		$invigil bench ingest --peers postgres --nodes $nodes --connections 256
	done
	$invigil bench redis
	$invigil bench redis --nodes 1000 --seconds 20
	$invigil bench nodes
fi
printf '\n## Storage\n\n'
$invigil bench storage
printf '\n## Replay\n\n'
$invigil bench replay
