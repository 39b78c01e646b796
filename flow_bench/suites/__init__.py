"""Suites that interleave contenders themselves, or measure processes of their own."""
