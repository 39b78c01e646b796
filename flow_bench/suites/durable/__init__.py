"""Durable runs: what they add, beside the same by hand; loading them, listing them, and what they leave behind."""
