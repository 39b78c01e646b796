"""The nodes of a region one by one: tasks, transitions that have nodes of their own, handlers, failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow.config.fields import is_number
from flow.spec.converting.emitting import MAX_ROUNDS, all_of, grouped
from flow.spec.converting.model import Task, Transition
from flow.spec.converting.orquesta import literal_of
from flow.spec.converting.routes import Instance, goes_on, literals
from flow.spec.converting.sites import Place, reference

if TYPE_CHECKING:
    from flow.spec.converting.emitting import Emitter

_OPTIONS = ("retry", "timeout", "concurrency", "batch_size", "on_error", "description")


class Maker:
    """Makes the nodes of one region. :param emitter: knows the edges, and keeps what is made."""

    def __init__(self, emitter: Emitter) -> None:
        self.emitter = emitter
        self.region = emitter.region
        self.converter = emitter.converter

    def make_all(self) -> None:
        for one in self.region.made:
            self._task(one)
            for way in one.task.next:
                if (one.place, way.index) in self.emitter.helpers:
                    self._helper(one, way)
            self._handled(one)
            for way in one.task.next:
                if "fail" in way.do:
                    self._fail(one, way)

    # -- tasks

    def _task(self, one: Instance) -> None:
        emitter = self.emitter
        edges, when, join = emitter.edges(one)
        node = self._kind(one)
        publish = self._published(one)
        gated = join is not None and (len(when) > 0 or self._reads({**node, "publish": publish}))
        delay = literal_of(one.task.delay) or 0
        if not is_number(delay):
            emitter.notes.add(one.task.at, "the delay of a task is a number here, and no expression: it is left out")
            delay = 0
        name = one.name
        if delay > 0:
            name = emitter.fresh(f"{one.name}.delay")
        routing: dict[str, Any] = dict(emitter.after(edges))
        if join is not None:
            routing["join"] = join
        if when:
            routing["when"] = all_of(when)
        if name != one.name:
            emitter.put(name, {"timer": delay, **routing}, one.must)
            routing = {"after": name}
        elif gated:
            name = emitter.fresh(f"{one.name}.join")
            emitter.put(name, {"set": {}, **routing}, one.must)
            routing = {"after": name}
        allowed = {"set": ("description",), "signal": ("description", "timeout")}.get(one.task.kind, _OPTIONS)
        options = {key: value for key, value in one.task.options.items() if key in allowed}
        if one.tolerated:
            options["continue_on_error"] = True
        head = {key: options.pop(key) for key in ("description",) if key in options}
        emitter.put(
            one.name, {**head, **node, **routing, **options, **({"publish": publish} if publish else {})}, one.must
        )
        if one.task.join is not None and len(one.sources) > 1:
            self._unreachable(one, edges)

    def _reads(self, node: dict[str, Any]) -> bool:
        text = repr({key: node.get(key) for key in ("with", "over", "set", "publish")})
        return "{{" in text

    def _kind(self, one: Instance) -> dict[str, Any]:
        task, region = one.task, self.region
        site = Place(region, one, item_names=task.item_names)
        if task.kind == "loop":
            return region.loop_node(one, site)
        if task.kind == "signal":
            return {"signal": {}}
        if task.kind == "set":
            return {"set": {}}
        given = self._given(task, site)
        call = region.callee(task)
        until = task.options.get("until")
        if until is not None:
            return {"loop": call, **given, "until": self._until(one, until), "max_iterations": MAX_ROUNDS}
        if task.kind == "map":
            over = self.converter.value(task.items, Place(region, one, own="over"), task.at)
            if not isinstance(over, (list, dict)) and not (isinstance(over, str) and "{{" in over):
                what = f"the items of {task.name!r} are no list and no expression: none is taken"
                self.emitter.notes.add(task.at, what)
                over = []
            return {"map": call, "over": over, "with": {}, **given}
        return {"call": call, **given}

    def _given(self, task: Task, site: Place) -> dict[str, Any]:
        if not task.given:
            return {"with": {}} if task.kind == "map" else {}
        if not isinstance(task.given, dict):
            what = "an input that is one expression has no counterpart: name the parameters"
            self.emitter.notes.add(task.given, what)
            return {}
        return {"with": self.converter.value(task.given, site, task.at)}

    def _until(self, one: Instance, way: Transition) -> str:
        """The condition that ends the rounds of a task that follows itself."""
        site = Place(self.region, one, ended="completed", own="value")
        texts = [self.converter.condition(condition, site, way.at) for condition in way.conditions]
        return f"not ({' and '.join(map(grouped, texts))})"

    # -- what is published

    def _published(self, one: Instance) -> dict[str, Any]:
        """What a node publishes itself."""
        found: dict[str, Any] = {}
        for way in one.task.next:
            definitions = self.region.variables.at(one, way)
            if any(definition.node == one.name for definition in definitions.values()):
                site = Place(self.region, one, ended="completed", own="result")
                site.sees_own = not way.shared
                found.update(self._values(one, way, site))
        return found

    def _values(self, one: Instance, way: Transition, site: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        definitions = self.region.variables.at(one, way)
        for name, value in way.publish:
            key = definitions[name].key
            found[key] = self.converter.value(value, site, way.at)
            site.local[name] = f"data.{key}"
        return found

    def _helper(self, one: Instance, way: Transition) -> None:
        """The node that stands for a transition."""
        emitter = self.emitter
        name = emitter.helpers[one.place, way.index]
        node: dict[str, Any] = {"set": {}}
        reference_ = reference(one.name)
        when = emitter.conditions(one, way)
        status = way.status
        if status == "done" and (one.tolerated or not one.task.may_fail):
            status = "completed"
        if status == "done" and not one.certain:
            when.insert(0, f"succeeded({reference_}) or failed({reference_})")
        elif status == "failed" and not way.leads_on:
            status = "done"  # this remedies nothing, so the failure is not to count as handled
            when.insert(0, f"failed({reference_}) == true")
        node.update(emitter.after({one.name: status}))
        if when:
            node["when"] = all_of(when)
        site = Place(self.region, one, ended=one.ended(way))
        mine = {d.name for d in self.region.variables.at(one, way).values() if d.node == name}
        site.sees_own = not way.shared and site.ended == "completed"
        if mine:
            node["publish"] = self._values(one, way, site)
        emitter.put(name, node, {**one.must, **literals(one, way, self.region.published)})

    # -- failures

    def _handled(self, one: Instance) -> None:
        """A failure counts as handled by a node behind ``{a: failed}``: make one if none of the others is."""
        emitter = self.emitter
        if not one.task.may_fail or one.tolerated:
            return
        tests = list[str]()
        for way in one.task.next:
            if way.status not in ("failed", "done") or not way.leads_on:
                continue
            has_helper = (one.place, way.index) in emitter.helpers
            alone = any(len(other.sources[one.place][1]) == 1 for other in emitter.targets(one, way))
            handles = way.status == "failed" and (has_helper or alone)
            if handles and not way.conditions:
                return
            if not handles:
                tests.append(" and ".join(map(grouped, emitter.conditions(one, way))))
        if not tests:
            return
        node: dict[str, Any] = {"set": {}, "after": {one.name: "failed"}}
        if all(tests) and not any(f"not {test}" in tests for test in tests):
            node["when"] = " or ".join(tests) if len(tests) == 1 else " or ".join(f"({test})" for test in tests)
        emitter.put(emitter.fresh(f"{one.name}.handled"), node)

    def _fail(self, one: Instance, way: Transition) -> None:
        """``do: fail``: a node that fails, once what is done beside it has ended."""
        emitter = self.emitter
        name = emitter.fresh(f"{one.name}.fail")
        edges, when = emitter.edge(one, [way], True)
        for other in emitter.targets(one, way):
            edges[other.name] = "done"
        message = f"{one.name}: the workflow says 'fail'"
        node: dict[str, Any] = {"call": "fail", "with": {"message": message}, **emitter.after(edges)}
        if when:
            node["when"] = all_of(when)
        emitter.put(name, node)

    def _unreachable(self, one: Instance, edges: dict[str, str]) -> None:
        """Fail the run if only some of the ways into a join were taken, as Orquesta does."""
        sources = one.sources
        if one.task.join == "all":
            comes = all(self._comes(source, ways) for source, ways in sources.values())
            if (
                comes
                and len({self._fork(source).place for source, _ in sources.values() if not source.certain}) < 2
                and (
                    all(source.certain for source, _ in sources.values())
                    or not any(source.certain for source, _ in sources.values())
                )
            ):
                return
        word = {"completed": "succeeded({})", "failed": "failed({})", "done": "(succeeded({}) or failed({}))"}
        tolerated = {source.name for source, _ in sources.values() if source.tolerated}
        came = " or ".join(
            word["done" if name in tolerated else status].replace("{}", reference(name))
            for name, status in edges.items()
        )
        node = reference(one.name)
        message = f"{one.name}: not all of its ways were taken, and none is left that could be"
        self.emitter.put(
            self.emitter.fresh(f"{one.name}.unreachable"),
            {
                "call": "fail", "with": {"message": message},
                "when": f"({came}) and not (succeeded({node}) or failed({node}))",
            },
        )  # fmt: skip

    def _comes(self, source: Instance, ways: list[Transition]) -> bool:
        """Tell whether one of some transitions is taken once their task has run, unless the run fails anyway."""
        plain = {way.status for way in ways if not way.conditions}
        return bool(
            "done" in plain or {"completed", "failed"} <= plain or ("completed" in plain and not goes_on(source.task))
        )

    def _fork(self, one: Instance) -> Instance:
        """Return the first node before that is followed by this one in any case, unless the run fails."""
        while not one.certain and len(one.sources) == 1:
            ((source, ways),) = one.sources.values()
            if not self._comes(source, ways):
                break
            one = source
        return one


__all__ = ["Maker"]
