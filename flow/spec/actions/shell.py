"""The action ``shell.run``: a program, on asyncio and trio. Files may use it only where it is allowed by this name."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypedDict

from flow.config.fields import is_int, is_number
from flow.errors import ActionFailed, printable, shown

if TYPE_CHECKING:
    from anyio import CancelScope
    from anyio.abc import ByteReceiveStream, ByteSendStream, Process

MAX_BYTES: Final = 10 * 2**20
"""Most bytes of each of the two outputs, unless said otherwise."""

_NAME: Final = "shell.run"
_GROUPS: Final = sys.platform != "win32"


class Completed(TypedDict):
    """What ``shell.run`` returns. The outputs are text: UTF-8, with U+FFFD for what is none."""

    exit_code: int
    stdout: str
    stderr: str


async def run(
    command: list[str] | str,
    cwd: str | None = None,
    env: dict[str, str] | None = None,
    timeout: float | None = None,
    input: str | bytes | None = None,
    check: bool = True,
    max_bytes: int = MAX_BYTES,
    grace: float = 5.0,
) -> Completed:
    """Run a program to its end and return what it printed.

    When its time is over, or the run is cancelled, the program and all that it has started (its process group) get
    SIGTERM, and after ``grace`` seconds SIGKILL.

    :param command: a list is the program and its arguments, which no shell reads. Text is a line for the system's
        shell: a value in it can be a command of its own, so give values in a list, or by ``env``.
    :param cwd: the folder that it runs in; default: that of this process.
    :param env: variables besides those of this process.
    :param timeout: seconds; None is no limit.
    :param input: what it reads; without, there is nothing to read.
    :param check: an exit code other than 0 is a failure.
    :param max_bytes: most bytes of stdout, and of stderr; a program that prints more is ended.
    :param grace: seconds from SIGTERM to SIGKILL.
    :raises ActionFailed: for an exit code other than 0, with ``check``; ``.data`` has the outputs. For too much output,
        and for arguments that cannot be used.
    :raises TimeoutError: if the time is over.
    :raises OSError: if it cannot be started: FileNotFoundError, PermissionError.
    """
    _check(command, timeout, max_bytes, grace)
    said = _Said(max_bytes)
    opened: list[Process | Exception] = []
    ended = False
    try:
        process = await _opened(opened, command, cwd, env, input is not None)
        ended = await _talk(process, said, input.encode() if isinstance(input, str) else input, timeout)
    finally:
        if opened and not isinstance(opened[0], Exception):
            await _close(opened[0], ended, grace)
    name = _called(command)
    if said.too_much:
        text = f"{_NAME}: {name} printed more than max_bytes={max_bytes} to {said.too_much}, and was ended"
        raise ActionFailed(f"{text}: let it print less, or to a file, or raise max_bytes", _NAME)
    if not ended:
        raise TimeoutError(f"{_NAME}: {name} took longer than timeout={timeout:g} s, and was ended")
    done = Completed(exit_code=process.returncode or 0, stdout=said.text("stdout"), stderr=said.text("stderr"))
    if check and done["exit_code"] != 0:
        raise ActionFailed(f"{_NAME}: {name} {_how(done['exit_code'])}{_last_line(done)}", _NAME, done)
    return done


async def _opened(
    into: list[Process | Exception],
    command: list[str] | str,
    cwd: str | None,
    env: dict[str, str] | None,
    has_input: bool,
) -> Process:
    """Start the program, and list it: if this is cancelled meanwhile, it may have begun, and is there to be ended.

    A task of its own starts it, as an event loop of asyncio cancels a task whatever shields it.
    """
    from anyio import CancelScope, create_task_group, open_process

    async def starts() -> None:
        with CancelScope(shield=True):
            try:
                process = await open_process(
                    command,
                    stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
                    cwd=cwd,
                    env=None if env is None else {**os.environ, **env},
                    start_new_session=_GROUPS,
                )
            except Exception as error:  # here, so that it leaves in no group
                into.append(error)
            else:
                into.append(process)

    import subprocess  # here: programs that start none do not need it

    async with create_task_group() as group:
        group.start_soon(starts)
    found = into[0]
    if isinstance(found, Exception):
        if isinstance(found, OSError) and found.filename is None:  # uvloop does not say it
            found.filename = _missing(command, cwd)
        raise found
    return found


class _Said:
    """What a program has printed.

    :ivar too_much: the output that became too long.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.parts: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self.too_much = ""

    def text(self, name: str) -> str:
        return b"".join(self.parts[name]).decode("utf-8", "replace")

    async def read(self, name: str, stream: ByteReceiveStream, scope: CancelScope) -> None:
        """Read an output to its end. One that is too long ends ``scope``."""
        size = 0
        async for part in stream:
            self.parts[name].append(part)
            size += len(part)
            if size > self.most:
                self.too_much = name
                scope.cancel()
                return


async def _talk(process: Process, said: _Said, given: bytes | None, timeout: float | None) -> bool:
    """Feed and hear a program until it has ended and its outputs are closed; False if the time was over before."""
    from anyio import create_task_group, move_on_after

    assert process.stdout is not None
    assert process.stderr is not None
    with move_on_after(math.inf if timeout is None else timeout) as limit:
        async with create_task_group() as group:
            group.start_soon(said.read, "stdout", process.stdout, group.cancel_scope)
            group.start_soon(said.read, "stderr", process.stderr, group.cancel_scope)
            if given is not None and process.stdin is not None:
                group.start_soon(_write, process.stdin, given)
            await process.wait()
    return not (limit.cancelled_caught or said.too_much)


async def _write(stream: ByteSendStream, data: bytes) -> None:
    from anyio import BrokenResourceError, ClosedResourceError

    try:
        await stream.send(data)
        await stream.aclose()
    except (BrokenResourceError, ClosedResourceError, OSError):  # it has ended, or does not read all of it
        return


async def _close(process: Process, ended: bool, grace: float) -> None:
    """End what still runs, and close the pipes. A cancellation waits for it."""
    from anyio import CancelScope, move_on_after

    with CancelScope(shield=True):
        if not ended:
            _send(process, signal.SIGTERM)
            with move_on_after(grace):
                await process.wait()
            _send(process, getattr(signal, "SIGKILL", signal.SIGTERM))  # what it has left behind, too
        await process.aclose()


def _send(process: Process, number: signal.Signals) -> None:
    try:
        if sys.platform != "win32":
            os.killpg(process.pid, number)
        elif process.returncode is None:
            process.send_signal(number)
    except (ProcessLookupError, PermissionError):  # nothing of it is left
        return


def _check(command: Any, timeout: Any, max_bytes: Any, grace: Any) -> None:
    faults = []
    is_list = isinstance(command, Sequence) and not isinstance(command, bytes)
    if not command or not is_list or not all(isinstance(part, str) for part in command):
        faults.append("command is the program and its arguments as a list of texts, or one line for the shell")
    elif any("\0" in str(part) for part in command):
        faults.append("command has a NUL character in it")
    if timeout is not None and (not is_number(timeout) or timeout <= 0):
        faults.append("timeout must be a number of seconds > 0, or null")
    if not is_int(max_bytes) or max_bytes < 0:
        faults.append("max_bytes must be an integer of at least 0")
    if not is_number(grace) or grace < 0:
        faults.append("grace must be a number of seconds of at least 0")
    if faults:
        raise ActionFailed(f"{_NAME}: {'; '.join(faults)}", _NAME)


def _called(command: list[str] | str) -> str:
    """Name the program for a message, without its arguments, which may be secret."""
    if isinstance(command, str):
        return "a line for the shell"
    return shown(command[0])


def _missing(command: list[str] | str, cwd: str | None) -> str:
    return cwd if cwd is not None and not os.path.isdir(cwd) else command[0]


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _last_line(done: Completed) -> str:
    """What a program says last is mostly why it failed."""
    lines = (done["stderr"][-2_000:].strip() or done["stdout"][-2_000:].strip()).splitlines()
    return f": {printable(lines[-1])[:200]}" if lines else ""
