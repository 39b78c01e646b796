#!/usr/bin/env sh
# Lint and types, with the tools of .venv, which scripts/test.sh makes.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/ruff check .
.venv/bin/ruff check --preview --select PLW1514 . # files without encoding=, which Windows reads otherwise; not stable yet
.venv/bin/mypy
.venv/bin/mypy --platform win32 # what runs only there is typed too
.venv/bin/pyright --pythonpath .venv/bin/python # both check the pages and docs' programs in tests/docs/test_types.py
