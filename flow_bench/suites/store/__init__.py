"""The store: operations, memory strategies, threads."""
