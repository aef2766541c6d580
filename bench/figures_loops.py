"""A server on two loops and on one."""
import contextlib

from figure import Row
from figures_echo import exchange
from measure import Blocks, Server

CONNECTIONS = 64

# How often a message of 64 bytes is hashed, and how many messages are a block.
WORK = {"echo": (0, 8000), "about 250 µs of work": (3000, 1500)}


def start(bench, loops, times):
    return Server(bench.program("serve_loops"), anywhere=True,
                  environment={"WEIR_LOOPS": str(loops), "BENCH_WORK": str(times)})


def serve_loops(bench):
    """weir_serve on two loops against one: messages per second, 64 connections."""
    for what, (times, requests) in WORK.items():
        with contextlib.ExitStack() as stack:
            servers = {name: (stack.enter_context(start(bench, loops, times)), 0)
                       for name, loops in (("one", 1), ("two", 2), ("self", 1))}
            text = exchange(bench, CONNECTIONS, requests, bench.share_of_rounds(0.5), servers)
        cpu, passed = Blocks(text, requests), Blocks(text, requests, 1)
        busy = cpu.cost("two") / passed.cost("two")
        ratio, again = passed.ratio("two", "one"), passed.ratio("self", "one")
        yield Row(f"two loops against one, {what}: time for a message", str(ratio),
                  "≤ 0.556" if times else "", ratio.verdict(1 / 1.8) if times else "",
                  **ratio.data())
        yield Row("  processors that the two loops had", f"{busy:.2f}, the client had the rest")
        yield Row("  one against itself", str(again), **again.data())


FIGURES = (serve_loops,)
