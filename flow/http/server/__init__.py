"""What a service is served by: sockets, uvicorn's server with its connections, and worker processes."""

from __future__ import annotations
