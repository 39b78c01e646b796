"""Definition of a Dag: the builder, topologies, pictures, networkx, trace files."""
