"""What calls cost: blocking ones, non-blocking ones, and looking names up."""
import os
import shlex
import tempfile
from pathlib import Path

import measure
from figure import Row
from measure import Blocks, Counter, Skipped, per_call, run, system_calls


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


FIGURES = (calls, pingpong, connects, names)
