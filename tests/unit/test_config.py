"""Settings: every value out of range is named, all at once; delays grow as they say."""

from __future__ import annotations

import copy
import math
import pickle
import random
import traceback
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.clock import Clock, SystemClock
from flow.config import Timeout
from flow.config.run import DEFAULT_CONFIG

NO_NUMBER = [True, False, "1", None, float("nan"), float("inf"), float("-inf"), [], 1j]


class Plain(SystemClock):
    """One that can be pickled, as any instance without a state."""


class TestConfig:
    def test_defaults_are_valid_and_frozen(self) -> None:
        assert flow.Config() == DEFAULT_CONFIG
        with pytest.raises(AttributeError):
            DEFAULT_CONFIG.limit = 3  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("mode", ["", "task", None, 0, [], "AUTO"]),
            ("on_error", ["", "raise", None]),
            ("executor", ["process", None, 5, [], ""]),
            ("executors", [None, 5, [("pool", 1)], {"pool"}]),
            ("on_outcome", [5, "hook", ()]),
            ("before_call", [5, "hook", ()]),
            ("order", ["priority", None]),
            ("backend", ["curio", None]),
            ("limit", [0, -1, True, False, 1.0, "4", float("nan")]),  # A6
            ("threads", [0, -1, True, None, 2.5, "4"]),
            ("timeout", [0, -1, 0.0, *(v for v in NO_NUMBER if v is not None)]),
            ("blocking_after", [0, -0.1, *(v for v in NO_NUMBER if v is not None)]),
            ("timing", [1, None, "yes"]),
            ("show_values", [1, None, "yes"]),
            ("observers", [None, 5, print, (print, None), "abc", {print}]),
            ("clock", [None, 5, object()]),
        ],
    )
    def test_each_value_out_of_range_is_named(self, field: str, values: list[Any]) -> None:
        for value in values:
            with pytest.raises(flow.errors.ConfigError) as caught:
                flow.Config(**{field: value})
            (fault,) = caught.value.faults
            assert fault.startswith(f"{field} must ")
            assert repr(value) in fault
            with pytest.raises(ValueError):
                DEFAULT_CONFIG.replace(**{field: value})

    def test_a6_limits(self) -> None:
        assert flow.Config(limit=None).limit is None
        assert flow.Config(limit=1).limit == 1
        assert flow.Config(limit=10**9).limit == 10**9
        assert flow.Config(threads=10**9).threads == 10**9

    def test_all_at_once(self) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            flow.Config(mode="x", limit=0, on_error="y", timeout=-1, threads=0, observers=5, clock=None, executor=1)  # type: ignore[arg-type]
        assert [fault.split()[0] for fault in caught.value.faults] == [
            "mode", "on_error", "limit", "threads", "timeout", "observers", "clock", "executor",
        ]  # fmt: skip

    def test_replace(self) -> None:
        changed = DEFAULT_CONFIG.replace(limit=4, mode="workers")
        assert (changed.limit, changed.mode, DEFAULT_CONFIG.limit) == (4, "workers", None)
        with pytest.raises(flow.errors.ConfigError, match="no setting is called 'limits'"):
            DEFAULT_CONFIG.replace(limits=4)

    @pytest.mark.parametrize("make", [flow.Config, DEFAULT_CONFIG.replace])
    def test_unknown_names_are_named_with_the_nearest_and_all_else_that_is_wrong(self, make: Any) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            make(limt=3, mode="x", colour=1)
        error = caught.value
        assert isinstance(error, TypeError)  # as for any function
        assert error.faults == (
            "no setting is called 'colour'",
            "no setting is called 'limt' (did you mean 'limit'?)",
            "mode must be one of 'auto', 'inline', 'tasks', 'workers', not 'x'",
        )
        assert error.__suppress_context__ or error.__context__ is None
        assert len(traceback.extract_tb(error.__traceback__)) == 1  # this line, and no frame of ours
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.faults) == (type(error), error.faults)

    def test_each_kind_of_settings_says_so(self) -> None:
        with pytest.raises(
            flow.errors.ConfigError, match=r"^DataConfig is not valid: .* 'metrix' \(did you mean 'metrics'\?\)$"
        ):
            flow.DataConfig(metrix="off")  # type: ignore[call-arg]
        with pytest.raises(
            flow.errors.ConfigError, match=r"^Retry is not valid: .* 'atempts' \(did you mean 'attempts'\?\)$"
        ):
            flow.Retry(atempts=3)  # type: ignore[call-arg]
        with pytest.raises(flow.errors.ConfigError, match="^Retry is not valid: attempts is given twice, as 3 and 4$"):
            flow.Retry(3, attempts=4)  # type: ignore[misc]
        with pytest.raises(
            TypeError, match="^Config is not valid: 8 is given without the name of a setting: mode, limit,"
        ):
            flow.Config(8)  # type: ignore[misc,arg-type]

    def test_a_type_error_of_another_kind_is_left_alone(self) -> None:
        class Odd(tuple):  # type: ignore[type-arg]
            def __iter__(self) -> Any:
                raise TypeError("odd")

        with pytest.raises(TypeError, match="^odd$"):
            flow.Config(observers=Odd())

    def test_settings_are_what_msgspec_makes_of_them(self) -> None:
        config = flow.Config(limit=4, data=flow.DataConfig(metrics="off"))
        assert pickle.loads(pickle.dumps(config.replace(clock=Plain()))).limit == 4
        assert copy.deepcopy(config.data) == config.data == msgspec.structs.replace(flow.DataConfig(), metrics="off")
        data = msgspec.json.decode(msgspec.json.encode(config.data), type=flow.DataConfig)
        assert data == config.data
        assert msgspec.convert({"metrics": "off"}, flow.DataConfig) == config.data
        assert msgspec.structs.astuple(flow.Retry(5)) == msgspec.structs.astuple(flow.Retry(attempts=5))
        assert repr(flow.Timeout(2.0)) == "Timeout(attempt=2.0, node=None)"
        with pytest.raises(AttributeError):
            config.limit = 3  # type: ignore[misc]

    def test_observers_are_kept_as_a_tuple(self) -> None:
        assert flow.Config(observers=[print]).observers == (print,)  # type: ignore[arg-type]

    def test_the_clock_is_a_protocol(self) -> None:
        assert isinstance(SystemClock(), Clock)


class Pool:
    """All that an executor needs; without a hash, as an object with an ``==`` of its own is."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool)

    def submit(self, fn: Any, /, *args: Any) -> Any:
        raise NotImplementedError


class TestExecutors:
    def test_an_entry_by_its_name(self) -> None:
        pool = Pool()
        config = flow.Config(executor="pool", executors={"pool": pool})
        assert config.executor == "pool" and config.executors["pool"] is pool
        assert config.replace(executor="thread").executors["pool"] is pool
        assert (flow.Config().executor, dict(flow.Config().executors)) == ("inline", {})

    def test_a_copy_that_nobody_changes(self) -> None:
        given = {"pool": Pool()}
        config = flow.Config(executors=given)
        given["other"] = Pool()
        assert list(config.executors) == ["pool"] and "other" not in config.executors
        with pytest.raises(TypeError):
            config.executors["other"] = Pool()  # type: ignore[index]

    def test_compared_hashed_pickled_and_printed(self) -> None:
        configs = [flow.Config(executor="pool", executors={"pool": Pool()}) for _ in range(2)]
        assert configs[0] == configs[1] != flow.Config() and len({*configs, flow.Config()}) == 2
        assert configs[0] != configs[0].replace(executors={"pool": Pool(), "other": Pool()})
        again = pickle.loads(pickle.dumps(configs[0].replace(clock=Plain())))
        assert (again.executor, again.executors) == ("pool", {"pool": Pool()})
        assert copy.deepcopy(configs[0].executors) == configs[0].executors
        assert repr(flow.Config().executors) == "{}"
        assert repr(configs[0].executors) == repr({"pool": configs[0].executors["pool"]})

    @pytest.mark.parametrize("given", ["poool", "Pool"])
    def test_a_name_that_there_is_not(self, given: str) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            flow.Config(executor=given, executors={"pool": Pool(), "gpu": Pool()})
        assert caught.value.faults == (
            f"executor must be 'inline', 'thread' or a name in executors ('pool', 'gpu'), not {given!r} "
            "(did you mean 'pool'?)",
        )
        with pytest.raises(flow.errors.ConfigError, match=r"\(it is empty\), not 'thred' \(did you mean 'thread'\?\)"):
            flow.Config(executor="thred")

    def test_all_that_is_wrong_with_them(self) -> None:
        class Lazily(Pool):
            async def submit(self, fn: Any, /, *args: Any) -> Any: ...

        class Raises:
            @property
            def submit(self) -> Any:
                raise OSError

        entries = {"thread": Pool(), 7: Pool(), "no": object(), "kind": Pool, "async": Lazily(), "odd": Raises()}
        with pytest.raises(flow.errors.ConfigError) as caught:
            flow.Config(limit=0, executor="nope", executors=entries)  # type: ignore[arg-type]
        limit, *found, choice = caught.value.faults
        assert limit.startswith("limit must ") and choice.startswith("executor must ")
        assert [fault.partition(", not ")[0].partition(": ")[0] for fault in found] == [
            "executors must have other names than 'thread', which there is without them",
            "executors must have names that are text",
            "executors['no'] must have a submit, as concurrent.futures.Executor has",
            "executors['kind'] must be an executor",
            "the submit of executors['async'] is async, and nothing awaits what it returns",
            "executors['odd'] must have a submit, as concurrent.futures.Executor has",
        ]


@pytest.mark.parametrize("field", ["on_outcome", "before_call"])
class TestMakersOfHooks:
    @pytest.mark.parametrize("maker", [None, lambda: None, list, partial(print, 1)])
    def test_callables_and_none(self, field: str, maker: Any) -> None:
        config = flow.Config(**{field: maker})
        assert getattr(config, field) is maker
        assert getattr(config.replace(limit=2), field) is maker
        assert hash(config) == hash(config.replace(mode="auto"))

    def test_an_async_one_is_refused(self, field: str) -> None:
        async def make() -> None: ...

        with pytest.raises(flow.errors.ConfigError) as caught:
            flow.Config(**{field: make})
        (fault,) = caught.value.faults
        assert fault.startswith(f"{field} is async, and nothing awaits what it returns: give a plain function that ")


class TestRetry:
    def test_defaults_are_valid(self) -> None:
        assert flow.Retry().faults() == []
        assert flow.Retry(10**9, delay=0, max_delay=0, multiplier=1, jitter=1).faults() == []

    @pytest.mark.parametrize(
        ("field", "label", "values"),
        [
            ("attempts", "retry attempts", [0, -1, True, 2.0, "3", None]),
            ("delay", "retry delay", [-0.1, *NO_NUMBER]),
            ("max_delay", "retry max_delay", [-1, *NO_NUMBER]),
            ("backoff", "retry backoff", ["", "quadratic", None, []]),
            ("multiplier", "retry multiplier", [0, 0.99, -2, *NO_NUMBER]),
            ("jitter", "retry jitter", [-0.1, 1.1, *(v for v in NO_NUMBER)]),
            ("retry_if", "retry_if", [5, None, (), (5,), int, (ValueError, int), "ValueError"]),
        ],
    )
    def test_each_value_out_of_range_is_named(self, field: str, label: str, values: list[Any]) -> None:
        for value in values:
            (fault,) = flow.Retry(**{field: value}).faults()
            assert fault.startswith(f"{label} must ")
            assert repr(value) in fault

    def test_all_at_once(self) -> None:
        assert len(flow.Retry(0, -1, "x", 0, -1, 2, 5).faults()) == 7  # type: ignore[arg-type]

    def test_delays(self) -> None:
        def delays(**options: Any) -> list[float]:
            retry = flow.Retry(delay=0.5, **options)
            return [retry.delay_after(n) for n in (1, 2, 3, 4)]

        assert delays(backoff="constant") == [0.5, 0.5, 0.5, 0.5]
        assert delays(backoff="linear") == [0.5, 1.0, 1.5, 2.0]
        assert delays() == [0.5, 1.0, 2.0, 4.0]
        assert delays(multiplier=3.0) == [0.5, 1.5, 4.5, 13.5]
        assert delays(max_delay=1.2) == [0.5, 1.0, 1.2, 1.2]

    @pytest.mark.parametrize("attempt", [2_000, 10**6])
    def test_a11_far_out_it_is_the_cap(self, attempt: int) -> None:
        assert flow.Retry(delay=0.1, multiplier=2.0, max_delay=60.0).delay_after(attempt) == 60.0
        assert flow.Retry(delay=1e308, backoff="linear", max_delay=9.0).delay_after(attempt) == 9.0
        assert flow.Retry(delay=0.0, multiplier=2.0).delay_after(attempt) == 0.0
        assert flow.Retry(delay=1, multiplier=2, max_delay=60).delay_after(2_000) == 60

    @given(st.integers(1, 3_000), st.floats(0, 1), st.floats(0, 100), st.floats(0, 100))
    def test_jitter_stays_within_its_share_and_the_cap(self, n: int, jitter: float, delay: float, cap: float) -> None:
        base = flow.Retry(delay=delay, max_delay=cap).delay_after(n)
        seconds = flow.Retry(delay=delay, max_delay=cap, jitter=jitter).delay_after(n)
        assert 0 <= seconds <= cap
        assert base * (1 - jitter) - 1e-9 <= seconds <= base * (1 + jitter) + 1e-9

    def test_jitter_does_spread(self) -> None:
        random.seed(1)
        drawn = {flow.Retry(delay=1, jitter=0.5).delay_after(1) for _ in range(50)}
        assert len(drawn) > 40 and min(drawn) < 0.8 and max(drawn) > 1.2

    def test_wants(self) -> None:
        assert flow.Retry().wants(ValueError())
        only = flow.Retry(retry_if=(KeyError, OSError))
        assert only.wants(FileNotFoundError()) and not only.wants(ValueError())
        odd = flow.Retry(retry_if=lambda error: str(error) == "again")
        assert odd.wants(ValueError("again")) and not odd.wants(ValueError("no"))

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit(), BaseException()])
    def test_a11_what_ends_a_run_is_never_retried(self, error: BaseException) -> None:
        assert not flow.Retry(retry_if=BaseException).wants(error)
        assert not flow.Retry(retry_if=lambda _: True).wants(error)


class TestTimeout:
    def test_valid(self) -> None:
        assert Timeout().faults() == [] == Timeout(2).faults() == Timeout(0.1, 10**9).faults()

    @pytest.mark.parametrize("value", [0, -1, 0.0, -0.5, *(v for v in NO_NUMBER if v is not None)])
    def test_each_value_out_of_range_is_named(self, value: Any) -> None:
        assert Timeout(value).faults() == [f"timeout must be a number of seconds > 0, not {value!r}"]
        assert Timeout(None, value).faults() == [f"node timeout must be a number of seconds > 0, not {value!r}"]
        assert len(Timeout(value, value).faults()) == 2

    def test_an_int_beyond_every_float(self) -> None:
        assert len(Timeout(10**400).faults()) == 1

    def test_math_is_what_decides(self) -> None:
        assert Timeout(math.nextafter(0, 1)).faults() == []
