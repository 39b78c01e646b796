"""Runs of quick workflows, in the handler of their request: :func:`call`. The way of most requests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flow.errors import FlowError, RunError
from flow.http.answers import COMPLETED, completed
from flow.http.ended import broken, codes_of, said
from flow.http.spent import packed
from flow.metrics.usage import sums_of
from flow.run.api import run as run_plan

if TYPE_CHECKING:
    from flow.http.memory import Runs
    from flow.http.workflow import Workflow


def call(runs: Runs, workflow: Workflow, inputs: Mapping[str, Any], run_id: str) -> bytes:
    """Run a quick workflow here and now, keep its summary, and return its answer."""
    created = time.time()
    try:
        result = run_plan(workflow.plan, inputs, config=workflow.direct, run_id=run_id)
    except RunError as error:
        result = error.result
    except FlowError:
        raise
    except BaseException as error:  # of a hook; and an exit of a node, which must not end the service
        if workflow.unobserved is not None:
            workflow.unobserved.broken()
        answer, data = broken(workflow, run_id, error)
        runs.end(run_id, workflow, answer.status, created, 0, b"", data)
        return data
    run = result._run
    workflow.pace.took(run.wall_time)
    if run.resolver is None and run._extras is None and not run.errors:  # nothing special: all have completed
        if workflow.unobserved is not None:
            workflow.unobserved.completed(run)
        values = run.values
        outputs = workflow.outputs({name: values[i] for name, i in workflow.places})
        data = completed(run_id, outputs, workflow.completed, run.wall_time)
        runs.end(run_id, workflow, COMPLETED, created, 0, b"", data)
        return data
    if workflow.unobserved is not None:
        workflow.unobserved.ended(result)
    answer, data = said(workflow, result, run_id, workflow.answered, False)
    codes, usage = codes_of(result, workflow), packed(sums_of(result.reports))
    runs.end(run_id, workflow, answer.status, created, 0, codes, data, usage)
    return data


__all__ = ["call"]
