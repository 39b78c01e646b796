#!/bin/sh
# Make an environment (with ruff and mypy too) and run the whole test suite: `sh scripts/test.sh --fast` within half a
# minute, without a flag in two and a half, `--long` with many more random cases. Other arguments go to pytest too.
extras=dev
. "$(dirname -- "$0")/venv.sh"
# Compiling the tests takes as long as a third of the fast ones: what is compiled is kept in the environment.
unset PYTHONDONTWRITEBYTECODE
PYTHONPYCACHEPREFIX="$(cd "$venv" && pwd)/pycache"
export PYTHONPYCACHEPREFIX
exec "$python" -m pytest -q "$@"
