"""Echo servers: with tasks, with the poller, and what else there is."""
import contextlib

import measure
from figure import Row
from measure import Blocks, Counter, Server, Skipped, per_call, run, system_calls


class Peer:
    """A program that echoes, and how it is started."""

    def __init__(self, program, **options):
        self.program, self.options = program, options

    def start(self, bench, wrapper=()):
        return Server(bench.program(self.program), wrapper, **self.options)


def tasks(loop):
    return Peer("echo_weir_tasks", environment={"WEIR_LOOP": loop})


PEERS = {
    "epoll": Peer("echo_epoll"),
    "io_uring": Peer("echo_uring"),
    "tasks/epoll": tasks("epoll"),
    "tasks/io_uring": tasks("io_uring"),
    "tasks/poll": tasks("poll"),
    "libuv": Peer("echo_libuv"),
    "libevent": Peer("echo_libevent"),
    "libev": Peer("echo_libev"),
    "state-threads": Peer("echo_st"),
    "Go": Peer("echo_go", environment={"GOMAXPROCS": "1"}),
    "Go/all-CPUs": Peer("echo_go", anywhere=True),
    "poller": Peer("echo_weir_poller"),
    "self": Peer("echo_epoll"),  # epoll once more
}

# How long one exchange goes on, and the share of the rounds: many connections take long.
SIZES = {1: (400, 1), 64: (4000, 1), 1000: (4000, 0.7), 8000: (16000, 0.2)}


def client(bench, connections, requests, rounds, servers):
    """The command that exchanges with servers: {name: (server, idle)}."""
    peers = [f"{name}:{server.port}:{server.pid}:{idle}"
             for name, (server, idle) in servers.items()]
    return [bench.program("echo_client"), 64, connections, requests, rounds, *peers]


def exchange(bench, connections, requests, rounds, servers):
    return run(client(bench, connections, requests, rounds, servers))


def compare(bench, names, connections):
    """CPU time and passed time, as Blocks, of those that are here and work."""
    requests, share = SIZES[connections]
    with contextlib.ExitStack() as stack:
        servers, missing = {}, []
        for name in names:
            try:
                servers[name] = (stack.enter_context(PEERS[name].start(bench)), 0)
            except (Skipped, measure.Failed) as why:
                missing.append(Row(f"  {name}", f"skipped: {why}"))
        text = exchange(bench, connections, requests, bench.share_of_rounds(share), servers)
    return Blocks(text, requests), Blocks(text, requests, 1), list(servers), missing


def best(blocks, names, here):
    return min((name for name in names if name in here), key=blocks.cost, default=None)


def said(values, form):
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


def plural(connections):
    return f"{connections:,} connection{'s' * (connections > 1)}"


# ---- tasks ---------------------------------------------------------------------------------------

RAW, TASKS = ("epoll", "io_uring"), ("tasks/epoll", "tasks/io_uring")


def tasks_echo(bench):
    """CPU time per echo of a server with a task per connection."""
    for connections in (64, 1000, 8000):
        names = [*RAW, *TASKS, "libuv", "libevent", "Go", "self"]
        if connections == 1000:
            names += ["tasks/poll", "libev", "state-threads", "Go/all-CPUs"]
        blocks, _, here, missing = compare(bench, names, connections)
        yield from missing
        for other, goal in ((best(blocks, RAW, here), 1.03), ("libuv", 0.95), ("libevent", 0.75),
                            ("Go", 0.7)):
            if other in here:
                yield from against(blocks, other, goal, connections, here)
        again = blocks.ratio("self", "epoll")
        yield Row("  epoll against itself", str(again), **again.data())
        for name in here:
            ratio = blocks.ratio(name, "epoll")
            yield Row(f"  {name}: CPU per echo, against epoll",
                      f"{blocks.cost(name) / 1000:.2f} µs, {ratio}", ns=blocks.cost(name),
                      **ratio.data())


def against(blocks, other, goal, connections, here):
    mine = best(blocks, TASKS, here)
    ratio = blocks.ratio(mine, other)
    yield Row(f"{mine} against {other}, {plural(connections)}", str(ratio), f"≤ {goal:.2f}",
              ratio.verdict(goal), tasks=mine, **ratio.data())


def tasks_pingpong(bench):
    """One connection, a message at a time, served by a task."""
    blocks, passed, here, missing = compare(bench, [*RAW, *TASKS, "self"], 1)
    yield from missing
    for name in (n for n in here if n != "epoll"):
        time, cpu = passed.ratio(name, "epoll"), blocks.ratio(name, "epoll")
        goal = 1.02 if name == "tasks/epoll" else None
        yield Row(f"{name} against epoll, a round trip", str(time), f"≤ {goal}" if goal else "",
                  time.verdict(goal) if goal else "", ns=passed.cost(name), **time.data())
        yield Row("  CPU of the server", str(cpu), ns=blocks.cost(name), **cpu.data())
    yield Row("  a round trip with epoll", f"{passed.cost('epoll') / 1000:.1f} µs,"
              f" {blocks.cost('epoll') / 1000:.1f} µs of CPU")


def executed(bench, name, connections, requests):
    """What a server executes per echo, free of noise but for how many are ready at a time."""
    counter = Counter()

    def counts(n):
        with PEERS[name].start(bench, counter.wrapper()) as server:
            exchange(bench, connections, n, 0, {name: (server, 0)})
        return counter.counts()
    return per_call(counts, requests)


def tasks_instructions(bench):
    """Instructions in user space per echo, by callgrind."""
    for connections in (1, 64):
        found = {name: executed(bench, name, connections, 2000)[0]
                 for name in ("epoll", "tasks/epoll", "libuv")}
        mine = found["tasks/epoll"]
        for other, goal in (("epoll", 1.5), ("libuv", 0.5)):
            ratio = mine / found[other]
            yield Row(f"against {other}, {plural(connections)}", f"{ratio:.2f}", f"≤ {goal}",
                      ratio <= goal, ratio=ratio)
        yield Row("  instructions", said(found, ".0f"), **found)


def tasks_calls(bench):
    """System calls per echo at 1,000 connections."""
    # Many, since how the connections are accepted differs from run to run.
    connections, requests = 1000, 20000 if bench.quick else 100000
    found, goals = {}, {"tasks/epoll": 2.1, "tasks/io_uring": 0.1}
    for name in (*RAW, *TASKS, "libuv", "libevent", "Go"):
        try:
            with PEERS[name].start(bench) as server:
                found[name] = per_call(lambda n: [measure.calls_during(server, client(
                    bench, connections, n, 0, {name: (server, 0)}))], requests)[0]
        except (Skipped, measure.Failed) as why:
            yield Row(name, f"skipped: {why}")
            continue
        goal = goals.get(name)
        yield Row(name, f"{found[name]:.3f}", f"≤ {goal}" if goal else "",
                  found[name] <= goal if goal else "", calls=found[name])


# ---- the poller ----------------------------------------------------------------------------------

def echo(bench):
    """CPU time per echo of servers with weir's poller, raw epoll and libuv."""
    names = ("epoll", "poller", "libuv", "self")
    for connections in (64, 1000):
        blocks, *_ = compare(bench, names, connections)
        for other, goal in (("epoll", 1.05), ("libuv", 1.0)):
            ratio = blocks.ratio("poller", other)
            yield Row(f"CPU per echo against {other}, {connections} connections", str(ratio),
                      f"≤ {goal:.2f}", ratio.verdict(goal), **ratio.data())
        again = blocks.ratio("self", "epoll")
        yield Row("  epoll against itself", str(again), **again.data())
        yield Row("  CPU per echo", ", ".join(f"{name} {blocks.cost(name) / 1000:.2f} µs"
                                              for name in names[:-1]))
    made = echo_system_calls(bench, names[:-1], 500)
    yield Row("system calls per echo, 1 connection", said(made, ".2f"),
              "≤ epoll's", made["poller"] < made["epoll"] + 0.01, **made)
    for connections in (1, 64):
        found = {name: executed(bench, name, connections, 2000 if connections > 1 else 500)
                 for name in names[:-1]}
        for index, what in enumerate(("instructions", "locked instructions")):
            each = {name: counts[index] for name, counts in found.items()}
            yield Row(f"{what} per echo, {plural(connections)}",
                      said(each, ".0f" if index == 0 else ".1f"), **each)


def echo_system_calls(bench, names, requests):
    result = {}
    for name in names:
        def made(n, name=name):
            found = system_calls(bench.program(PEERS[name].program),
                                 lambda s: exchange(bench, 1, n, 0, {name: (s, 0)}))
            return [sum(found.values())]
        result[name] = per_call(made, requests)[0]
    return result


def idle(bench):
    """What 10,000 idle connections cost the 10 that are busy."""
    many = 10000
    with contextlib.ExitStack() as stack:
        def start(name):
            return stack.enter_context(PEERS[name].start(bench))
        servers = {"few": (start("poller"), 0), "full": (start("poller"), many),
                   "self": (start("poller"), 0), "epoll_few": (start("epoll"), 0),
                   "epoll_full": (start("epoll"), many)}
        try:
            blocks = Blocks(exchange(bench, 10, 2000, bench.rounds, servers), 2000)
        except measure.Failed as why:
            if "too many open files" in str(why):
                raise Skipped("not enough descriptors for so many (ulimit -n)") from None
            raise
    ratio = blocks.ratio("full", "few")
    yield Row(f"10 busy and {many:,} idle against 10 busy", str(ratio), "≤ 1.10",
              ratio.verdict(1.1), **ratio.data())
    for title, a, b in (("weir against itself", "self", "few"),
                        ("the same with raw epoll", "epoll_full", "epoll_few")):
        other = blocks.ratio(a, b)
        yield Row(f"  {title}", str(other), **other.data())


FIGURES = (tasks_echo, tasks_pingpong, tasks_instructions, tasks_calls, echo, idle)
