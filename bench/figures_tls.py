"""TLS: what weir takes beside plain OpenSSL, stunnel and nginx."""
import contextlib
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import measure
from figure import Row
from figures_tasks import idle_bytes
from measure import Blocks, Server, Skipped, run

VERSIONS = ("1.3", "1.2")


# ---- certificates --------------------------------------------------------------------------------

def make_certificates(directory):
    """An authority and a certificate that it has signed, both with keys on P-256."""
    measure.need("openssl")

    def openssl(*words):
        run(["openssl", *words], cwd=directory)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Bench CA",
            "-days", "30")
    openssl("req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=bench.test",
            "-addext", "subjectAltName=DNS:bench.test")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "30", "-copy_extensions", "copy", "-out", "chain.pem")


@contextlib.contextmanager
def certificates():
    """A directory of them, which the programs find in BENCH_TLS."""
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as directory:
        make_certificates(directory)
        os.environ["BENCH_TLS"] = directory
        try:
            yield Path(directory)
        finally:
            del os.environ["BENCH_TLS"]


def need_programs(bench):
    if not bench.program("tls_calls").exists():
        raise Skipped("weir was built without TLS")


# ---- blocking calls ------------------------------------------------------------------------------

def calls(bench, what, version, count, share=1.0, in_task=False):
    """CPU time and passed time, as Blocks, of raw OpenSSL and weir against the same peer."""
    environment = {**os.environ, **({"WEIR_BENCH_TASK": "1"} if in_task else {})}
    text = run([bench.program("tls_calls"), what, version, bench.share_of_rounds(share), count],
               env=environment)
    return Blocks(text, count), Blocks(text, count, 1)


def against_raw(title, blocks, goal, mine="weir", raw="raw", unit=1):
    """Rows of the CPU time of `mine`; `goal` is what it may do per CPU second, as a share of what
    raw OpenSSL does."""
    ratio, again = blocks.ratio(mine, raw), blocks.ratio("self", raw)
    limit = 1 / goal if goal else None
    yield Row(title, str(ratio), f"≤ {limit:.3f} ({goal} × as fast)" if goal else "",
              ratio.verdict(limit) if goal else "", cost_ns=blocks.cost(mine),
              raw_ns=blocks.cost(raw), **ratio.data())
    yield Row("  CPU time; OpenSSL against itself",
              f"weir {blocks.cost(mine) / unit / 1000:.1f} µs,"
              f" OpenSSL {blocks.cost(raw) / unit / 1000:.1f} µs; {again}", **again.data())


def tls_handshakes(bench):
    """CPU time of a connection with its handshake, against plain OpenSSL."""
    need_programs(bench)
    with certificates():
        for version in VERSIONS:
            for what, title in (("accept", "accepted"), ("accept-again", "accepted, resumed"),
                                ("connect", "connected"), ("connect-again", "connected, resumed")):
                blocks, _ = calls(bench, what, version, 20, 0.5)
                yield from against_raw(f"TLS {version}, {title}, blocking", blocks, 0.97)
        for version in VERSIONS:
            for what, title in (("handshake", "full"), ("again", "resumed")):
                blocks = echo(bench, what, version, 1, 40, 0.5)
                for loop in LOOPS:
                    yield from against_raw(f"TLS {version}, {title}, tasks on {loop}, against"
                                           " OpenSSL on epoll", blocks, 0.97, loop, "raw")


def tls_bulk(bench):
    """CPU time per byte in records of 16 KiB: against plain OpenSSL, and of relays."""
    need_programs(bench)
    with certificates() as directory:
        for version in VERSIONS:
            for what, title, count in (("send", "sent, 64 KiB a call", 32),
                                       ("send-16k", "sent, 16 KiB a call", 128),
                                       ("recv", "received, up to 64 KiB a call", 32)):
                blocks, _ = calls(bench, what, version, count)
                yield from against_raw(f"TLS {version}, {title}", blocks, 0.97)
        yield from relays(bench, directory)


def tls_pingpong(bench):
    """64 bytes there and back over TLS 1.3."""
    need_programs(bench)
    with certificates():
        for in_task in (False, True):
            where = "a task" if in_task else "a thread"
            blocks, passed = calls(bench, "pingpong", "1.3", 200, in_task=in_task)
            yield Row(f"a round trip in {where}", str(passed.ratio("weir", "raw")),
                      **passed.ratio("weir", "raw").data())
            yield from against_raw("  its CPU time", blocks, None)
        for connections in (1, 64):
            blocks = echo(bench, "echo", "1.3", connections, 1000 if connections > 1 else 200, 1)
            for loop in LOOPS:
                yield from against_raw(f"server, {connections} connections, tasks on {loop},"
                                       " against OpenSSL on epoll", blocks, None, loop, "raw")


# ---- servers -------------------------------------------------------------------------------------

LOOPS = ("epoll", "io_uring")


def tasks(bench, loop):
    return Server(bench.program("tls_echo_tasks"), environment={"WEIR_LOOP": loop})


def raw(bench):
    return Server(bench.program("tls_echo_epoll"))


def client(bench, what, version, connections, requests, share, servers):
    peers = [f"{name}:{server.port}:{server.pid}:0" for name, server in servers.items()]
    return Blocks(run([bench.program("tls_client"), what, version, connections, requests,
                       bench.share_of_rounds(share), *peers]), requests)


def echo(bench, what, version, connections, requests, share):
    with contextlib.ExitStack() as stack:
        servers = {"raw": raw(bench), "self": raw(bench),
                   **{loop: tasks(bench, loop) for loop in LOOPS}}
        for server in servers.values():
            stack.enter_context(server)
        return client(bench, what, version, connections, requests, share, servers)


def tls_idle(bench):
    """Memory of the server's process for each connection with TLS that says nothing."""
    need_programs(bench)
    count = 2000 if bench.quick else 5000
    with certificates():
        for version in VERSIONS:
            found = {}
            for name, start in (("OpenSSL", raw),
                                *((loop, lambda b, loop=loop: tasks(b, loop)) for loop in LOOPS)):
                with start(bench) as server:
                    found[name] = idle_bytes(bench, server, count, "tls_hold", version)
            plain = found.pop("OpenSSL")
            yield Row(f"TLS {version}, OpenSSL on epoll, each of {count:,}",
                      f"{plain / 1024:.2f} KiB", bytes=plain)
            for loop, each in found.items():
                more = (each - plain) / 1024
                yield Row(f"TLS {version}, a task each, {loop}",
                          f"{each / 1024:.2f} KiB, {more:+.2f}", "≤ 5 KiB more", more <= 5,
                          bytes=each)


# ---- relays --------------------------------------------------------------------------------------

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Daemon:
    """A program of the distribution that relays, on the first CPU, in one process."""

    def __init__(self, command, port):
        measure.need(command[0])
        self.port = port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True,
                                        preexec_fn=measure.first_cpu)
        self.pid = self.process.pid

    def __enter__(self):
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        self.__exit__()
        raise Skipped(f"{self.process.args[0]} does not start: {self.said.strip()[-200:]}")

    def __exit__(self, *_):
        self.process.terminate()
        self.said = self.process.communicate()[1]


def stunnel(directory, far):
    port = free_port()
    (directory / "stunnel.conf").write_text(f"""\
foreground = yes
pid =
debug = err
syslog = no
[relay]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{far}
cert = {directory}/chain.pem
key = {directory}/key.pem
""")
    return Daemon(["stunnel4", str(directory / "stunnel.conf")], port)


NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def nginx_stream(directory, far, how_it_listens, *lines):
    port = free_port()
    module = f"load_module {NGINX_MODULE};" if NGINX_MODULE.exists() else ""
    (directory / "nginx.conf").write_text(f"""\
{module}
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ }}
stream {{
    server {{
        listen 127.0.0.1:{port} {how_it_listens};
        proxy_pass 127.0.0.1:{far};
        {' '.join(lines)}
    }}
}}
""")
    return Daemon(["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")], port)


def nginx(directory, far):
    return nginx_stream(directory, far, "ssl", f"ssl_certificate {directory}/chain.pem;",
                        f"ssl_certificate_key {directory}/key.pem;",
                        "ssl_protocols TLSv1.2 TLSv1.3;", "proxy_buffer_size 64k;")


def relays(bench, directory):
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(Server(bench.program("tls_far")))
        servers, missing = {}, []
        for loop in LOOPS:
            servers[loop] = stack.enter_context(Server(
                bench.program("tls_relay"), environment={"WEIR_LOOP": loop, "BENCH_FAR": far.port}))
        for name, start in (("stunnel", stunnel), ("nginx", nginx), ("self", nginx)):
            try:
                where = directory / name
                where.mkdir()
                for file in ("chain.pem", "key.pem"):
                    (where / file).symlink_to(directory / file)
                servers[name] = stack.enter_context(start(where, far.port))
            except Skipped as why:
                missing.append(Row(f"  {name}", f"skipped: {why}"))
        yield from missing
        for what, title in (("in", "TLS in, plain out"), ("out", "plain in, TLS out")):
            blocks = client(bench, what, "1.3", 1, 64, 0.5, servers)
            mine = min(LOOPS, key=blocks.cost)
            for other in ("stunnel", "nginx"):
                if other in servers:
                    ratio = blocks.ratio(mine, other)
                    yield Row(f"a relay, {title}: tasks on {mine} against {other}", str(ratio),
                              "≤ 1.00", ratio.verdict(1), **ratio.data())
            if "self" in servers:
                yield Row("  nginx against itself", str(blocks.ratio("self", "nginx")),
                          **blocks.ratio("self", "nginx").data())
            yield Row("  CPU time of 64 KiB", ", ".join(
                f"{name} {blocks.cost(name) / 1000:.1f} µs" for name in servers if name != "self"))


FIGURES = (tls_handshakes, tls_bulk, tls_pingpong, tls_idle)
