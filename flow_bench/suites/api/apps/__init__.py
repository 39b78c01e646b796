"""The servers that are compared, each a program: ``python -m flow_bench.suites.api.apps.NAME OPTIONS``."""
