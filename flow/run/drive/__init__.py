"""The drivers: they call nodes in an order that the resolver allows, with or without an event loop."""
