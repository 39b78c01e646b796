"""The command ``flow serve``: Dags and workflow files over HTTP (the extra ``http``)."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import click
import msgspec

from flow.cli import durable, log
from flow.cli import options as given
from flow.cli.target import TargetError, is_trace, load
from flow.cli.terminal import tell
from flow.cli.workflow import allow_option, is_workflow
from flow.config import Config
from flow.errors import UsageError
from flow.plan.plan import Plan
from flow.reprs import counted
from flow.types import NAME_RULE, is_name

if TYPE_CHECKING:
    from flow.http.keys import Keys
    from flow.http.limits import Limits, Rate
    from flow.http.server.server import Serving
    from flow.http.service import Service

F = TypeVar("F", bound=Callable[..., Any])
KEY: Final = "$FLOW_KEY"
"""What stands for a key in lines that are printed."""

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_NEEDED: Final = ("starlette", "uvicorn")


class Missing(click.ClickException):
    """A library is not installed."""

    exit_code = 2


class Served(msgspec.Struct, frozen=True):
    """What is served. It is pickled: each worker loads it by itself.

    :ivar targets: names of workflows, empty for those of the Dags, and what each one is loaded from.
    :ivar keys: the file of keys, if there is one. :ivar hosts: the names that are answered; None is the Service's own.
    :ivar log: the level of what is printed of runs; None is warnings and errors alone.
    """

    targets: tuple[tuple[str, str], ...]
    allow: tuple[str, ...]
    limits: Limits
    store: str | None
    durability: Literal["sync", "async", "exit"]
    keys: str | None
    hosts: tuple[str, ...] | None
    log: str | None


# -- options ---------------------------------------------------------------------------------


def rate_of(_: click.Context, __: click.Parameter, value: str | None) -> Rate | None:
    """Read ``60/min``, ``100/1`` (in one second) or ``1000/30s``."""
    if value is None:
        return None
    from flow.http.limits import Rate

    found = re.fullmatch(r"(\d{1,9}) */ *(\d+(?:\.\d*)?|\.\d+|) *(s|m|min|h|)", value.strip())
    if found is None or not (found[2] or found[3]):
        raise click.BadParameter(f"{value!r} is no rate: write it as in 60/min, 100/1 or 1000/30s")
    seconds = float(found[2] or 1) * _UNITS[found[3]]
    if not seconds or not int(found[1]):
        raise click.BadParameter(f"{value!r} lets nothing in: write it as in 60/min")
    return Rate(int(found[1]), seconds)


def host_of(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Read the names of ``--allow-host``: as in ``Host``, without a port; ``*`` for all."""
    for value in values:
        if value != "*" and not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", value) and not _is_address(value.strip("[]")):
            raise click.BadParameter(f"{value!r} is no name of a host: write it as flow.example.com, without a port")
    return values


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _options(command: F) -> F:
    """Add all options but TARGET, ``--allow`` and ``--debug``."""
    port, count = click.IntRange(0, 65_535), click.IntRange(min=1)
    options = (
        click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on."),
        click.option("--port", type=port, default=8_080, show_default=True, help="0 picks a free one, and says it."),
        click.option("--store", metavar="FILE", help="Make runs durable: they go on when the service starts again."),
        click.option(
            "--durability", type=click.Choice(["sync", "async", "exit"]), help="As for `flow run`.  [default: async]"
        ),
        click.option("--workers", type=count, default=1, show_default=True, help="Processes; more need a --store."),
        click.option("--keys", metavar="FILE", help="Who may come in: a file that `flow keys add` writes."),
        click.option("--no-auth", is_flag=True, help="Let all in, also on addresses that other machines reach."),
        click.option(
            "--allow-host", multiple=True, callback=host_of, metavar="NAME",
            help="A name under which it answers besides its own. Repeatable.",
        ),
        click.option(
            "--grace", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="S",
            help="Seconds that runs have to end once the service is to end.",
        ),
        click.option(
            "--notice", type=click.FloatRange(min=0), default=0.0, show_default=True, metavar="S",
            help="Seconds in which /ready says 503 before connections are refused, for load balancers.",
        ),
        click.option("--rate", callback=rate_of, metavar="COUNT/TIME", help="Requests per key or address: 60/min."),
        click.option("--burst", type=count, metavar="N", help="Of these, how many at once.  [default: COUNT]"),
        click.option("--max-runs", type=count, metavar="N", help="Runs at once.  [default: 1000]"),
        click.option(
            "--max-queue", type=click.IntRange(min=0), metavar="N", help="Runs that wait for that.  [default: 1000]"
        ),
        click.option("--body", type=count, metavar="BYTES", help="Largest body of a request.  [default: 1 MB]"),
        click.option(
            "--metrics-port", type=port, metavar="P",
            help="Serve /metrics there as well, and of the following workers on P+1, P+2 ...; 0 picks them.",
        ),
        click.option(
            "--log", type=click.Choice(log.LEVELS, case_sensitive=False), metavar="[LEVEL]",
            help="Print on stderr when runs begin and end, at debug what their nodes do, at warning neither."
            "  [LEVEL: info]",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _check(options: Mapping[str, Any]) -> None:
    """:raises click.UsageError: with all that does not go together."""
    from flow.http.server.listening import is_loopback

    faults = []
    host, port, workers, first = (options[name] for name in ("host", "port", "workers", "metrics_port"))
    try:
        if not (options["keys"] or options["no_auth"] or is_loopback(host)):
            faults.append(
                f"other machines reach {host}: give --keys FILE (`flow keys add NAME` writes it), or --no-auth to let"
                " all of them in"
            )
    except UsageError as error:
        faults.append(str(error))
    if options["keys"] and options["no_auth"]:
        faults.append("--keys and --no-auth exclude each other")
    if workers > 1 and not options["store"]:
        faults.append(
            f"--workers {workers} needs --store FILE: without one each worker knows its own runs alone, and a request"
            " for a run may come to another"
        )
    if options["durability"] and not options["store"]:
        faults.append("--durability is for durable runs: say --store FILE")
    if options["burst"] and options["rate"] is None:
        faults.append("--burst is for --rate")
    if first and first + workers - 1 > 65_535:
        faults.append(f"--metrics-port {first} leaves no ports for {workers} workers")
    if first and first <= port < first + workers:
        faults.append(f"--metrics-port takes the ports {first} to {first + workers - 1}, and --port is one of them")
    if faults:
        raise click.UsageError("\n".join(faults))


def _limits(options: Mapping[str, Any]) -> Limits:
    from flow.http.limits import Limits

    rate = options["rate"]
    if rate is not None and options["burst"]:
        rate = rate.replace(burst=options["burst"])
    names = {"runs": "max_runs", "queue": "max_queue", "body": "body"}
    return Limits(rate=rate, **{name: options[of] for name, of in names.items() if options[of] is not None})


def _hosts(options: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names under which the service answers; None for all: with keys, unless some are given.

    Where other machines reach it, that is this machine's name and any address: a page of another site comes by a name.
    """
    from flow.http.entrance import ADDRESSES, LOOPBACK
    from flow.http.server.listening import is_loopback

    host, more = options["host"].lower(), options["allow_host"]
    if options["keys"] and not more:
        return None
    if is_loopback(host):
        return (*LOOPBACK, host, *more)
    name = socket.gethostname().lower()
    own = (name, f"{name}.local") if name and "." not in name else (name,)  # (a search for all names may block)
    return (*LOOPBACK, *own, *(() if _is_address(host) else (host,)), *more, ADDRESSES)


# -- what is served --------------------------------------------------------------------------


def named(target: str) -> tuple[str, str]:
    """Return the name of ``NAME=TARGET``, and the target. A file whose name has a '=' in it is none of that."""
    name, equals, rest = target.partition("=")
    if not equals or os.path.lexists(target):
        return "", target
    if not is_name(name):
        raise TargetError(f"{target!r} gives the workflow {rest!r} a name that is none: {NAME_RULE}")
    return name, rest


def loaded(targets: Sequence[tuple[str, str]], allow: Sequence[str], level: str | None = None) -> dict[str, Plan]:
    """Compile all targets, by the names of their workflows.

    :param level: of the log of their runs.
    :raises TargetError: if two have one name, or one cannot be served. :raises DefinitionError: if one has faults.
    """
    plans: dict[str, Plan] = {}
    if allow and not any(is_workflow(target) for _, target in targets):
        raise TargetError("--allow is for workflow files (.yaml, .yml, .json), and no TARGET is one")
    for name, target in targets:
        if is_trace(target):
            raise TargetError(f"{target!r} is a trace: what is served is a Dag or a workflow file")
        plan = load(target, allow if is_workflow(target) else ())
        name = name or plan.name
        if not is_name(name):
            raise TargetError(f"the Dag of {target!r} is called {name!r}: serve it as NAME={target}")
        if name in plans:
            raise TargetError(f"{target!r} is called {name!r}, as another TARGET is: serve it as NAME={target}")
        plans[name] = plan
    observers = log.observers_of_service(level)
    for plan in plans.values() if observers else ():
        config = plan.config or Config()
        plan._nodes.config = config.replace(observers=(*config.observers, *observers))
    return plans


@contextlib.contextmanager
def service_of(served: Served, plans: Mapping[str, Plan]) -> Iterator[Service]:
    """Make the service, and close its store in the end.

    :raises StoreError: if the store cannot be opened. :raises ConfigError: listing what is wrong with the keys.
    """
    from flow.http.service import Service

    with contextlib.ExitStack() as opened, durable.warnings_told(), log.served(served.log):
        store = None if served.store is None else opened.enter_context(durable.opened(served.store, served.durability))
        keys = _keys(served.keys)
        yield Service(plans, store=store, auth=keys, limits=served.limits, hosts=served.hosts)


@contextlib.contextmanager
def worker_of(served: Served) -> Iterator[Service]:
    """Make the service of a worker. :raises UsageError: if a target cannot be loaded any more."""
    try:
        plans = loaded(served.targets, served.allow, served.log)
    except click.ClickException as error:
        raise UsageError(error.message) from error
    with service_of(served, plans) as service:
        yield service


def _keys(file: str | None) -> Keys | None:
    if file is None:
        return None
    from flow.http.keys import Keys

    return Keys.open(file)


# -- the command -----------------------------------------------------------------------------


@click.command(cls=log.Logged)
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@_options
@allow_option
@given.debug_option
@click.pass_context
def serve(ctx: click.Context, /, targets: tuple[str, ...], allow: tuple[str, ...], **options: Any) -> None:
    """Serve TARGETs over HTTP: runs are started, watched and cancelled under /api/v1, and / is a page of them.

    Each workflow has the name of its Dag; NAME=TARGET gives it another. SIGTERM and Ctrl-C end the service: runs have
    --grace seconds, then they are cancelled, or with a --store left to go on at the next start. A second one ends it at
    once.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Missing(f"flow serve needs {' and '.join(missing)}: pip install 'flow-dag[http]'")
    from flow.http.server.server import Serving
    from flow.http.server.server import serve as served_by

    _check(options)
    limits = _limits(options)
    served = Served(
        tuple([named(target) for target in targets]), allow, limits, options["store"], options["durability"] or "async",
        options["keys"], _hosts(options), options["log"],
    )  # fmt: skip
    serving = Serving(limits=limits, grace=options["grace"], notice=options["notice"])
    plans = loaded(served.targets, allow, served.log)
    if options["workers"] > 1:
        with service_of(served, plans):  # all faults, before any worker is started
            pass
        with _listening(options) as (sockets, metrics):
            _announce(options, plans, sockets, metrics)
            ctx.exit(_by_workers(served, serving, sockets, metrics, options["workers"]))
    with service_of(served, plans) as service, _listening(options) as (sockets, metrics):
        _announce(options, plans, sockets, metrics)
        served_by(service, sockets, serving, metrics[0] if metrics else None)


def _by_workers(
    served: Served, serving: Serving, sockets: Sequence[socket.socket], metrics: Sequence[socket.socket], count: int
) -> int:
    from flow.http.server.workers import Workers

    return Workers(functools.partial(worker_of, served), count, sockets, serving, metrics, tell).run()


@contextlib.contextmanager
def _listening(options: Mapping[str, Any]) -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    """Listen on the ports of the service and of ``/metrics``. :raises click.ClickException: if one is taken."""
    from flow.http.server.listening import listen

    first, workers = options["metrics_port"], options["workers"]
    ports = [] if first is None else [first + i if first else 0 for i in range(workers)]
    try:
        made = listen(options["host"], [options["port"], *ports])
    except OSError as error:
        raise click.ClickException(str(error.strerror)) from error
    with contextlib.ExitStack() as stack:
        for one in made:
            stack.callback(one.close)
        yield made[:1], made[1:]


def _announce(
    options: Mapping[str, Any], plans: Mapping[str, Plan], sockets: Sequence[socket.socket],
    metrics: Sequence[socket.socket],
) -> None:  # fmt: skip
    """Tell where the service is, and how to ask it."""
    from flow.http.server.listening import url_of
    from flow.http.server.sample import curl_of

    host, workers = options["host"], options["workers"]
    url = url_of(host, sockets[0])
    processes = f" by {workers} workers" if workers > 1 else ""
    tell(f"serving {counted(len(plans), 'workflow')}{processes} on {url} (Ctrl-C ends it): {', '.join(plans)}")
    if options["no_auth"]:
        tell(f"Warning: --no-auth: whoever reaches {host} may start, see and cancel runs")
    if metrics:
        tell(f"metrics: {', '.join(f'{url_of(host, one)}/metrics' for one in metrics)}")
    elif workers > 1:
        tell("metrics: /metrics is that of the worker which answers; --metrics-port gives each worker its own port")
    name, plan = next(iter(plans.items()))
    tell(f"run {name}:", f"  {curl_of(url, name, plan, KEY if options['keys'] else '')}")
    keys = _keys(options["keys"])
    if keys is None:
        tell(f"page: {url}/")
    else:
        tell(f"page, by a link for once: {url}/login?token={keys.link_token(scope='read')}")


__all__ = ["serve"]
