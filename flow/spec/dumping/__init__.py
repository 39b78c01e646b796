"""A Dag as a workflow file."""
