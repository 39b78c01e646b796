import time

import work
from hamilton import driver, lifecycle


class Retry(lifecycle.NodeExecutionMethod):
    def run_to_execute_node(self, *, node_name, node_callable, node_kwargs, **future_kwargs):
        for attempt in range(2 if node_name == "rows" else 0):
            try:
                return node_callable(**node_kwargs)
            except ConnectionError:
                time.sleep(0.001 * 2**attempt)
        return node_callable(**node_kwargs)


dr = driver.Builder().with_modules(work).with_adapters(Retry()).build()


def run() -> int:
    return dr.execute(["stored"])["stored"]
