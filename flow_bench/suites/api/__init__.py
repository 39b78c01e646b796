"""The suite of the service: real servers, driven over the loopback."""
