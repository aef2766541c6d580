"""The stacks of tasks in a core file that gdb has written."""
import os
import struct

import gdb

from .unwind import stopped_registers

PT_LOAD = 1


def stacks(tasks):
    """From where to where the stacks of loops' tasks are in use, in whole pages."""
    architecture = gdb.selected_inferior().architecture().name()
    found = []
    for task in tasks:
        if not task.loop:
            continue
        page = int(task.loop.value["run"]["stacks"]["page_size"])
        sp = task.sp
        if not task.on_thread:
            registers = stopped_registers(task, architecture)
            sp = int(registers["rsp" if "rsp" in registers else "sp"])
        low = sp // page * page if task.low <= sp < task.end else task.low
        found.append((low, task.end))
    return found


def segments(file):
    """(address, offset in the file, size) of what a core file of 64 bits holds."""
    header = file.read(64)
    if header[:5] != b"\x7fELF\2":
        raise gdb.GdbError("weir: not a core file of 64 bits")
    order = "<" if header[5] == 1 else ">"
    offset, = struct.unpack_from(order + "Q", header, 32)
    size, count = struct.unpack_from(order + "HH", header, 54)
    file.seek(offset)
    table = file.read(size * count)
    for i in range(count):
        kind, _, at, address, _, length = struct.unpack_from(order + "IIQQQQ", table, i * size)
        if kind == PT_LOAD:
            yield address, at, length


def add(path, ranges):
    inferior = gdb.selected_inferior()
    with open(os.path.expanduser(path), "r+b") as file:
        places = list(segments(file))
        for low, high in ranges:
            for address, at, length in places:
                if address <= low and high <= address + length:
                    file.seek(at + low - address)
                    file.write(bytes(inferior.read_memory(low, high - low)))
