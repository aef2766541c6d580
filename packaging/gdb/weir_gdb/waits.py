"""What a task waits for."""
import os
import time

import gdb

from .program import NEVER, source_root, variable
from .unwind import on_stack_of

# Whose pointers say what is waited for.
OBJECTS = {"weir_mutex", "weir_channel", "weir_group", "weir_socket"}

# The library's frames below the program's own.
BEGINNINGS = {"run_main", "group_run_task", "begin", "switch_begin"}

EVENTS = ((1, "readable"), (4, "writable"))


def in_library(frame, root):
    table = frame.find_sal().symtab
    return bool(table) and table.filename.startswith(root)


def library_frames(frame, root):
    """The frames of the library on top of a stack, without what the C library puts above them, and
    the frame that has called it; None if that has left its stack to the call, its last."""
    found = []
    while frame:
        if frame.name() in BEGINNINGS:
            return found, None
        if in_library(frame, root):
            found.append(frame)
        elif found:
            return found, frame
        frame = frame.older()
    return found, None


def variables(frame):
    try:
        block = frame.block()
    except RuntimeError:
        return
    while block:
        for symbol in block:
            if symbol.is_argument or symbol.is_variable:
                yield symbol
        if block.function:
            return
        block = block.superblock


def object_of(frames):
    """The first object, from the call inwards, whose address can be had."""
    for frame in reversed(frames):
        for symbol in variables(frame):
            kind = symbol.type.strip_typedefs() if symbol.type else None
            if kind is None or kind.code != gdb.TYPE_CODE_PTR:
                continue
            name = symbol.type.target().unqualified().name
            value = variable(frame, symbol.name) if name in OBJECTS else None
            if value is not None and int(value):
                return name, int(value)
    return None


def operation_of(frames):
    """The operation that a ring carries out for the task: its descriptor and what it is."""
    for frame in frames:
        value = variable(frame, "op")
        if value is None or "loop_operation" not in str(value.type):
            continue
        if value.type.code == gdb.TYPE_CODE_PTR:
            value = value.dereference()
        kind = str(value["kind"]).replace("LOOP_", "").lower()
        return int(value["fd"]), kind
    return None


class Call:
    """The call of weir that a task is in."""

    def __init__(self, name, caller, place, thing, operation):
        self.name, self.caller, self.place = name, caller, place
        self.thing, self.operation = thing, operation

    def __str__(self):
        text = self.name
        if self.thing:
            text += " (%s 0x%x)" % (self.thing[0].replace("weir_", ""), self.thing[1])
        if self.caller:
            text += " in " + self.caller
        return text + " at " + self.place if self.place else text


def call_of(task):
    """None if the task is not in a call, or has not begun."""
    root = source_root()
    try:
        with on_stack_of(task):
            frames, caller = library_frames(gdb.selected_frame(), root)
            if not frames:
                return None
            place = caller and caller.find_sal()
            file = place and place.symtab and "%s:%d" % (
                os.path.basename(place.symtab.filename), place.line)
            return Call(frames[-1].name(), caller and (caller.name() or "?"), file,
                        object_of(frames), operation_of(frames))
    except gdb.error:
        return None


def now_ns():
    """The clock of the program, if it runs on this machine."""
    connection = gdb.selected_inferior().connection
    if connection is None or connection.type != "native":
        return None
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def time_text(at_ns):
    now = now_ns()
    if now is None:
        return "until %.3f s of CLOCK_MONOTONIC" % (at_ns / 1e9)
    if at_ns <= now:
        return "time is up"
    return "%.3f s left" % ((at_ns - now) / 1e9)


def descriptor_text(fd, events):
    names = [name for bit, name in EVENTS if events & bit]
    return "fd %d %s" % (fd, " or ".join(names) or "in trouble")


def reasons(task, call):
    """What ends the wait, as texts."""
    found = [descriptor_text(fd, events) for fd, events in task.waits]
    if call and call.operation and not task.waits:
        found.append("fd %d %s" % call.operation)
    at_ns = int(task.value["timer"]["at_ns"])
    if 0 < at_ns < NEVER:
        found.append(time_text(at_ns))
    return found
