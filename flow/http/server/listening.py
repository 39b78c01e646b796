"""The sockets that a service listens on, and which addresses only this machine reaches."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final

from flow.errors import UsageError

BACKLOG: Final = 2_048
"""Connections that the system keeps until they are accepted."""

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def addresses_of(host: str, port: int) -> list[tuple[int, Any]]:
    """Return the addresses that ``host`` stands for, those of IPv4 first: families, and what sockets bind.

    :raises UsageError: if there is none.
    """
    try:
        found = socket.getaddrinfo(host or " ", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no name of a host"
        raise UsageError(f"host {host!r} has no address: {why}") from error
    unique = dict.fromkeys((int(family), address) for family, _, _, _, address in found)
    return sorted(unique, key=lambda one: one[0] != socket.AF_INET)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches ``host``: all of its addresses are loopback ones.

    :raises UsageError: as :func:`addresses_of`.
    """
    return all(ipaddress.ip_address(address[0].partition("%")[0]).is_loopback for _, address in addresses_of(host, 0))


def listen(host: str, ports: Sequence[int]) -> list[socket.socket]:
    """Return sockets that listen on the ports of ``host``, all or none. Port 0 picks one that is free.

    :raises UsageError: if ``host`` has no address. :raises OSError: with a plain text, if one cannot be listened on.
    """
    made: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        for port in ports:
            family, address = addresses_of(host, port)[0]
            try:
                both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
                one = socket.create_server(address[:2], family=family, backlog=BACKLOG, dualstack_ipv6=both)
            except OSError as error:
                raise OSError(error.errno, _why(error, host, port)) from error
            stack.callback(one.close)
            made.append(one)
        stack.pop_all()
    return made


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use: take another (--port 0 picks a free one)"
    if error.errno == errno.EACCES:
        return f"port {port} of {host} needs rights of an administrator: take one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine"
    return f"port {port} of {host} cannot be listened on: {os.strerror(error.errno or 0)}"


def url_of(host: str, listening: socket.socket) -> str:
    """Return the address at which this machine reaches a socket, as a URL without a path."""
    name = _EVERYWHERE.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{listening.getsockname()[1]}"


def allow_many_connections() -> None:
    """Let the process have as many files open as the system allows it: each connection is one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # systems differ in what they take as no limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


__all__ = ["BACKLOG", "addresses_of", "allow_many_connections", "is_loopback", "listen", "url_of"]
