"""The benchmark suites of ``flow``: ``python -m flow_bench SUITE``. Uses the public API of ``flow`` alone."""
