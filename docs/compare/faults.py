"""What a misspelt parameter and a failing function lead to: ``python docs/compare/faults.py`` prints it."""

import importlib.util
import types

import flow


def one() -> int:
    print("    ran one")
    return 1


def misspelt(onee: int) -> int:
    print("    ran misspelt")
    return onee


def fails() -> int:
    raise ConnectionError("down")


def beside(one: int) -> int:
    print("    ran beside")
    return one


def both(fails: int, beside: int) -> int:
    return fails + beside


def by_flow(*functions, **config):
    dag = flow.Dag("faults")
    for function in functions:
        dag.node(function)
    return dict(flow.run(dag, config=flow.Config(**config)))


def by_hamilton(*functions):
    from hamilton import ad_hoc_utils, driver

    module: types.ModuleType = ad_hoc_utils.create_temporary_module(*functions)
    return driver.Builder().with_modules(module).build().execute([functions[-1].__name__])


def by_langgraph(*functions):
    import inspect
    from typing import TypedDict

    from langgraph.graph import START, StateGraph

    state = TypedDict("state", {function.__name__: int for function in functions}, total=False)
    graph = StateGraph(state)
    names = {function.__name__: f"call_{function.__name__}" for function in functions}
    for function in functions:
        name, needs = function.__name__, list(inspect.signature(function).parameters)

        def node(state, function=function, name=name, needs=needs):
            return {name: function(*[state[need] for need in needs])}

        graph.add_node(names[name], node)
        before = [names.get(need, names["one"]) for need in needs]
        graph.add_edge(before if len(before) > 1 else (before or [START])[0], names[name])
    return graph.compile().invoke({})


def show(title, function, *functions, **config):
    print(f"  {title}")
    try:
        print(f"    gave {function(*functions, **config)}")
    except BaseException as error:
        said = " ".join(str(error).split())
        print(f"    raised {type(error).__name__}: {said[:110]}")


if __name__ == "__main__":
    peers = {"flow": by_flow, "hamilton": by_hamilton, "langgraph": by_langgraph}
    had = {name: call for name, call in peers.items() if importlib.util.find_spec(name)}
    for title, functions in (("misspelt", (one, misspelt)), ("fails", (one, fails, beside, both))):
        print(title)
        for name, call in had.items():
            show(name, call, *functions)
    show("flow, on_error='collect'", by_flow, one, fails, beside, both, on_error="collect")
