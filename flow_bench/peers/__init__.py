"""flow beside the libraries one would otherwise use: the same graphs, every library in a process of its own.

:mod:`~flow_bench.peers.registry` lists the contenders; each is a module here, written as its own documentation would
have it. :mod:`~flow_bench.peers.worker` is the process, :mod:`~flow_bench.peers.peer` the parent's end of it, and
:mod:`~flow_bench.peers.suite` takes the rounds. This file imports nothing, since every worker imports it.
"""
