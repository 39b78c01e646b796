#!/bin/sh
# Make an environment and serve an example workflow over HTTP: its address, and a curl line that runs it, are printed.
# What follows goes to `flow serve`: --port 0 takes a free port, --store runs.db makes its runs durable.
extras=http,metrics,spec
. "$(dirname -- "$0")/venv.sh"
exec "$python" -m flow serve docs/examples/service/quote.yaml "$@"
