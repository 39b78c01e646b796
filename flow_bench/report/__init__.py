"""What a run looks like: tables, plots, one page."""
