"""From the outline of a file to its Dag: every key is a keyword of one of the methods of :class:`flow.Dag`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flow.errors import shown
from flow.graph.dag import Dag
from flow.policy.scope import Reads
from flow.spec.nodes import steps
from flow.spec.nodes.kinds import Adder
from flow.spec.nodes.names import OUTPUTS, VARS, Known, Read
from flow.spec.nodes.outline import Outline, References
from flow.spec.nodes.parts import Part, placed
from flow.spec.text.places import Table
from flow.spec.text.values import Made, calls_of, uses_of


class Builder:
    """Builds the Dag of one file.

    :param table: the file. :param outline: its nodes. :param variables, outputs: the values in ``vars``, ``outputs``.
    :param references: gives what it calls.
    """

    def __init__(
        self,
        dag: Dag,
        table: Table,
        outline: Outline,
        variables: Sequence[tuple[str, Made]],
        outputs: Made | None,
        references: References,
    ) -> None:
        self.dag = dag
        self.table = table
        self.outline = outline
        self.variables = variables
        self.outputs = outputs
        self.references = references
        self.faults = outline.faults

    def build(self) -> None:
        """Add every node; note what is wrong."""
        self._check()
        if self.variables:
            self._add_variables()
        adder = Adder(self.dag, self.outline, self.references)
        for part in self.outline.parts.values():
            adder.add(part)
        if self.outputs is not None:
            self._add_outputs(self.outputs)

    # -- checks ------------------------------------------------------------------------------

    def _check(self) -> None:
        known, faults, outline = self.outline.known, self.faults, self.outline
        seen: dict[str, None] = {}  # grows on the way
        before = Known({}, known.inputs, seen, {})
        for name, made in self.variables:
            for used in placed(made.expressions, ()):
                use = used.use
                if use.name == "vars" and use.key == name:
                    faults.add(used.place, f"variable {shown(name)} reads itself: it reads those before it")
                elif use.name == "vars" and use.key in known.variables and use.key not in seen:
                    text = f"variable {shown(use.key)} is computed later: a variable reads those before it"
                    faults.add(used.place, text)
                elif use.name in known.nodes:
                    text = f"variables are computed before all nodes, and {shown(use.name)} is a node"
                    faults.add(used.place, text)
                else:
                    before.check(used, faults)
            seen[name] = None
        for part in outline.parts.values():
            for used in part.used():
                known.check(used, faults)
            self._check_names(part)
            if part.publish:
                self._check_own_data(part)
            if part.name in known.inputs:
                faults.add(part.key, f"{shown(part.name)} is the name of an input, too: names must differ")
        if self.outputs is not None:
            for used in placed(self.outputs.expressions, ()):
                known.check(used, faults)
        outline.joins.check(faults)

    def _check_own_data(self, part: Part) -> None:
        """Note where a node reads data that it alone publishes, and not before."""
        order = {key: at for at, (key, _) in enumerate(part.publish)}
        entries = {id(one): at for at, (_, made) in enumerate(part.publish) for one in made.expressions}
        for use, expression, _ in part.used():
            key = use.key if use.name == "data" and not use.guarded else None
            if key not in order or self.outline.published[key] != [part.name]:
                continue
            if order[key] >= entries.get(id(expression), 0):
                text = f"only this node publishes {shown(key)}, and after this: write default(data.{key}, ...)"
                self.faults.add(expression.place(use.line, use.column), text)

    def _check_names(self, part: Part) -> None:
        """Check the names of nodes in the options of a part."""
        spec, table = part.spec, part.table
        if not ("after" in table or "teardown" in table or part.kind in ("route", "merge")):
            return
        after = spec.after if "after" in table else ()
        named: list[tuple[str, Any]] = []
        if isinstance(after, str):
            named.append((after, part.at("after")))
        elif isinstance(after, dict):
            named += [(name, table["after"].marks[name][0]) for name in after]
        else:
            named += list(zip(after, table["after"].marks, strict=True)) if after else []
        if part.kind == "route":
            named += [(name, table["to"].marks[key][1]) for key, name in spec.to.items()]
            if spec.default is not None:
                named.append((spec.default, part.at("default")))
        elif part.kind == "merge":
            named += list(zip(spec.merge, table["merge"].marks, strict=True))
        if "teardown" in table:
            named.append((spec.teardown, part.at("teardown")))
        for name, event in named:
            if name not in self.outline.known.nodes:
                self.faults.add(event, f"there is no node {shown(name)}{self._meant(name)}")

    def _meant(self, name: str) -> str:
        known = self.outline.known.nodes
        names = name.replace(",", " ").split()
        if len(names) > 1 and all(one in known for one in names):
            return f": write [{', '.join(names)}]"
        others = f"; there are {', '.join(known)}" if len(known) <= 10 else ""
        return self.faults.nearest(name, known) or others

    # -- nodes -------------------------------------------------------------------------------

    def _add_variables(self) -> None:
        made = [one for _, one in self.variables]
        reads = Reads([use for use in uses_of(*made) if use.name != "vars"], calls_of(*made))
        place = str(self.faults.source.place(self.table.marks["vars"][0]))
        self.dag.add(VARS, steps.Variables(self.variables, reads, place))

    def _add_outputs(self, made: Made) -> None:
        outline, skippable = self.outline, self.outline.joins.skippable
        read = Read(placed(made.expressions, ()))
        place = str(self.faults.source.place(self.table.marks["outputs"][0]))
        spares = [name for name, guarded in read.nodes.items() if guarded and name in skippable]
        for key, guarded in read.data.items():
            spares += [name for name in outline.published.get(key, ()) if guarded and name in skippable]
        guards = [*read.data.values(), *(guarded for name, guarded in read.nodes.items() if name != VARS)]
        spared = bool(guards) and all(guards)  # no node of the file that it reads need be there
        options: dict[str, Any] = {"join": "done" if spared else "none_failed"} if spares or spared else {}
        if spares and not spared:
            for used in placed(made.expressions, ()):
                use = used.use
                node = use.node
                if not use.by and not use.guarded and node in skippable:
                    self.faults.add(used.place, f"{shown(node)} may be bypassed: write default({node}, ...)")
        after = outline.publishers(read)
        reads = Reads(made.uses, made.calls, lenient=bool(options))
        self.dag.add(OUTPUTS, steps.Evaluated(made, reads, place), after=after, **options)


__all__ = ["Builder"]
