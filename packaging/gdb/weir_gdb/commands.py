"""weir tasks, weir task, weir stack, weir core."""
import gdb

from . import core, program, waits
from .unwind import on_stack_of

# With more tasks than this the list does not say which call each of them is in: to find out takes
# milliseconds.
CALLS_MAX = 1000


def find(text):
    """The task that has this number or address."""
    if not text:
        raise gdb.GdbError("weir: which task? Say its number or its address")
    wanted = int(text) if text.isdigit() else int(gdb.parse_and_eval(text))
    for task in program.every_task():
        if wanted in (task.number, task.address):
            return task
    raise gdb.GdbError("weir: there is no task %s" % text)


def is_parked(task):
    return bool(task.loop) and not task.on_thread and "parked" in task.state


def waiting_text(task, with_call):
    call = waits.call_of(task) if with_call else None
    parts = [str(call)] if call else []
    if is_parked(task):
        parts += waits.reasons(task, call)
    return ", ".join(parts)


def print_table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        gdb.write("  ".join(map(str.ljust, row, widths)).rstrip() + "\n")


def group_text(task):
    group = int(task.value["group"])
    return "0x%x" % group if group else "-"


def loop_text(loop, tasks):
    name = loop.value["ops"]["name"].string()
    where = "thread %d" % loop.thread.num if loop.thread else "no thread"
    return "loop %d (%s), %s, %d tasks\n" % (int(loop.value["number"]), name, where, len(tasks))


# ---- a stack's overflow --------------------------------------------------------------------------

def guard_text(tasks):
    """What the fault of the selected thread means, if it was on a guard."""
    address = program.fault_address()
    if address is None:
        return ""
    thread = gdb.selected_thread()
    for task in tasks:
        if not task.loop or not task.guard[0] <= address < task.guard[1]:
            continue
        name = "task %d (0x%x, %s)" % (task.number, task.address, task.function)
        own = task.on_thread and task.thread and task.thread.num == thread.num
        what = "stack overflow of" if own else "fault on the guard of the stack of"
        return "weir: %s %s: 0x%x is on the guard of its stack, %d KiB from 0x%x\n" % (
            what, name, address, (task.end - task.low) // 1024, task.low)
    return ""


def stopped(event):
    """Tells at once, but not at the price of a list of all tasks for any other fault."""
    if not isinstance(event, gdb.SignalEvent) or event.stop_signal != "SIGSEGV":
        return
    try:
        context = program.thread_local("context_here")
        if not context or not context["task"] or not context["loop"]:
            return
        task = program.Task(context["task"].dereference(),
                            program.Loop(context["loop"].dereference()))
        address = program.fault_address()
        if address is not None and task.guard[0] <= address < task.guard[1]:
            gdb.write(guard_text(program.every_task()))
    except (gdb.error, gdb.GdbError):
        pass


# ---- the use of a stack --------------------------------------------------------------------------

def first_touched(task):
    """The lowest byte that was ever written, by this task or one that had the stack before."""
    inferior = gdb.selected_inferior()
    at, step = task.low, 4096
    while at < task.address:
        try:
            memory = bytes(inferior.read_memory(at, min(step, task.address - at)))
        except gdb.MemoryError:
            memory = b""
        if any(memory):
            return at + len(memory) - len(memory.lstrip(b"\0"))
        at += step
    return at


# ---- commands ------------------------------------------------------------------------------------

class Weir(gdb.Command):
    """Tasks of weir: "weir tasks", "weir task", "weir stack", "weir core"."""

    def __init__(self):
        super().__init__("weir", gdb.COMMAND_STACK, prefix=True)


class Tasks(gdb.Command):
    """Lists the tasks of the program, of all its loops and threads.

Each with its number, which holds until tasks begin or end, its address, its state, its function,
its group, and where it waits and for what. The one that the selected thread is in has a star."""

    def __init__(self):
        super().__init__("weir tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        groups = program.groups()
        tasks = [task for _, some in groups for task in some]
        with_call = len(tasks) <= CALLS_MAX
        for loop, some in groups:
            gdb.write(loop_text(loop, some) if loop else "threads, %d tasks\n" % len(some))
            if some:
                print_table([self.row(task, with_call) for task in some])
        if not tasks:
            gdb.write("no tasks\n")
        if not with_call:
            gdb.write("(more than %d: their calls are left out; \"weir task N\" shows one)\n"
                      % CALLS_MAX)
        gdb.write(guard_text(tasks))

    @staticmethod
    def row(task, with_call):
        thread = gdb.selected_thread()
        own = thread and task.thread and task.thread.num == thread.num
        star = "*" if own and (task.on_thread or not task.loop) else " "
        return [star + str(task.number).rjust(4), "0x%x" % task.address, task.state, task.function,
                group_text(task), waiting_text(task, with_call)]


class TaskCommand(gdb.Command):
    """weir task N|ADDRESS [COMMAND]: runs a command of gdb on the stack of a task, "bt" by default.

Selected is the frame that has called weir, so "info locals" shows the task's own variables. The
program is not touched, and afterwards the thread and frame of before are selected again."""

    def __init__(self):
        super().__init__("weir task", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        which, _, command = argument.strip().partition(" ")
        task = find(which)
        with on_stack_of(task):
            if not task.on_thread:
                self.select_caller()
            try:
                gdb.execute(command.strip() or "bt", from_tty)
            except gdb.error as error:
                raise gdb.GdbError(str(error)) from None

    @staticmethod
    def select_caller():
        _, caller = waits.library_frames(gdb.selected_frame(), program.source_root())
        if caller:
            caller.select()


class Stack(gdb.Command):
    """weir stack N|ADDRESS: how large a task's stack is, and how much of it is used.

The most is what was ever written to; a stack that other tasks had before shows theirs too."""

    def __init__(self):
        super().__init__("weir stack", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        task = find(argument.strip())
        if not task.loop:
            raise gdb.GdbError("weir: the stack of a thread is the system's")
        end = task.end
        with on_stack_of(task):
            sp = program.register(gdb.selected_frame(), "sp")
        gdb.write("task %d: %d KiB from 0x%x, the guard below it; %d bytes in use, at most %d\n" % (
            task.number, (end - task.low) // 1024, task.low, end - sp, end - first_touched(task)))


class Core(gdb.Command):
    """weir core FILE: writes a core file, as generate-core-file does, with the stacks of tasks.

gdb reads memory in large pieces and leaves the rest out where one fails, as it does at a guard; it
warns of that. The kernel's core files are complete by themselves."""

    def __init__(self):
        super().__init__("weir core", gdb.COMMAND_SUPPORT, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        if not argument:
            raise gdb.GdbError("weir: which file?")
        stacks = core.stacks(program.every_task())
        gdb.execute("generate-core-file " + argument)
        core.add(argument.strip(), stacks)
        gdb.write("weir: added the stacks of %d tasks\n" % len(stacks))


Weir()
Tasks()
TaskCommand()
Stack()
Core()
gdb.events.stop.connect(stopped)
