from graphlib import TopologicalSorter

import work

needs = {
    work.events: (),
    work.spend: (work.events,),
    work.visits: (work.events,),
    work.model: (work.spend, work.visits),
}


def compute(known):
    for function in TopologicalSorter(needs).static_order():
        if function not in known:
            known[function] = function(*(known[need] for need in needs[function]))
    return known[work.model]


def run() -> float:
    known = {}
    try:
        return compute(known)
    except ConnectionError:
        return compute(known)
