"""Pictures of graphs as SVG, and cards for notebooks as HTML. This room takes plain data and imports only ``types``."""
