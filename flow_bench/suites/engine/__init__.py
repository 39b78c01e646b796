"""The engine: graphs, loops, limits, contexts, maps, memory per node, scale."""
