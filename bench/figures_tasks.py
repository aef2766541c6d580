"""What tasks cost by themselves: time and memory."""
import contextlib
import subprocess
import time

import measure
from figure import Row
from figures_echo import tasks
from measure import Blocks, Skipped, run


def pairs(text):
    return {name: float(value) for name, value in map(str.split, text.splitlines())}


def switch(bench):
    """From one task to another, and from its start to its end."""
    def each(title, *command, count, per_count=1, goal=None):
        program = bench.program(command[0])
        if not program.exists():
            return Row(title, "skipped: it was not built")
        text = run([program, *command[1:], bench.rounds, count])
        name = text.split()[1]
        ns = Blocks(text, count * per_count, blocks=1).cost(name)
        return Row(title, f"{ns:.1f} ns", f"≤ {goal} ns" if goal else "",
                   ns <= goal if goal else "", ns=ns)

    yield each("a switch", "switch", count=200000, per_count=2, goal=10)
    yield each("  with Boost.Context", "switch_boost", count=200000, per_count=2)
    yield each("  weir_yield to another task and back", "tasks", "yield", count=20000)
    yield each("start, run and end of a task", "tasks", "spawn", count=20000, goal=150)


def parked(bench):
    """A million tasks that wait."""
    count = 100000 if bench.quick else 1000000
    bare = pairs(run([bench.program("parked"), "bare", count]))
    try:
        found = pairs(run([bench.program("parked"), "weir", count]))
    except measure.Failed as why:
        raise Skipped(f"no memory for so many: {why}") from None
    yield Row(f"{count:,} parked tasks, each", f"{found['bytes'] / 1024:.2f} KiB", "≤ 4.6 KiB",
              found["bytes"] <= 4.6 * 1024, **found)
    yield Row("  bare guard and page", f"{bare['bytes'] / 1024:.2f} KiB", **bare)
    ratio = found["start"] / bare["start"]
    yield Row("start of each against a bare guard and page", f"{ratio:.2f}", "≤ 1.3", ratio <= 1.3,
              ratio=ratio)
    yield Row("  start, and cancel with end, of each",
              f"{found['start'] / 1000:.2f} µs, {found['end'] / 1000:.2f} µs")


def connections(bench):
    """What idle connections cost in user space, with a task each."""
    count = 18000
    for loop in ("epoll", "io_uring"):
        try:
            with tasks(loop).start(bench) as server:
                each = idle_bytes(bench, server, count)
        except (Skipped, measure.Failed) as why:
            yield Row(f"{count:,} idle connections, {loop}", f"skipped: {why}")
            continue
        yield Row(f"{count:,} idle connections, {loop}, each", f"{each / 1024:.2f} KiB", "≤ 5 KiB",
                  each <= 5 * 1024, bytes=each)


def idle_bytes(bench, server, count, *holder):
    """Memory for each of so many connections, held by a program (bench/hold)."""
    before, has = server.user_bytes(), server.descriptors()
    program, *words = holder or ("hold",)
    with subprocess.Popen([bench.program(program), *words, server.port, str(count)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as client:
        if client.stdout.readline().strip() != "held":
            raise Skipped(client.stderr.read().strip())
        # All are connected; the server has yet to accept the last of them.
        for _ in range(500):
            if server.descriptors() >= has + count:
                break
            time.sleep(0.01)
        else:
            raise Skipped("the server did not accept all of them (ulimit -n)")
        after = server.user_bytes()
        with contextlib.suppress(BrokenPipeError):
            client.stdin.close()
    return (after - before) / count


def timers(bench):
    """A timer that is armed and stopped, while a million others are live."""
    count, live = 20000, 100000 if bench.quick else 1000000
    found = Blocks(run([bench.program("tasks"), "timers", bench.rounds, count, live]), count)
    more = found.cost("limited") - found.cost("free")
    yield Row(f"armed and stopped, {live:,} live", f"{more:.0f} ns", "≤ 100 ns", more <= 100,
              ns=more)
    yield Row("  a wait for another task, there and back",
              f"without a limit {found.cost('free'):.0f} ns, with one"
              f" {found.cost('limited'):.0f} ns")


def wakes(bench):
    """A task wakes one on another loop, against eventfds between two threads."""
    trips = 500
    found = Blocks(run([bench.program("wakes"), bench.rounds, trips]), trips)
    ratio, again = found.ratio("weir", "raw"), found.ratio("self", "raw")
    yield Row("there and back, against eventfds", str(ratio), "≤ 1.2", ratio.verdict(1.2),
              **ratio.data())
    yield Row("  eventfds against themselves", str(again), **again.data())
    yield Row("  there and back", f"weir {found.cost('weir') / 1000:.1f} µs,"
              f" eventfds {found.cost('raw') / 1000:.1f} µs")


FIGURES = (switch, parked, connections, timers, wakes)
