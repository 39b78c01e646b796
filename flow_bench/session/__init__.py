"""Runs of many suites: measured in passes, saved, compared."""
