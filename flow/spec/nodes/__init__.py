"""From the nodes of a file to those of a Dag."""
