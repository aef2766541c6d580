"""`weir proxy`: what it takes beside haproxy and nginx's stream module."""
import contextlib
import tempfile
from pathlib import Path

from figure import Row
from figures_tls import Daemon, free_port, nginx_stream
from measure import Blocks, Server, Skipped, run

LOOPS = ("epoll", "io_uring")


# ---- relays --------------------------------------------------------------------------------------

def weir(loop):
    def start(bench, _directory, far):
        port = free_port()
        return Daemon(["env", "WEIR_LOOPS=1", f"WEIR_LOOP={loop}",
                       str(bench.directory.parent / "weir"), "proxy", f"tcp://127.0.0.1:{port}",
                       f"tcp://127.0.0.1:{far}"], port)
    return start


def haproxy(*options):
    def start(_bench, directory, far):
        port = free_port()
        (directory / "haproxy.conf").write_text("\n".join([
            "global", "  nbthread 1", "defaults", "  mode tcp", "  timeout connect 10s",
            "  timeout client 10m", "  timeout server 10m", *(f"  {o}" for o in options),
            "listen relay", f"  bind 127.0.0.1:{port}", f"  server far 127.0.0.1:{far}", ""]))
        return Daemon(["haproxy", "-db", "-q", "-f", str(directory / "haproxy.conf")], port)
    return start


def nginx(*options):
    def start(_bench, directory, far):
        return nginx_stream(directory, far, "", *options)
    return start


OTHERS = {
    "haproxy": haproxy(),
    "haproxy/splice": haproxy("option splice-auto"),
    "nginx": nginx(),
    "nginx/64k": nginx("proxy_buffer_size 64k;"),
}
RELAYS = {**{f"weir/{loop}": weir(loop) for loop in LOOPS}, **OTHERS, "self": haproxy()}


# ---- figures -------------------------------------------------------------------------------------

def compare(bench, what, connections, requests):
    """CPU time and passed time, as Blocks, of those that are here; Rows of those that are not."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weir-bench-")))
        far = stack.enter_context(Server(bench.program("relay_far"), ("taskset", "-c", "1")))
        servers, missing = {}, []
        for name, start in RELAYS.items():
            try:
                where = directory / name.replace("/", "-")
                where.mkdir()
                servers[name] = stack.enter_context(start(bench, where, far.port))
            except Skipped as why:
                missing.append(Row(f"  {name}", f"skipped: {why}"))
        peers = [f"{name}:{server.port}:{server.pid}:0" for name, server in servers.items()]
        text = run([bench.program("relay_client"), what, connections, requests,
                    bench.share_of_rounds(0.5), *peers])
    return Blocks(text, requests), Blocks(text, requests, 1), list(servers), missing


def rows(bench, title, what, connections, requests):
    blocks, passed, here, missing = compare(bench, what, connections, requests)
    yield from missing
    mine = min((f"weir/{loop}" for loop in LOOPS), key=blocks.cost)
    for other in OTHERS:
        if other in here:
            ratio = blocks.ratio(mine, other)
            yield Row(f"{title}: {mine} against {other}", str(ratio), "≤ 1.00", ratio.verdict(1),
                      **ratio.data())
    if "self" in here and "haproxy" in here:
        again = blocks.ratio("self", "haproxy")
        yield Row("  haproxy against itself", str(again), **again.data())
    for name in here:
        yield Row(f"  {name}: CPU, and time passed",
                  f"{blocks.cost(name) / 1000:.1f} µs, {passed.cost(name) / 1000:.1f} µs",
                  cpu_ns=blocks.cost(name), passed_ns=passed.cost(name))


def proxy_pingpong(bench):
    """CPU time of `weir proxy` for 64 bytes there and back, against haproxy and nginx."""
    yield from rows(bench, "1 connection", "echo", 1, 300)
    yield from rows(bench, "64 connections", "echo", 64, 2000)


def proxy_bulk(bench):
    """The same for 1 MiB, over one connection."""
    yield from rows(bench, "to the server", "in", 1, 24)
    yield from rows(bench, "from the server", "out", 1, 24)


FIGURES = (proxy_pingpong, proxy_bulk)
