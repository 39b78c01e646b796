#!/bin/sh
# Make an environment and replay a real scientific workflow end to end: 52 tasks of 1000Genome, measured on
# a cluster, at a thousandth of their runtimes, eight at a time, longest path first.
extras=cli
. "$(dirname -- "$0")/venv.sh"
cat >&2 <<'EOF'
This replays 1000Genome, a workflow of 52 tasks that was measured on a cluster. Each task sleeps for a thousandth of
the time that it took there; at most eight tasks run at once, those on the longest path first.

EOF
code=0
"$python" -m flow run tests/data/1000genome-chameleon-2ch-100k-001.json --work sleep --scale 0.001 --limit 8 --order critical_path "$@" || code=$?
[ "$code" -eq 0 ] || exit "$code"
cat >&2 <<EOF

What the figures mean:
  critical path      the longest chain of tasks that wait for each other: no run is shorter, however many run at once
  serial             all tasks one after another: the serial time divided by the run's time is the speedup
  bound              the least possible time with eight tasks at once
  efficiency         the bound divided by the time that the run took: 100% would be a run that wastes nothing
  overhead per node  the time over the bound, per task: gaps that no order of the tasks avoids count as well

Try next:
  sh scripts/try.sh --limit 16                    more at once: the bound becomes the critical path
  sh scripts/try.sh --timeline run.svg            see when each task ran
  $python -m flow run docs/examples/report.py --input weight=1
EOF
