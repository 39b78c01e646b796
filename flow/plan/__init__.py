"""Compile a definition to an immutable, integer-indexed Plan; count it down with a Resolver."""
