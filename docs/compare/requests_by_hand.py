import asyncio

import work


async def fetch_all(urls):
    free = asyncio.Semaphore(20)

    async def fetch(url):
        async with free:
            return await work.page(url)

    return await asyncio.gather(*map(fetch, urls), return_exceptions=True)


def run() -> tuple[list[int], list[Exception]]:
    found = asyncio.run(fetch_all(work.URLS))
    errors = [one for one in found if isinstance(one, Exception)]
    return [one for one in found if not isinstance(one, Exception)], errors
