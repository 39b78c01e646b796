#!/bin/sh
# Make an environment (with ruff and mypy too) and run the whole test suite, with the coverage gate. Arguments go to pytest.
extras=dev
. "$(dirname "$0")/venv.sh"
if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi
exec "$python" -m pytest -q --cov --cov-report=term:skip-covered
