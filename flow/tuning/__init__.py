"""Measured trials of a user's own DAG under many configs: :func:`flow.tune`."""
