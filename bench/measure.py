"""How the figures are taken: running the programs, counting what they execute, comparing rounds."""
import collections
import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path


class Skipped(Exception):
    """This figure cannot be had here; the text says why."""


class Failed(Exception):
    """A program failed."""


def need(tool):
    if not shutil.which(tool):
        raise Skipped(f"there is no {tool}")


def run(command, **options):
    """The output of a program that has to succeed."""
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=600, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()[-400:]}"
                     f" (exit code {done.returncode})")
    return done.stdout


# ---- comparing -----------------------------------------------------------------------------------

def quantile(values, q):
    values = sorted(values)
    at = q * (len(values) - 1)
    low, high = values[math.floor(at)], values[math.ceil(at)]
    return low + (high - low) * (at - math.floor(at))


class Ratio:
    """The ratio of two programs over paired rounds.

    `low` and `high` are where the true median lies with 95 % (by order statistics).
    """

    def __init__(self, values):
        values = sorted(values)
        half = 0.98 * math.sqrt(len(values))
        middle = (len(values) - 1) / 2
        self.rounds = len(values)
        self.median = quantile(values, 0.5)
        self.p10, self.p90 = quantile(values, 0.1), quantile(values, 0.9)
        self.low = values[max(0, math.floor(middle - half))]
        self.high = values[min(len(values) - 1, math.ceil(middle + half))]

    def __str__(self):
        return f"{self.median:.3f} [{self.p10:.3f}–{self.p90:.3f}]"

    def verdict(self, goal):
        if self.median <= goal:
            return "met"
        return "missed" if self.low > goal else "unclear"

    def data(self):
        return {k: round(v, 4) for k, v in vars(self).items()}


class Blocks:
    """The output of a program that prints `ROUND NAME COST` for each block, or several costs, of
    which `column` is wanted. Each round has `blocks` of each."""

    def __init__(self, text, calls, column=0, blocks=2):
        self.calls = calls * blocks
        self.rounds = collections.defaultdict(lambda: collections.defaultdict(int))
        for line in text.splitlines():
            number, name, *costs = line.split()
            self.rounds[number][name] += int(costs[column])

    def cost(self, name):
        """The median cost of one call."""
        return quantile([r[name] for r in self.rounds.values()], 0.5) / self.calls

    def ratio(self, a, b):
        return Ratio([r[a] / r[b] for r in self.rounds.values()])


# ---- servers -------------------------------------------------------------------------------------

def first_cpu():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


class Server:
    """An echo server, on the first CPU unless it is to be anywhere; `wrapper` is what runs it."""

    def __init__(self, program, wrapper=(), environment=None, anywhere=False, arguments=()):
        if not Path(program).exists():
            raise Skipped(f"{Path(program).name} was not built")
        self.process = subprocess.Popen([*wrapper, str(program), *arguments],
                                        stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, **(environment or {})},
                                        preexec_fn=None if anywhere else first_cpu)
        line = self.process.stdout.readline().split()
        if len(line) != 2:
            raise Failed(f"{program}: {self.process.communicate()[1].strip()}")
        self.port, self.pid = line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(self.pid), signal.SIGTERM)
        self.process.communicate()

    def user_bytes(self):
        """What it has in memory, its page tables included."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return sum(int(re.search(rf"^{name}:\s+(\d+) kB", status, flags=re.M)[1]) * 1024
                   for name in ("VmRSS", "VmPTE"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


# ---- counting ------------------------------------------------------------------------------------

class Counter:
    """Counts what programs execute in user space: callgrind, and objdump for what is locked."""

    def __init__(self):
        need("valgrind")
        self.locked = {}
        self.directory = tempfile.TemporaryDirectory(prefix="weir-bench-")

    def wrapper(self):
        self.file = Path(self.directory.name) / "callgrind.out"
        return ["valgrind", "--tool=callgrind", "--dump-instr=yes", "-q",
                f"--callgrind-out-file={self.file}"]

    def counts(self):
        """(instructions, locked ones) of the run that has just ended."""
        total = locked = 0
        for program, address, cost in self.lines():
            total += cost
            if address in self.locked_addresses(program):
                locked += cost
        return total, locked

    def lines(self):
        names, program, address, inclusive = {}, None, 0, False
        for line in self.file.read_text().splitlines():
            head = line[:1]
            if line.startswith("ob="):
                number, name = re.fullmatch(r"ob=\((\d+)\)(?: (.*))?", line).groups()
                program = names.setdefault(number, name)
            elif line.startswith("cob=") and " " in line:
                number, name = re.fullmatch(r"cob=\((\d+)\) (.*)", line).groups()
                names[number] = name
            elif line.startswith("calls="):
                inclusive = True
            elif head and head in "0123456789+-*" and line.count(" ") == 2:
                where, _, cost = line.split()
                if head in "+-":
                    address += int(where)
                elif where != "*":
                    address = int(where, 16)
                if not inclusive:
                    yield program, address, int(cost)
                inclusive = False

    def locked_addresses(self, program):
        if program not in self.locked:
            found = set()
            if program and os.path.exists(program) and shutil.which("objdump"):
                text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program],
                                      stdout=subprocess.PIPE, text=True, check=True).stdout
                found = {int(m[1], 16) for m in re.finditer(
                    r"^ *([0-9a-f]+):\s+(?:lock |xchg .*\()", text, flags=re.M)}
            self.locked[program] = found
        return self.locked[program]


def per_call(measure, count):
    """What one call adds, of any number of figures: the difference of 2 × `count` and `count`."""
    once, twice = measure(count), measure(2 * count)
    return [(b - a) / count for a, b in zip(once, twice)]


def calls_during(server, command):
    """How many system calls a server makes while a program runs. Not by strace(1): a server that is
    stopped at each call has more to do whenever it looks."""
    need("perf")
    with tempfile.NamedTemporaryFile(prefix="weir-bench-", mode="r") as out:
        counting = ["perf", "stat", "-x", ",", "-o", out.name, "-e", "raw_syscalls:sys_enter"]
        try:
            run([*counting, "--", "true"])
        except Failed:
            raise Skipped("perf may not count system calls here") from None
        run([*counting, "-p", server.pid, "--", *command])
        for line in out:
            number, *rest = line.split(",")
            if "raw_syscalls:sys_enter" in rest and number.isdigit():
                return int(number)
    raise Skipped("perf does not count system calls here")


def system_calls(program, exercise=None):
    """{name: number} of the system calls of a program run under strace: a command that ends by
    itself, or a server that `exercise` is called with."""
    need("strace")
    with tempfile.NamedTemporaryFile(prefix="weir-bench-", mode="r") as out:
        wrapper = ["strace", "-c", "-U", "name,calls", "-o", out.name]
        if exercise:
            with Server(program, wrapper) as server:
                exercise(server)
        else:
            run(wrapper + program)
        found = re.findall(r"^(\w+) +(\d+)$", out.read(), flags=re.M)
    return {name: int(calls) for name, calls in found if name != "total"}
