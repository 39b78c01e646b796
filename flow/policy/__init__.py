"""Wrappers of a node's function: arguments, threads, middleware, time limits; composed once."""
