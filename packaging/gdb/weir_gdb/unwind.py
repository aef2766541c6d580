"""The stack of a task that does not run, as if it were the thread's.

An unwinder can say who called a frame. So for the length of a command the innermost frame of the
loop's thread was called by whatever the task was doing: that needs no register to be written, which
a core file would not allow, and leaves a process alone whatever happens. The frame itself, which
has nothing to do with the task, is left out of what `backtrace` prints.
"""
import contextlib

import gdb
import gdb.unwinder

from .program import NEVER, name_of, register, selection_kept

# What a switch keeps, by the architecture's name and the kind of switch: each register with where
# it is in `struct switch_point`.
REGISTERS = {
    "i386:x86-64": {"rsp": "sp", "rip": "pc", "rbp": "bp"},
    "aarch64": {"sp": "sp", "pc": "pc", "x29": "fp"},
}

# The portable switch: in the ucontext_t, by their number in gregs.
UCONTEXT_X86_64 = {"r8": 0, "r9": 1, "r10": 2, "r11": 3, "r12": 4, "r13": 5, "r14": 6, "r15": 7,
                   "rbp": 10, "rbx": 11, "rsp": 15, "rip": 16}


class FrameId:
    def __init__(self, sp, pc):
        self.sp = gdb.Value(sp)
        self.pc = gdb.Value(pc)


def stopped_registers(task, architecture):
    point = task.value["fiber"]["point"]
    if point.type.has_key("context"):
        context = point["context"]["uc_mcontext"]
        if architecture == "i386:x86-64":
            return {name: context["gregs"][i] for name, i in UCONTEXT_X86_64.items()}
        if architecture == "aarch64":
            found = {"x%d" % i: context["regs"][i] for i in range(19, 31)}
            return dict(found, sp=context["sp"], pc=context["pc"])
    elif architecture in REGISTERS:
        return {name: point[field] for name, field in REGISTERS[architecture].items()}
    raise gdb.GdbError("weir: stacks of %s are not known" % architecture)


class Unwinder(gdb.unwinder.Unwinder):
    def __init__(self):
        super().__init__("weir")
        self.task = None
        self.host = None  # the stack pointer and program counter of the thread
        self.registers = {}

    def is_host(self, frame):
        return self.host == (register(frame, "sp"), register(frame, "pc"))

    def arm(self, task):
        """The task's thread is selected."""
        frame = gdb.newest_frame()
        values = stopped_registers(task, frame.architecture().name())
        self.registers = {name: int(value) & NEVER for name, value in values.items()}
        # A caller is looked up by the byte before; a task that has not begun has none in its
        # function.
        pc = "rip" if "rip" in values else "pc"
        at = gdb.Value(self.registers[pc]).cast(gdb.lookup_type("void").pointer())
        if "+" not in name_of(at):
            self.registers[pc] += 1
        self.host = register(frame, "sp"), register(frame, "pc")
        self.task = task
        gdb.invalidate_cached_frames()

    def disarm(self):
        self.task = None
        gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if not self.task or not self.is_host(pending):
            return None
        names = self.registers
        sp = names.get("rsp", names.get("sp"))
        # Further in than the task's own frames, or gdb takes the stack for a broken one.
        info = pending.create_unwind_info(FrameId(sp - 16, self.host[1]))
        for name, value in names.items():
            wide = pending.read_register(name).type
            info.add_saved_register(name, gdb.Value(value).cast(wide))
        return info


class Filter:
    """Leaves the thread's own frame out."""

    def __init__(self, unwinder):
        self.name = "weir"
        self.priority = 1000
        self.enabled = True
        self.unwinder = unwinder
        gdb.frame_filters[self.name] = self

    def filter(self, frames):
        if not self.unwinder.task:
            return frames
        return (f for f in frames if not self.unwinder.is_host(f.inferior_frame()))


unwinder = Unwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)
Filter(unwinder)


@contextlib.contextmanager
def on_stack_of(task):
    """The task's thread is selected, and its frames are those of the task."""
    with selection_kept():
        if not task.thread:
            raise gdb.GdbError("weir: no thread runs the loop of this task")
        task.thread.switch()
        if not task.loop or task.on_thread:
            gdb.newest_frame().select()
            yield
            return
        unwinder.arm(task)
        try:
            frame = gdb.newest_frame()
            while frame and unwinder.is_host(frame):
                frame = frame.older()
            if not frame:
                raise gdb.GdbError("weir: the stack of task %d cannot be read" % task.number)
            frame.select()
            yield
        finally:
            unwinder.disarm()
