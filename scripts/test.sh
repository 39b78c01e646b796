#!/bin/sh
# Make an environment (with ruff and mypy too) and run the whole test suite. Arguments go to pytest.
extras=dev
. "$(dirname -- "$0")/venv.sh"
exec "$python" -m pytest -q "$@"
