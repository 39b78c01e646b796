#!/bin/sh
# Make an environment and measure: `sh scripts/benchmark.sh --quick` takes 2.5 minutes. All flags: docs/benchmarks.md
extras=ai,bench
for flag in "$@"; do
    case "$flag" in
        --all | --peers | --durable | --api | --ai) extras=ai,bench,http,metrics,peers ;;  # the other libraries, only on request
    esac
done
. "$(dirname -- "$0")/venv.sh"
exec "$python" -m flow_bench run "$@"
