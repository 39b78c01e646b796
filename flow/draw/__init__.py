"""Pictures of graphs as SVG, and cards for notebooks as HTML. Takes plain data; imports only ``types`` and ``reprs``."""
