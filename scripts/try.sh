#!/bin/sh
# Make an environment and replay a real scientific workflow end to end: 52 tasks of 1000Genome, measured on
# a cluster, at a thousandth of their runtimes, eight at a time, longest path first.
extras=cli
. "$(dirname -- "$0")/venv.sh"
exec "$python" -m flow run tests/data/1000genome-chameleon-2ch-100k-001.json --work sleep --scale 0.001 --limit 8 --order critical_path "$@"
