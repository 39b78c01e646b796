"""Single operations, as ordinary pytest-benchmark tests."""
