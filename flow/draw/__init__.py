"""Pictures of graphs as SVG, cards for notebooks as HTML. It takes plain data, and imports ``types`` and ``reprs``."""
