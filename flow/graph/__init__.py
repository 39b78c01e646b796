"""Say what a Dag is: the builder, topologies, pictures, networkx, trace files."""
