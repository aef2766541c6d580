"""Loops, tasks and threads, read from the program's memory."""
import contextlib
import re
import select

import gdb

NEVER = 2**64 - 1

# How far to look for a frame of the library in a thread that has no thread-local variables.
FRAMES_MAX = 1000


@contextlib.contextmanager
def selection_kept():
    """Whatever is selected inside, the thread and the frame of before are selected again."""
    thread = gdb.selected_thread()
    try:
        frame = gdb.selected_frame()
    except gdb.error:
        frame = None
    try:
        yield
    finally:
        if thread and thread.is_valid():
            thread.switch()
        if frame and frame.is_valid():
            frame.select()


def symbol(name):
    found = gdb.lookup_global_symbol(name)
    if not found:
        raise gdb.GdbError("weir: the program does not use the library, has not loaded it yet, or"
                           " there is no debug information of it")
    return found


def source_root():
    """What the names of the library's source files begin with."""
    return symbol("weir_run").symtab.filename.removesuffix("task/run.c")


def name_of(pointer):
    """The name of the function that a pointer points to."""
    text = pointer.format_string(symbols=True)
    match = re.search(r"<(.*)>", text)
    return match[1] if match else text


def thread_local(name):
    """The variable in the selected thread; None if there is no way to get at it, as in a core file
    for which there is no matching libthread_db."""
    try:
        value = symbol(name).value()
        value.fetch_lazy()
        return value
    except gdb.error:
        return None


def variable(frame, name):
    try:
        value = frame.read_var(name)
        return None if value.is_optimized_out else value
    except (ValueError, gdb.error):
        return None


def loop_on_stack():
    """The loop of the selected thread, from the frames of its stack."""
    frame = gdb.newest_frame()
    for _ in range(FRAMES_MAX):
        if not frame:
            break
        if frame.name() == "loop_run":
            return variable(frame, "l")
        if frame.name() == "group_run_task" and variable(frame, "t"):
            return variable(frame, "t")["context"]["loop"]
        frame = frame.older()
    return None


def register(frame, kind):
    """The stack pointer ("sp") or program counter ("pc") of a frame."""
    return int(frame.read_register(kind)) & NEVER


def present(task):
    """A task whose memory is there."""
    if not task["fn"] and not task["handler"]:
        raise gdb.GdbError("weir: this core file lacks the stacks of tasks: gdb's own gcore stops"
                           " at the first guard, \"weir core FILE\" does not")
    return task


class Task:
    def __init__(self, value, loop=None, thread=None):
        self.value = value      # struct task
        self.loop = loop        # Loop, None in the threads model
        self.thread = thread    # the loop's, or its own; None if not known
        self.number = 0
        self.on_thread = False  # the thread's registers are this task's
        self.sp = 0             # of the thread then
        self.waits = []         # of its loop's descriptors: (descriptor, events)

    @property
    def address(self):
        return int(self.value.address)

    @property
    def function(self):
        if self.value["handler"]:
            return name_of(self.value["handler"])
        name = name_of(self.value["fn"])
        if name == "run_main":
            return name_of(self.value["context"]["run"]["main"])
        if not self.loop and not self.value["group"]:
            return name_of(self.value["context"]["run"]["main"])
        return name

    @property
    def state(self):
        """Also that it was cancelled, and whether it sees that."""
        context = self.value["context"]
        if not self.loop:
            words = ["thread %d" % self.thread.num]
        elif self.on_thread:
            words = ["running"]
        else:
            words = [str(self.value["state"]).replace("TASK_", "").lower()]
        if bool(context["cancelled"]):
            words.append("cancelled")
        if bool(context["shielded"]):
            words.append("shielded")
        return " ".join(words)

    @property
    def low(self):
        return int(self.value["stack"]["low"])

    @property
    def guard(self):
        """Where its guard begins and ends."""
        page = int(self.loop.value["run"]["stacks"]["page_size"])
        return self.low - page, self.low

    @property
    def end(self):
        """Where the page of its record ends, and its stack."""
        page = int(self.loop.value["run"]["stacks"]["page_size"])
        return (self.address + page) // page * page

    def holds(self, address):
        """Whether an address is on its stack or in its guard."""
        return self.guard[0] <= address < self.address


class Loop:
    def __init__(self, value):
        self.value = value  # struct loop
        self.thread = None

    @property
    def key(self):
        """Runs one after another, their loops in order."""
        return int(self.value["run"]), int(self.value["number"])

    def values(self):
        """Every task, the oldest first, those last that are still on their way here."""
        found = []
        at = self.value["all"]
        while at:
            found.append(present(at.dereference()))
            at = at["next_of_all"]
        found.reverse()
        known = {int(value.address) for value in found}
        at = self.value["inbox"]
        while at:
            if int(at) not in known and str(at["state"]) != "TASK_ENDED":
                found.append(at.dereference())
            at = at["next_posted"]
        return found

    def tasks(self):
        found = [Task(value, self, self.thread) for value in self.values()]
        self.find_running(found)
        self.find_waits(found)
        return found

    def find_running(self, tasks):
        """By the stack pointer, since a thread may be stopped right between two tasks; by the
        loop's own word if that is elsewhere, in a signal handler."""
        if not self.thread:
            return
        self.thread.switch()
        sp = register(gdb.newest_frame(), "sp")
        running = [task for task in tasks if task.holds(sp)]
        if not running and self.value["running"]:
            running = [t for t in tasks if t.address == int(self.value["running"])]
        for task in running:
            task.on_thread = True
            task.sp = sp

    def find_waits(self, tasks):
        by_address = {task.address: task for task in tasks}
        for fd, pointer, events in self.waits():
            task = by_address.get(int(pointer))
            if task:
                task.waits.append((fd, int(events)))

    def waits(self):
        count = int(self.value["slot_count"])
        slots = self.value["slots"]
        if not count:
            return
        size = slots.type.target().sizeof
        places = [slice(f.bitpos // 8, f.bitpos // 8 + f.type.sizeof)
                  for f in slots.type.target().fields() if f.name in ("arms", "receiver")]
        memory = bytes(gdb.selected_inferior().read_memory(int(slots), count * size))
        for fd in range(count):
            slot = memory[fd * size:(fd + 1) * size]
            if not any(any(slot[place]) for place in places):
                continue
            if slots[fd]["receiver"]:
                yield fd, slots[fd]["receiver"], select.POLLIN
            arm = slots[fd]["arms"]
            while arm:
                yield fd, arm["task"], arm["events"]
                arm = arm["next"]


def survey():
    """Every loop, and every task of the threads model, as far as threads lead to them."""
    loops, threads, runs = {}, [], {}

    def add(pointer, thread=None):
        loop = loops.setdefault(int(pointer), Loop(pointer.dereference()))
        loop.thread = loop.thread or thread
        runs[int(loop.value["run"])] = loop.value["run"]

    symbol("loop_here")
    with selection_kept():
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num):
            if thread.is_running():
                continue
            thread.switch()
            loop = thread_local("loop_here")
            context = thread_local("context_here")
            if loop is None and context is None:
                loop = loop_on_stack()
            if loop:
                add(loop, thread)
            elif context and context["task"] and not context["loop"]:
                threads.append(Task(context["task"].dereference(), None, thread))
        for run in list(runs.values()):
            for i in range(int(run["loop_count"])):
                add(run["loops"][i])
    return sorted(loops.values(), key=lambda loop: loop.key), threads


def groups():
    """All tasks with their numbers: a list of (Loop or None, list of Task)."""
    if not gdb.selected_inferior().threads():
        raise gdb.GdbError("weir: the program is not being run")
    loops, threads = survey()
    with selection_kept():
        found = [(loop, loop.tasks()) for loop in loops]
    if threads:
        found.append((None, threads))
    number = 0
    for _, tasks in found:
        for task in tasks:
            number += 1
            task.number = number
    return found


def every_task():
    return [task for _, tasks in groups() for task in tasks]


def fault_address():
    """Where the selected thread has met a SIGSEGV, or None."""
    try:
        info = gdb.parse_and_eval("$_siginfo")
        if int(info["si_signo"]) != 11:
            return None
        return int(info["_sifields"]["_sigfault"]["si_addr"]) & NEVER
    except gdb.error:
        return None
