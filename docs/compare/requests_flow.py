import work

import flow

dag = flow.Dag("requests")
dag.map("pages", work.page, over="urls", concurrency=20, on_error="collect")


def run() -> tuple[list[int], list[Exception]]:
    pages = flow.run(dag, {"urls": work.URLS})["pages"]
    return pages.values, list(pages.errors.values())
