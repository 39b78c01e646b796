"""The way in: :func:`tune`."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import median
from typing import Any, Final

from flow.awaits import UNAWAITED, is_unawaited
from flow.config import Config
from flow.config.fields import is_number, is_one_of
from flow.config.run import DEFAULT_CONFIG
from flow.errors import BlockingNodeWarning, ConfigError, FlowError, Show, UsageError, shower, shown
from flow.graph.dag import Dag, Ref
from flow.logs import SILENT
from flow.plan.plan import Plan
from flow.run.result import duration
from flow.run.stores import ruled
from flow.signature import takes_nothing
from flow.tracebacks import end_at_user
from flow.tuning.candidates import (
    CONSEQUENCES,
    Changes,
    Factor,
    Objective,
    differences,
    factors,
    neighbours,
    put_back,
    setting_of,
)
from flow.tuning.measure import Bench, Trial
from flow.tuning.report import Reason, Tried, TuneReport, assigned, nodes
from flow.tuning.search import ENOUGH, MARGIN, ROUNDS, Gain, Search, gain_of, times
from flow.tuning.standin import Work, faults_of_work, stand_in
from flow.types import references

Inputs = Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None

SHARES: Final = {"explore": 0.4, "halve": 0.6, "combine": 0.8, "ablate": 1.0}
"""When each step of the search ends, as shares of the time before the last comparison."""

LEAST_RUNS: Final = 8
"""Runs of the default that must fit into the budget."""

PATIENCE: Final = 4.0
MEMORY_PATIENCE: Final = 20.0
EXPLAINED: Final = 15
"""Most rounds per setting that is explained."""


def tune(
    target: Dag | Plan,
    inputs: Inputs = None,
    *,
    objective: Objective = "throughput",
    budget: float = 30.0,
    config: Config | None = None,
    candidates: Iterable[Config] | None = None,
    targets: Ref | Iterable[Ref] | None = None,
    work: Work | None = None,
    scale: float = 1.0,
    timer: Callable[[], float] = time.perf_counter,
    say: Callable[[str], object] | None = None,
) -> TuneReport:
    """Find a better config for a DAG by running it under many configs, again and again.

    **Tuning runs your nodes, with all side effects**, as often as fits into ``budget``; :attr:`TuneReport.runs` is the
    number of runs. ``work`` puts stand-ins in place of the nodes. A config wins only if it beats the default beyond
    noise.

    :param inputs: the run inputs; or a function that makes them before each run, if a run uses them up.
    :param objective: ``throughput``: the median time of back-to-back runs; ``latency``: the 95th percentile of runs one
        by one; ``memory``: the most bytes that a run holds at a time, as :mod:`tracemalloc` counts them.
    :param budget: seconds that tuning may take, to within a few runs of the DAG.
    :param config: your present config, which others must beat; None is that of the Dag, or the default. Its
        ``on_error``, ``timeout``, ``observers``, ``timing``, ``blocking_after``, ``backend`` and ``clock`` are kept.
    :param candidates: try these configs, and nothing else.
    :param targets: as for :func:`flow.run`.
    :param work: run stand-ins that do nothing (``noop``), or ``sleep`` or compute (``cpu``) for their node's ``cost``;
        ``inputs`` are ignored then.
    :param scale: factor on these costs.
    :param timer: seconds on a monotonic scale.
    :param say: called with one line before the trials begin: the time of a run and the possible number of runs.
    :raises UsageError: on a thread that runs an event loop; if one run takes more than an eighth of the budget.
    :raises ConfigError: listing every argument out of range, and inputs that the first run uses up.
    :raises RunError: if your nodes fail under the default config. A candidate that fails is only left out, and so is a
        candidate with other outputs, if two runs under the default had equal outputs.
    """
    silent = SILENT.set(True)
    try:
        given = list(candidates) if isinstance(candidates, Iterable) else candidates
        wanted = DEFAULT_CONFIG if config is None else config
        _check(target, inputs, objective, budget, wanted, given, work, scale, timer, say)
        _refuse_on_a_loop()
        began = timer()
        plan = target.compile() if isinstance(target, Dag) else target
        config = ruled((plan.config or DEFAULT_CONFIG) if config is None else config, plan)
        given = None if given is None else [ruled(candidate, plan) for candidate in given]
        names = None if targets is None else [plan.names[plan.find(ref)] for ref in references(targets)]
        if work is not None:
            plan, inputs = stand_in(plan, work, scale), None
        bench = Bench(plan, _maker(inputs), names, objective, timer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BlockingNodeWarning)
            part = plan if names is None else plan.subgraph(*names)
            tuning = _Tuning(bench, part, objective, Trial(config), began + budget)
            tuning.begin(budget, say)
            found = tuning.search(given)
        notes = [] if work is None else [f"measured on stand-ins ({work}), not on your functions"]
        return tuning.report(found, notes, timer() - began)
    except FlowError as error:
        end_at_user(error)
        raise
    finally:
        SILENT.reset(silent)


class _Tuning:
    """The steps of one tuning."""

    def __init__(self, bench: Bench, plan: Plan, objective: Objective, default: Trial, ends: float) -> None:
        self.bench = bench
        self.plan = plan
        self.objective: Objective = objective
        self.default = default
        self.ends = ends
        self.given = False
        self.why: list[Reason] = []
        self.closest = ""
        self.gain = Gain(1.0, 1.0, 1.0, 0)
        self.finder = Search(bench, default, PATIENCE)
        if objective == "memory":  # its figures hardly differ from run to run
            self.finder = Search(bench, default, MEMORY_PATIENCE, rounds=1)

    def begin(self, budget: float, say: Callable[[str], object] | None) -> None:
        """Run the default, and see whether the budget suffices."""
        self.bench.probe(self.default, budget / 2)
        once, name = self.default.once, self.plan.name
        if once > budget / LEAST_RUNS:
            raise UsageError(
                f"one run of dag {name!r} takes {duration(once)}, more than an eighth of the budget of "
                f"{duration(budget)}: give a budget (--budget) of at least {duration(once * 40)}, or smaller inputs"
            )
        if say is not None:
            left = self.ends - self.bench.now()
            say(
                f"one run of {name} takes {duration(once)}; its {nodes(len(self.plan))} will be run again and again "
                f"for at most {duration(left)}: up to {max(1, round(left / once)):,} times, more where a run is faster"
            )

    def search(self, given: list[Config] | None) -> Trial:
        """Return the trial that is best beyond noise: the default's, if none is."""
        start = self.bench.now()
        left = self.ends - start
        confirming = max(0.25 * left, min(0.5 * left, 2 * ENOUGH * self.default.once))
        until = {step: start + share * (left - confirming) for step, share in SHARES.items()}
        base = self.default.config
        if given is None:
            singles = self.finder.explore(base, self._factors(base), until["explore"])
        else:
            self.given = True
            tried = dict.fromkeys(map(self.finder.trial, given))
            singles = [t for t in tried if not t.note and t is not self.default]
        ranked = self.finder.halve(singles, until["halve"])
        if not ranked or gain_of(ranked[0]) <= 1:
            return self.default
        best = ranked[0]
        if given is None:
            best = self._combine(best, ranked, until["combine"])
            self.bench.forget()
            best = self._ablate(best, until["ablate"])
        if best is self.default:
            return best
        return self._confirmed(best)

    def _factors(self, config: Config) -> list[Factor]:
        return list(factors(self.plan, config, self.objective, self.bench.uses_data))

    def _combine(self, best: Trial, singles: list[Trial], until: float) -> Trial:
        """Add to the best setting the others that helped, and what it makes possible, while that is better."""
        base = self.default.config
        helped = [changed(base, t.config) for t in singles if gain_of(t) > 1 + MARGIN / 2]
        for _ in range(3):
            mine = changed(base, best.config)
            others: dict[tuple[str, ...], Changes] = {}
            for changes in helped:
                if not changes.keys() & mine.keys():
                    others.setdefault(tuple(changes), changes)
            options = [*others.values(), *neighbours(best.config)]
            if len(others) > 1:
                options.append({name: value for changes in others.values() for name, value in changes.items()})
            known = {factor.name for factor in self._factors(base)}
            new = [f for f in self._factors(best.config) if f.name not in known and f.name not in mine]
            pool = self.finder.explore(best.config, [Factor("more", options), *new], until)
            pool = [t for t in pool if not t.ratios]
            if not pool:
                break
            ranked = self.finder.halve([best, *pool], until)
            if gain_of(ranked[0]) < gain_of(best) * (1 + MARGIN):  # simpler is better
                break
            best = ranked[0]
        return best

    def _ablate(self, best: Trial, until: float) -> Trial:
        """Put each setting of ``best`` back; leave it so where that costs nothing, else note what it is good for."""
        base = self.default.config
        settings = differences(base, best.config)
        if len(settings) < 2:
            return best
        for k, (name, value) in enumerate(settings.items()):
            if name not in differences(base, best.config):
                continue  # left with another
            now = self.bench.now()
            mine = now + (until - now) / (len(settings) - k)
            config = put_back(best.config, base, name)
            note = "" if config is not None else "with the other settings of data, which need it"
            config = config or best.config.replace(data=base.data)
            if now >= until:
                self._explain(name, value, None, "not measured by itself: the budget was used up")
                continue
            without = self.finder.trial(config)
            gain = None if without.note else self.finder.compare(best, without, mine, EXPLAINED)
            if gain is not None and not gain.needed:
                best = without
                continue
            if without.note:
                note = "; ".join(filter(None, [note, f"without it: {without.note}"]))
            self._explain(name, value, gain, note)
        kept = differences(base, best.config)
        self.why = [reason for reason in self.why if reason.setting in kept]
        return best

    def _confirmed(self, best: Trial) -> Trial:
        """Return ``best`` if it beats the default in rounds of their own."""
        most = ENOUGH if self.objective == "memory" else ROUNDS
        gain = self.finder.compare(best, self.default, self.ends, most)
        if gain.rounds:  # what is shown: the last and longest comparison
            best.ratios = [gain.times]
        settings = differences(self.default.config, best.config)
        if not gain.sure:
            self.closest = f"closest: {assigned(settings)}, {gain.than('the default')}" if gain.rounds else ""
            return self.default
        self.gain = gain
        if len(settings) == 1:
            self.why.clear()
            for name, value in settings.items():
                self._explain(name, value, gain)
        return best

    def _explain(self, name: str, value: Any, gain: Gain | None, note: str = "") -> None:
        consequence = CONSEQUENCES.get((name, value), "") if isinstance(value, str) else ""
        default = setting_of(self.default.config, name)
        self.why.append(Reason(name, value, default, gain, "; ".join(filter(None, [note, consequence]))))

    # -- the report --------------------------------------------------------------------------

    def report(self, best: Trial, notes: list[str], seconds: float) -> TuneReport:
        """Gather everything."""
        notes = [*notes, *self._more_notes(best)]
        if not self.default.samples:
            self.default.samples.append(self.bench.sample(self.default))
        trials = sorted(self.finder.trials, key=gain_of, reverse=True)
        return TuneReport(
            dag=self.plan.name,
            objective=self.objective,
            best=best.config,
            default=self.default.config,
            gain=self.gain,
            why=() if best is self.default else tuple(self.why),
            trials=tuple(map(self._tried, [self.default, *trials])),
            runs=self.bench.runs,
            nodes=len(self.plan),
            seconds=seconds,
            notes=tuple(notes),
        )

    def _more_notes(self, best: Trial) -> list[str]:
        if not self.finder.trials and self.given:
            return ["there is nothing to try: the default is the only candidate"]
        if not self.finder.trials:
            return ["there is nothing to vary: no two of its nodes can be in flight, and it uses no data"]
        if best is self.default:
            return [self.closest] if self.closest else []
        if self.objective != "memory":
            return []
        slower = median(self.bench.batch(best) / self.bench.batch(self.default) for _ in range(3))
        return [f"a run takes {times(slower)} times as long as by the default"]

    def _tried(self, trial: Trial) -> Tried:
        figure = median(trial.samples) if trial.samples else None
        note = trial.note or ("" if trial.samples else "no time for more than a first run")
        ratio = 1.0 if trial is self.default else gain_of(trial) or None
        return Tried(differences(self.default.config, trial.config), ratio, figure, len(trial.samples), note)


def _maker(inputs: Inputs) -> Callable[[], Mapping[str, Any] | None]:
    return inputs if callable(inputs) else lambda: inputs


def changed(base: Config, config: Config) -> Changes:
    """Return the fields in which two configs differ, as they are in the second."""
    fields = Config.__struct_fields__
    return {f: getattr(config, f) for f in fields if getattr(config, f) != getattr(base, f)}


def _check(
    target: object,
    inputs: object,
    objective: object,
    budget: object,
    config: object,
    candidates: object,
    work: object,
    scale: object,
    timer: object,
    say: object,
) -> None:
    if not isinstance(target, (Dag, Plan)):
        raise UsageError(f"tune takes a flow.Dag or a flow.Plan, not {shown(target)} (a {type(target).__name__})")
    faults = list(_faults_of_inputs(inputs, shower(config) if isinstance(config, Config) else shown))
    if not is_one_of(objective, ("throughput", "latency", "memory")):
        faults.append(f"objective must be one of 'throughput', 'latency', 'memory', not {shown(objective)}")
    if not is_number(budget) or budget <= 0:  # type: ignore[operator]
        faults.append(f"budget must be a number of seconds > 0, not {shown(budget)}")
    if not isinstance(config, Config):
        faults.append(f"config must be a flow.Config, not {shown(config)}")
    some = isinstance(candidates, list) and candidates and all(isinstance(c, Config) for c in candidates)
    if candidates is not None and not some:
        faults.append(f"candidates must be a list of flow.Configs, at least one, not {shown(candidates)}")
    faults += faults_of_work(work, scale)
    for label, fn in (("timer", timer), ("say", say)):
        if is_unawaited(fn):
            faults.append(f"{label} {UNAWAITED}, not {shown(fn)}")
    if faults:
        raise ConfigError("tune", faults)


def _faults_of_inputs(inputs: object, show: Show) -> Iterator[str]:
    """Yield what would end, or empty, every run but the first."""
    if callable(inputs):
        if not takes_nothing(inputs) or is_unawaited(inputs):
            yield f"inputs must be a mapping, or a plain function without arguments that makes one, not {show(inputs)}"
    elif isinstance(inputs, Mapping):
        for name, value in inputs.items():
            if hasattr(type(value), "__next__") or hasattr(type(value), "__anext__"):
                yield (
                    f"input {name!r} is used up by the first of many runs ({show(value)}): give a function that makes "
                    f"the inputs anew, as in tune(dag, lambda: {{{name!r}: ...}})"
                )


def _refuse_on_a_loop() -> None:
    """The runs start loops of their own. Neither library is imported to be asked."""
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    in_trio = getattr(getattr(sys.modules.get("trio"), "lowlevel", None), "in_trio_run", None)
    if (running is not None and running() is not None) or (in_trio is not None and in_trio()):
        raise UsageError(
            "flow.tune starts event loops of its own, and this thread already runs one: "
            "call it in a thread, as in 'await anyio.to_thread.run_sync(flow.tune, dag)'"
        )
