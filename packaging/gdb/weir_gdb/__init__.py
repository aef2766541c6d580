"""The gdb extension of weir.

    program.py   loops, tasks and threads, read from the program's memory
    unwind.py    the stack of a task that does not run, as if it were the thread's
    waits.py     what a task waits for
    core.py      the stacks in a core file
    commands.py  `weir tasks`, `weir task`, `weir stack`, `weir core`

Nothing is kept between commands and nothing is written to the program, so all of it works on core
files too. It needs the debug information of the library: the layout of every structure is taken
from there.
"""
