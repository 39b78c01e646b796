"""What the five programs compute, shared by all versions: none of these lines is counted."""

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path

calls: Counter[str] = Counter()  # how often each function was called
in_flight = most = 0
URLS = [f"/page/{number}" for number in range(200)]
lock = threading.Lock()  # Dask's version calls page from several threads
fatal = False  # whether rows fails with what a retry does not help against


def reset() -> None:
    global in_flight, most, fatal
    calls.clear()
    in_flight = most = 0
    fatal = False


# 1. ETL: rows answers at the third attempt
def rows() -> list[str]:
    calls["rows"] += 1
    if fatal:
        raise PermissionError("no access to the table")
    if calls["rows"] < 3:
        raise ConnectionError("the source does not answer")
    return ["a,1", "b,2", "c,x"]


def clean(rows: list[str]) -> dict[str, int]:
    pairs = (row.split(",") for row in rows)
    return {name: int(value) for name, value in pairs if value.isdigit()}


def stored(clean: dict[str, int]) -> int:
    calls["stored"] += 1
    return len(clean)


# 2. Requests: every 40th page is down
def _move(step: int) -> None:
    global in_flight, most
    with lock:
        calls["page"] += step > 0
        in_flight += step
        most = max(most, in_flight)


async def page(url: str) -> int:
    _move(1)
    await asyncio.sleep(0.002)
    _move(-1)
    if int(url.rpartition("/")[2]) % 40 == 7:
        raise ConnectionError(f"{url} is down")
    return len(url)


# 3. Tools of an agent: weather is down
async def search(question: str) -> str:
    await asyncio.sleep(0.002)
    return f"found {question}"


async def sums(question: str) -> int:
    await asyncio.sleep(0.002)
    return len(question)


async def weather(question: str) -> str | None:
    await asyncio.sleep(0.002)
    raise TimeoutError("no forecast")


def answer(search: str, sums: int, weather: str | None) -> str:
    return f"{search}, {sums}, {weather or 'no weather'}"


# 4. Features: visits fails at the first call
def events() -> list[int]:
    calls["events"] += 1
    return [3, 4, 5]


def spend(events: list[int]) -> int:
    calls["spend"] += 1
    return sum(events)


def visits(events: list[int]) -> int:
    calls["visits"] += 1
    if calls["visits"] == 1:
        time.sleep(0.01)
        raise ConnectionError("the store of visits is away")
    return len(events)


def model(spend: int, visits: int) -> float:
    calls["model"] += 1
    return spend / visits


# 5. A file
def text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def words(text: str) -> dict[str, int]:
    return dict(Counter(text.lower().split()))


def top(words: dict[str, int]) -> str:
    return max(words, key=words.__getitem__)
