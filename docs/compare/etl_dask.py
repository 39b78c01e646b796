import time

import work
from dask import delayed


def retried(function, attempts=3, delay=0.001):
    for attempt in range(attempts - 1):
        try:
            return function()
        except ConnectionError:
            time.sleep(delay * 2**attempt)
    return function()


def run() -> int:
    rows = delayed(retried)(work.rows)
    return delayed(work.stored)(delayed(work.clean)(rows)).compute()
