"""The figures: each yields rows, and says what it is compared with."""
import os
import shlex
import tempfile
from pathlib import Path

import measure
from measure import Blocks, Counter, Server, Skipped, per_call, run, system_calls


class Row:
    """A line of the table. `verdict` is met, missed, unclear, or empty for what has no goal."""

    def __init__(self, what, measured, goal="", verdict="", **data):
        self.what, self.measured, self.goal = what, measured, goal
        self.verdict = {True: "met", False: "missed"}.get(verdict, verdict)
        self.data = data


class Bench:
    """Where the programs are, and how long to go on."""

    def __init__(self, build, quick):
        self.directory = Path(build).resolve() / "bench"
        self.source = Path(__file__).resolve().parent
        self.quick = quick
        self.rounds = 12 if quick else 60

    def program(self, name):
        return self.directory / name


# ---- blocking calls ------------------------------------------------------------------------------

def calls(bench):
    """What a blocking call costs when it can go ahead, and when it has to wait."""
    program, count = bench.program("calls"), 200

    def made(what, api):
        return per_call(lambda n: [sum(system_calls([program, what, api, n]).values())], count)[0]

    for what, title, limit in (("recv", "recv that can go ahead", 1),
                               ("send", "send that can go ahead", 1),
                               ("accept", "accept that can go ahead", 1),
                               ("wait", "recv that waits", 3)):
        # The raw call is one; the rest of the program is the same in both.
        number = 1 + made(what, "weir") - made(what, "raw")
        yield Row(f"system calls, {title}", f"{number:.2f}", f"≤ {limit}", number < limit + 0.01,
                  calls=number)
    yield from call_instructions(program, count)


def call_instructions(program, count):
    counter = Counter()

    def executed(what, api):
        def measured(n):
            run(counter.wrapper() + [program, what, api, n])
            return counter.counts()
        return per_call(measured, count)

    for what, title, number in (("recv", "recv", 1), ("send", "send", 1),
                                ("accept", "accept and close", 2)):
        raw, weir = executed(what, "raw"), executed(what, "weir")
        more, locked = weir[0] - raw[0], weir[1] - raw[1]
        yield Row(f"instructions more than raw, {title}", f"{more:.0f}", f"≤ {60 * number}",
                  more < 60 * number + 0.5, weir=weir[0], raw=raw[0])
        yield Row(f"locked instructions more, {title}", f"{locked:.1f}", f"≤ {2 * number}",
                  locked < 2 * number + 0.05, weir=weir[1], raw=raw[1])


def pingpong(bench):
    """One byte there and back, blocking, against raw blocking calls."""
    trips = 300
    for where, title, goal in (("apart", "a CPU each", 1.05), ("together", "on one CPU", None)):
        blocks = Blocks(run([bench.program("pingpong"), where, bench.rounds, trips]), trips)
        ratio, again = blocks.ratio("weir", "raw"), blocks.ratio("self", "raw")
        yield Row(f"ping-pong against raw blocking calls, {title}", str(ratio),
                  f"≤ {goal}" if goal else "", ratio.verdict(goal) if goal else "",
                  weir_ns=blocks.cost("weir"), raw_ns=blocks.cost("raw"), **ratio.data())
        yield Row("  raw against itself", str(again), **again.data())
        yield Row("  a round trip", f"weir {blocks.cost('weir') / 1000:.1f} µs,"
                  f" raw {blocks.cost('raw') / 1000:.1f} µs")


# ---- non-blocking calls, a silent name server ----------------------------------------------------

def connects(bench):
    """Non-blocking calls under a name server that never answers."""
    count, pending = (3000, 1000) if bench.quick else (10000, 1000)
    *lines, last = run([bench.program("connects"), count, pending]).splitlines()
    threads = int(last.split()[1])
    found = {}
    for line in lines:
        kind, *times = line.split()
        found[kind] = dict(zip(("calls", "p50", "p999", "max", "cpu_max"), map(int, times)))
    raw = found.pop("raw-socket-connect-close")
    for kind, times in found.items():
        # What the machine does not give to a raw call, no library can.
        verdict = times["p999"] < 100e3 or ("unclear" if raw["p999"] >= 100e3 else False)
        yield Row(f"{kind}, {times['calls']} of them", said_times(times),
                  "99.9 % < 100 µs, CPU ≤ 2 ms", verdict if times["cpu_max"] <= 2e6 else False,
                  **times)
    yield Row("  raw socket, connect, close", said_times(raw), **raw)
    yield Row(f"threads of the process, {pending} connects pending", f"{threads}",
              "2 (one resolver)", threads == 2, threads=threads)
    yield from python_connects(found["weir_connect(name)"]["p50"])


def said_times(times):
    return (f"{times['p50'] / 1e3:.1f} µs, 99.9 % < {times['p999'] / 1e3:.0f} µs,"
            f" CPU ≤ {times['cpu_max'] / 1e6:.2f} ms")


# Its own name server and files: nothing outside the namespaces is touched.
IN_NAMESPACES = """
set -e
mount --bind {directory}/resolv.conf /etc/resolv.conf
[ ! -e /etc/nsswitch.conf ] || mount --bind {directory}/nsswitch.conf /etc/nsswitch.conf
ip link set lo up
exec python3 {script}
"""


def python_connects(weir_ns):
    title = "CPython's connect_ex by name, the same server (timeout:1 attempts:1)"
    try:
        seconds = python_seconds(["unshare", "--mount", "--net"], Path(__file__).parent)
    except Skipped as why:
        yield Row(title, f"skipped: {why}")
        return
    yield Row(title, ", ".join(f"{s:.2f} s" for s in seconds), python_s=seconds)
    yield Row("  against weir_connect(name)", f"{min(seconds) * 1e9 / weir_ns:,.0f} times as long")


def python_seconds(command, source):
    for tool in ("unshare", "ip", "mount"):
        measure.need(tool)
    if os.geteuid() != 0:
        command = command + ["--map-root-user"]
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as directory:
        files = Path(directory)
        (files / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (files / "nsswitch.conf").write_text("hosts: files dns\n")
        script = IN_NAMESPACES.format(directory=shlex.quote(directory),
                                      script=shlex.quote(str(source / "connect_ex.py")))
        try:
            return [float(s) for s in run([*command, "sh", "-c", script]).split()]
        except measure.Failed as why:
            raise Skipped(f"no namespace of its own: {why}") from None


# ---- names ---------------------------------------------------------------------------------------

def pairs(text):
    return dict(line.split() for line in text.splitlines())


def names(bench):
    """Looking names up: cached, numeric, and many different ones."""
    program = bench.program("names")
    for host, title in (("host-1.bench.test", "a cached name"),
                        ("192.0.2.1", "a numeric address, IPv4"),
                        ("2001:db8::1", "a numeric address, IPv6")):
        found = pairs(run([program, "call", host, 2000]))
        median = float(found["median"])
        yield Row(f"weir_resolve of {title} ({found['source']})", f"{median:.0f} ns", "≤ 200 ns",
                  median <= 200, median_ns=median, fastest_ns=float(found["fastest"]))
    count, best = 10000, {}
    for _ in range(2 if bench.quick else 5):
        for how, width in (("connects", 1000), ("threads", 64), ("ares", 64)):
            rate = float(pairs(run([program, how, count, width]))["rate"])
            best.setdefault(how, []).append(rate)
    rates = {how: measure.quantile(values, 0.5) for how, values in best.items()}
    yield Row("different names, non-blocking connects, 1,000 pending",
              f"{rates['connects']:,.0f} a second", "≥ 25,000", rates["connects"] >= 25000,
              rates=best["connects"])
    yield Row("  against c-ares alone, 64 pending, no sockets",
              f"{rates['connects'] / rates['ares']:.2f} ({rates['ares']:,.0f} a second)",
              ares=best["ares"])
    yield Row("different names, weir_resolve in 64 threads", f"{rates['threads']:,.0f} a second",
              rates=best["threads"])
    yield Row("  against c-ares alone", f"{rates['threads'] / rates['ares']:.2f}")


# ---- the poller ----------------------------------------------------------------------------------

SERVERS = {"epoll": "echo_epoll", "weir": "echo_weir_poller", "libuv": "echo_libuv"}


def exchange(bench, servers, connections, requests, rounds):
    """Runs the client against servers: {name: (server, idle)}."""
    peers = [f"{name}:{server.port}:{server.pid}:{idle}"
             for name, (server, idle) in servers.items()]
    command = [bench.program("echo_client"), 64, connections, requests, rounds, *peers]
    return Blocks(run(command), requests)


def echo_counts(bench, connections, requests):
    """{server: what it executes per echo}, free of noise but for how many are ready at a time."""
    counter = Counter()
    result = {}
    for name, program in SERVERS.items():
        def executed(n, program=bench.program(program)):
            with Server(program, counter.wrapper()) as server:
                exchange(bench, {name: (server, 0)}, connections, n, 0)
            return counter.counts()
        result[name] = per_call(executed, requests)
    return result


def echo_system_calls(bench, requests):
    result = {}
    for name, program in SERVERS.items():
        def made(n, program=bench.program(program)):
            found = system_calls(program, lambda s: exchange(bench, {name: (s, 0)}, 1, n, 0))
            return [sum(found.values())]
        result[name] = per_call(made, requests)[0]
    return result


def echo(bench):
    """CPU time per echo of servers with weir's poller, raw epoll and libuv."""
    for connections in (64, 1000):
        with Server(bench.program("echo_epoll")) as epoll, \
                Server(bench.program("echo_weir_poller")) as weir, \
                Server(bench.program("echo_libuv")) as libuv, \
                Server(bench.program("echo_epoll")) as again:
            blocks = exchange(bench, {"epoll": (epoll, 0), "weir": (weir, 0), "libuv": (libuv, 0),
                                      "self": (again, 0)}, connections, 4000, bench.rounds)
        for other, goal in (("epoll", 1.05), ("libuv", 1.0)):
            ratio = blocks.ratio("weir", other)
            yield Row(f"CPU per echo against {other}, {connections} connections", str(ratio),
                      f"≤ {goal:.2f}", ratio.verdict(goal), **ratio.data())
        again = blocks.ratio("self", "epoll")
        yield Row("  epoll against itself", str(again), **again.data())
        yield Row("  CPU per echo", ", ".join(f"{name} {blocks.cost(name) / 1000:.2f} µs"
                                              for name in SERVERS))
    made = echo_system_calls(bench, 500)
    yield Row("system calls per echo, 1 connection", said(made, ".2f"),
              "≤ epoll's", made["weir"] < made["epoll"] + 0.01, **made)
    for connections in (1, 64):
        found = echo_counts(bench, connections, 2000 if connections > 1 else 500)
        for index, what in enumerate(("instructions", "locked instructions")):
            each = {name: counts[index] for name, counts in found.items()}
            yield Row(f"{what} per echo, {connections} connection{'s' * (connections > 1)}",
                      said(each, ".0f" if index == 0 else ".1f"), **each)


def said(values, form):
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


def idle(bench):
    """What 10,000 idle connections cost the 10 that are busy."""
    many = 10000
    with Server(bench.program("echo_weir_poller")) as few, \
            Server(bench.program("echo_weir_poller")) as full, \
            Server(bench.program("echo_weir_poller")) as again, \
            Server(bench.program("echo_epoll")) as epoll_few, \
            Server(bench.program("echo_epoll")) as epoll_full:
        try:
            blocks = exchange(bench, {"few": (few, 0), "full": (full, many), "self": (again, 0),
                                      "epoll_few": (epoll_few, 0),
                                      "epoll_full": (epoll_full, many)}, 10, 2000, bench.rounds)
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


FIGURES = {f.__name__: f for f in (calls, pingpong, connects, names, echo, idle)}
