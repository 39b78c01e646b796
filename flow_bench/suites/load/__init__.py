"""Many workflows at once, and for long."""
