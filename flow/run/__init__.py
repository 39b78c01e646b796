"""Drive a plan: inline or on an event loop, unbounded or bounded; and what it leaves behind."""
