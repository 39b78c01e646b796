import asyncio

import dask
import work


@dask.delayed
def fetch(url):
    try:
        return asyncio.run(work.page(url))
    except ConnectionError as error:
        return error


def run() -> tuple[list[int], list[Exception]]:
    found = dask.compute(*map(fetch, work.URLS), scheduler="threads", num_workers=20)
    errors = [one for one in found if isinstance(one, Exception)]
    return [one for one in found if not isinstance(one, Exception)], errors
