"""Changes that might make runs faster, each beside what flow does now."""
