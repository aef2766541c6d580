"""Servers made of tasks, beside what people run today and under the clients that they know."""
import contextlib
import re
import subprocess
import tempfile
import time
from pathlib import Path

import measure
from figure import Row
from figures_echo import Peer, said
from figures_tls import Daemon, free_port
from measure import Blocks, Skipped, run

LOOPS = ("epoll", "io_uring")


def weir(program, loop, *arguments):
    return Peer(program, environment={"WEIR_LOOP": loop}, arguments=arguments)


def of_each_loop(program, *arguments):
    return {f"weir/{loop}": weir(program, loop, *arguments) for loop in LOOPS}


@contextlib.contextmanager
def started(bench, peers):
    """Those that are here and work, and a row for each that does not."""
    with contextlib.ExitStack() as stack:
        servers, missing = {}, []
        for name, peer in peers.items():
            try:
                servers[name] = stack.enter_context(peer.start(bench))
            except (Skipped, measure.Failed) as why:
                missing.append(Row(f"  {name}", f"skipped: {why}"))
        yield servers, missing


def mine(blocks, servers):
    return min((name for name in servers if name.startswith("weir/")), key=blocks.cost)


def against(blocks, servers, what, goals):
    """Rows for the loop that does best. `goals`: how much more per CPU second than each other."""
    best = mine(blocks, servers)
    for other, goal in goals.items():
        if other in servers:
            ratio = blocks.ratio(other, best)
            yield Row(f"{what} a CPU second: {best} to {other}", f"{ratio} ×",
                      f"≥ {goal:.1f} ×" if goal else "", at_least(ratio, goal) if goal else "",
                      **ratio.data())
    if "self" in servers:
        first = next(iter(goals))
        again = blocks.ratio("self", first)
        yield Row(f"  {first} against itself", str(again), **again.data())
    found = {name: blocks.cost(name) for name in servers if name != "self"}
    yield Row("  CPU time of each, in µs",
              said({name: ns / 1000 for name, ns in found.items()}, ".2f"), **found)


def at_least(ratio, goal):
    if ratio.median >= goal:
        return "met"
    return "missed" if ratio.high < goal else "unclear"


# ---- with the clients of the other figures -------------------------------------------------------

def exchanged(bench, client, size, connections, requests, share, servers):
    peers = [f"{name}:{server.port}:{server.pid}:0" for name, server in servers.items()]
    return run([bench.program(client), size, connections, requests, bench.share_of_rounds(share),
                *peers])


def servers_pipeline(bench):
    """Sixteen lines of 64 bytes at a time, sent back: through a reader, and by libuv."""
    requests, lines = 1000, 16
    peers = {**of_each_loop("lines_weir"), "libuv": Peer("lines_libuv"),
             "libuv-gathered": Peer("lines_libuv", arguments=("gathered",)),
             "self": Peer("lines_libuv")}
    with started(bench, peers) as (servers, missing):
        yield from missing
        text = exchanged(bench, "echo_client", lines * 64, 64, requests, 0.5, servers)
        yield from against(Blocks(text, requests * lines), servers, "lines, 64 connections",
                           {"libuv": 3, "libuv-gathered": None})


def servers_close(bench):
    """A connection accepted, a message of 64 bytes answered, and the connection closed."""
    requests = 1000
    peers = {**of_each_loop("lines_weir", "close"),
             "libuv": Peer("lines_libuv", arguments=("close",)),
             "Go": Peer("echo_go", environment={"GOMAXPROCS": "1"}, arguments=("close",)),
             "self": Peer("lines_libuv", arguments=("close",))}
    with started(bench, peers) as (servers, missing):
        yield from missing
        text = exchanged(bench, "close_client", 64, 16, requests, 0.5, servers)
        yield from against(Blocks(text, requests), servers, "connections", {"libuv": 1, "Go": 1.2})


# ---- with their own clients ----------------------------------------------------------------------

class Example:
    """An example on a free port, which it tells."""

    def __init__(self, name, loop):
        self.name, self.loop = name, loop

    @contextlib.contextmanager
    def start(self, bench):
        program = bench.directory.parent / "examples" / self.name
        if not program.exists():
            raise Skipped(f"{self.name} was not built")
        with subprocess.Popen([program, "tcp://127.0.0.1:0"], stderr=subprocess.PIPE, text=True,
                              env={**measure.os.environ, "WEIR_LOOP": self.loop},
                              preexec_fn=measure.first_cpu) as process:
            line = process.stderr.readline().split()
            if "listening" not in line:
                raise measure.Failed(f"{self.name}: {' '.join(line)}")
            process.port = line[-1]
            try:
                yield process
            finally:
                process.terminate()


class Other:
    """A daemon of the distribution: `command(directory, port)`."""

    def __init__(self, command):
        self.command = command

    @contextlib.contextmanager
    def start(self, _bench):
        port = free_port()
        with tempfile.TemporaryDirectory(prefix="weir-bench-") as directory:
            with Daemon(self.command(Path(directory), port), port) as daemon:
                yield daemon


def cpu_ns(pid):
    """The CPU time of a process, all its threads, to the nanosecond (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def second_cpu():
    cpus = sorted(measure.os.sched_getaffinity(0))
    measure.os.sched_setaffinity(0, {cpus[1] if len(cpus) > 1 else cpus[0]})


def driven(rounds, servers, drive):
    """Blocks of the CPU time of a request. `drive(server)` says how many it has made."""
    lines, names = [], list(servers)
    for number in range(rounds):
        turn = names[number % len(names):] + names[:number % len(names)]
        for name in turn + turn[::-1]:
            before = cpu_ns(servers[name].pid)
            count = drive(servers[name])
            used = cpu_ns(servers[name].pid) - before
            lines.append(f"{number} {name} {round(1000 * used / count)}")
    return Blocks("\n".join(lines), 1000)


def redis(directory, port):
    return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "",
            "--appendonly", "no", "--io-threads", "1", "--dir", str(directory)]


def servers_redis(bench):
    """PING under redis-benchmark, 50 connections: examples/redis_ping and redis-server."""
    measure.need("redis-benchmark")
    peers = {**{f"weir/{loop}": Example("redis_ping", loop) for loop in LOOPS},
             "redis-server": Other(redis), "self": Other(redis)}
    with started(bench, peers) as (servers, missing):
        yield from missing
        for depth, goal, count in ((1, 1.0, 10000), (16, 1.3, 80000)):
            for test in ("ping_inline", "ping_mbulk"):
                def drive(server, test=test, depth=depth, count=count):
                    run(["redis-benchmark", "-h", "127.0.0.1", "-p", server.port, "-t", test, "-q",
                         "-n", count, "-P", depth, "-c", 50], preexec_fn=second_cpu)
                    return count
                blocks = driven(bench.share_of_rounds(0.15), servers, drive)
                yield from against(blocks, servers, f"{test} -P {depth}", {"redis-server": goal})


def nginx(directory, port):
    (directory / "nginx.conf").write_text(f"""\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port};
        default_type text/plain;
        return 200 "hello\\n";
    }}
}}
""")
    return ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")]


def servers_http(bench):
    """Requests by wrk, 64 connections: examples/http_hello and nginx (return 200)."""
    measure.need("wrk")
    peers = {**{f"weir/{loop}": Example("http_hello", loop) for loop in LOOPS},
             "nginx": Other(nginx), "self": Other(nginx)}
    with started(bench, peers) as (servers, missing):
        yield from missing

        def drive(server):
            text = run(["wrk", "-t", 1, "-c", 64, "-d", "1s", f"http://127.0.0.1:{server.port}/"],
                       preexec_fn=second_cpu)
            if "Non-2xx" in text or "Socket errors" in text:
                raise measure.Failed(f"wrk: {text}")
            return int(re.search(r"(\d+) requests in", text)[1])
        blocks = driven(bench.share_of_rounds(0.15), servers, drive)
        yield from against(blocks, servers, "requests", {"nginx": 1.2})


def servers_handler(bench):
    """The handler of examples/echo_server.c: the code that is its own."""
    text = (bench.source.parent / "examples" / "echo_server.c").read_text()
    body = re.search(r"^static int echo\(.*?\n\{\n(.*?)^\}", text, flags=re.M | re.S)[1]
    lines = [line for line in body.splitlines() if line.strip(" {}")]
    yield Row("lines of its body", str(len(lines)), "≤ 10", len(lines) <= 10, lines=len(lines))


FIGURES = (servers_pipeline, servers_close, servers_redis, servers_http, servers_handler)
