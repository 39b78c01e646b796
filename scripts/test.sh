#!/bin/sh
# Make an environment (with ruff and mypy too) and run the whole test suite: `sh scripts/test.sh --fast` in about two
# minutes, without a flag in five, `--long` with many more random cases. Other arguments go to pytest too. The tests
# run in a process per core; `-n 0` runs them in one, where a debugger reaches them.
extras=dev
. "$(dirname -- "$0")/venv.sh"
# Compiling the tests takes as long as a third of the fast ones: what is compiled is kept in the environment.
unset PYTHONDONTWRITEBYTECODE
PYTHONPYCACHEPREFIX="$(cd "$venv" && pwd)/pycache"
export PYTHONPYCACHEPREFIX
exec "$python" -m pytest -q -n auto --dist worksteal "$@"
