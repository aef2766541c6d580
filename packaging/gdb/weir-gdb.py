"""Tasks of weir in gdb: `source` this file, or let gdb load it along with an installed libweir.so.
See docs/debugging.md."""
import os
import sys

import gdb

# Reading a core or a process, not writing: nothing of ours appears beside an installed file.
_dont_write_bytecode = sys.dont_write_bytecode
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
try:
    import weir_gdb.commands
finally:
    del sys.path[0]
    sys.dont_write_bytecode = _dont_write_bytecode
