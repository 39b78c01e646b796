"""Pictures of graphs as SVG, and what notebooks show as HTML. Takes plain data, and imports no room but ``types``."""
