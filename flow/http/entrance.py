"""Who may come in: hosts, origins, keys and rates: :class:`Entrance`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from flow.errors import UsageError, shown
from flow.http.limits import Limits, Rate
from flow.http.problems import Problem
from flow.http.throttle import Throttle, address_of

if TYPE_CHECKING:
    from flow.http.keys import Key, Keys
    from flow.http.replies import Header

Scope: TypeAlias = Literal["read", "run", "admin"]

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""Names under which a service without keys answers. A page of another site that reaches it by a name of its own (DNS
rebinding) is refused by that."""

ADDRESSES: Final = "@addresses"
"""In ``hosts``: all IP addresses. A page of another site never comes by one: it is loaded from a name."""

COOKIE: Final = b"flow_session"
_HOST: Final = re.compile(r"(.{1,255}?)(?::\d{1,5})?")
_MOST_HOSTS: Final = 1_000
_MOST_NAMED: Final = 5
_FAILURES: Final = Rate(60, 60.0, 60)
"""Requests without a key that is known, of one address. (Guessing a key is hopeless anyway.)"""

_CHALLENGE: Final[list[Header]] = [(b"www-authenticate", b'Bearer realm="flow"')]


class Caller(msgspec.Struct, frozen=True):
    """Who asks. :ivar id: what rates and idempotency keys are counted by. :ivar headers: that the answer has for it."""

    id: str
    headers: list[Header]


class Entrance:
    """Decides about each request before it is read.

    :param hosts: names in ``Host`` that are answered, ``"*"`` for all, :data:`ADDRESSES`; None is the loopback's names
        without keys, and all with keys.
    """

    __slots__ = ("_failures", "_hosts", "_seen", "_takes_addresses", "_throttle", "keys")

    def __init__(self, keys: Keys | None, limits: Limits, hosts: Sequence[str] | None) -> None:
        if isinstance(hosts, str):
            raise UsageError(f"hosts are a list of names, not a text: [{shown(hosts)}]")
        self.keys = keys
        if hosts is None and keys is None:
            hosts = LOOPBACK
        self._takes_addresses = hosts is not None and ADDRESSES in hosts
        names = dict.fromkeys(_written(host) for host in hosts or () if host != ADDRESSES)  # in their order
        self._hosts = None if hosts is None or "*" in hosts else names
        self._seen: dict[bytes, bool] = {}
        self._throttle = None if limits.rate is None else Throttle(limits.rate)
        self._failures = Throttle(_FAILURES) if keys is not None else None

    def admit(
        self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], needs: Scope, counted: bool = True
    ) -> Caller:
        """Let a request in. O(1).

        :param needs: what its key must allow. :param counted: it counts against the rate.
        :raises Problem: 403 for another host or origin, 401 without a key, 403 for one that allows less, 429 for too
            many requests, 421 for a host that this service is not.
        """
        hosts = self._hosts
        if hosts is not None:
            host = headers.get(b"host", b"")
            if not self._seen.get(host) and not self._is_host(host):
                raise Problem(421, "Misdirected Request", self._other_host(host))
        if b"origin" in headers or b"sec-fetch-site" in headers:
            self._check_origin(scope, headers)
        who = address_of(scope) if self.keys is None else self._key(scope, headers, needs).id
        throttle = self._throttle
        if throttle is None or not counted:
            return Caller(who, [])
        wait = throttle.take(who)
        told = throttle.headers(who, wait)
        if wait:
            raise Problem(429, detail=f"too many requests: come again in {wait:.3g} s", headers=told)
        return Caller(who, told)

    def _is_host(self, host: bytes) -> bool:
        assert self._hosts is not None
        name = _name_in(host)
        found = name in self._hosts or (self._takes_addresses and _is_address(name))
        if found and len(self._seen) < _MOST_HOSTS:
            self._seen[host] = True
        return found

    def _other_host(self, host: bytes) -> str:
        """Say which names are answered, and how to name more."""
        assert self._hosts is not None
        names = list(self._hosts)
        if self._takes_addresses:
            names = ["IP addresses", *(name for name in names if not _is_address(name))]
        if len(names) > _MOST_NAMED:
            names[_MOST_NAMED:] = [f"{len(names) - _MOST_NAMED} more"]
        listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names or ["no name"])
        asked = shown(_name_in(host) or host.decode("latin-1"))
        more = "name it by --allow-host, or in Service(hosts=[...])"
        return f"this service answers to {listed} alone, not to {asked}: {more}"

    def _check_origin(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> None:
        """Refuse what pages of other sites ask for, unless it comes with a key of its own."""
        if self.keys is not None and COOKIE not in headers.get(b"cookie", b""):
            return
        origin, host = headers.get(b"origin"), headers.get(b"host", b"")
        same = origin is None or origin.lower() in (b"http://" + host.lower(), b"https://" + host.lower())
        if not same or headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            if scope["method"] in ("GET", "HEAD") and origin is None and headers.get(b"sec-fetch-mode") == b"navigate":
                return  # a link to the page
            raise Problem(403, detail="pages of other sites may not ask this service")

    def _key(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes], needs: Scope) -> Key:
        assert self.keys is not None
        assert self._failures is not None
        key: Key | None = None
        said = headers.get(b"authorization", b"")
        if said[:7].lower() == b"bearer ":
            key = self.keys.verify(said[7:].strip())
        elif b"x-api-key" in headers:
            key = self.keys.verify(headers[b"x-api-key"].strip())
        elif needs == "read" and scope["method"] in ("GET", "HEAD") and COOKIE in headers.get(b"cookie", b""):
            key = self.keys.session(cookie_of(headers))
        elif needs == "run" and COOKIE in headers.get(b"cookie", b"") and self.keys.session(cookie_of(headers)):
            raise Problem(403, detail="the page's link only reads: give a key with the scope 'run'")
        if key is None:
            wait = self._failures.take(address_of(scope))
            if wait:
                raise Problem(429, detail="too many requests without a key that is known",
                              headers=[(b"retry-after", b"%d" % (int(wait) + 1))])  # fmt: skip
            raise Problem(401, detail="give a key: 'Authorization: Bearer flow_...'", headers=_CHALLENGE)
        if needs not in key.scopes:
            raise Problem(403, detail=f"this key does not allow that: it needs the scope {needs!r}")
        return key


def _name_in(host: bytes) -> str:
    """Return the name in ``Host``, without the port; empty if there is none."""
    parts = _HOST.fullmatch(host.decode("latin-1").lower())
    return parts[1] if parts is not None else ""


def _is_address(name: str) -> bool:
    """Tell whether a name in ``Host`` is an IP address, one of IPv6 in brackets."""
    try:
        if name.startswith("[") and name.endswith("]"):
            ipaddress.IPv6Address(name[1:-1])
        else:
            ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _written(host: str) -> str:
    """Return a name as it stands in ``Host``: an address of IPv6 in brackets."""
    return f"[{host.lower()}]" if host.count(":") > 1 and not host.startswith("[") else host.lower()


def cookie_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the session that the cookies of a request hold; empty if there is none."""
    for part in headers.get(b"cookie", b"").split(b";"):
        name, _, value = part.strip().partition(b"=")
        if name == COOKIE:
            return value.decode("latin-1")
    return ""


__all__ = ["ADDRESSES", "COOKIE", "LOOPBACK", "Caller", "Entrance", "Scope", "cookie_of"]
