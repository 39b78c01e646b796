"""Random requests, right and wrong ones, against what /openapi.json says: schemathesis."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import share
from faces import flows, listening

from flow.http import Limits, Service

pytest.importorskip("schemathesis")

HOOKS = Path(__file__).parent / "programs"
LIMITS = Limits(wait=0.05, streams=4, body_seconds=5.0)
EXPECTED = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "missing_required_header", "unsupported_method",
    "allow_header_conformance", "what_fits_is_taken",
)  # fmt: skip


def ask(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Let schemathesis ask a service, in a process of its own: its requests are many, and made of its own plugins."""
    with listening(Service(flows(), limits=LIMITS)) as base:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{base}/openapi.json", "--no-color", *options]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HOOKS)}
        return subprocess.run(
            [*command, "--checks", ",".join(EXPECTED)],
            cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=580,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_answers_are_as_documented(tmp_path: Path) -> None:
    count = max(4, int(4 * share()))
    done = ask(tmp_path, "--phases", "coverage,fuzzing", f"--max-examples={count}", "--generation-deterministic")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 26" in done.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
def test_answers_of_runs_that_others_have_made_are_as_documented(tmp_path: Path) -> None:
    done = ask(tmp_path, "--phases", "coverage,fuzzing,stateful", "--max-examples=100")
    assert done.returncode == 0, done.stdout + done.stderr
