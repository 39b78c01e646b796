#!/bin/sh
# Make an environment and run the whole test suite, with the coverage gate. Arguments go to pytest.
. "$(dirname "$0")/venv.sh" test
if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi
exec "$python" -m pytest -q --cov --cov-report=term:skip-covered
