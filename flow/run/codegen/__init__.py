"""Straight-line code for plans that are run often."""
