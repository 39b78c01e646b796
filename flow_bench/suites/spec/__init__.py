"""Workflow files: loading them, their expressions, and their maps."""
