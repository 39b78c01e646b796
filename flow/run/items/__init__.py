"""Runs of a map's items: alone, or of several maps as a pipeline."""
