"""The tables that the originals print, row by row, and the row here that stands beside each."""
