"""Raw clients for the tests of servers: what no well-behaved client does.

A test script imports this; its arguments are the server's port, or the path of its socket, and its
process id.
"""
import os
import re
import socket
import sys
from pathlib import Path

TARGET, PID = sys.argv[1], int(sys.argv[2])
PATIENCE = 240 if os.environ.get("WEIR_SLOW") else 30


def connect(receive_buffer=0):
    unix = TARGET.startswith("/")
    s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(PATIENCE)
    s.connect(TARGET if unix else ("127.0.0.1", int(TARGET)))
    return s


def hear(s, wanted):
    """Exactly that comes next."""
    got = b""
    while len(got) < len(wanted):
        piece = s.recv(len(wanted) - len(got))
        assert piece, f"the end after {got!r}, instead of {wanted!r}"
        got += piece
    assert got == wanted, f"{got[:200]!r} instead of {wanted[:200]!r}"


def ask(s, question, answer):
    s.sendall(question)
    hear(s, answer)


def rest(s):
    """What comes until the end of the connection, by a reset too."""
    got = b""
    try:
        while piece := s.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


def memory():
    """What the server has in memory, in bytes; not under tools, which keep what was freed."""
    if "WEIR_SLOW" in os.environ:
        return 0
    status = Path(f"/proc/{PID}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, flags=re.M)[1]) * 1024


def descriptors():
    return len(os.listdir(f"/proc/{PID}/fd"))


def fill(s, piece, meanwhile, most=64 << 20):
    """Sends and does not read, until the server takes no more: until there is no room again and
    again while it does its work for others (`meanwhile`)."""
    s.setblocking(False)
    sent = vain = 0
    while vain < 50:
        try:
            sent += s.send(piece[sent % len(piece):])
            vain = 0
        except BlockingIOError:
            vain += 1
            meanwhile()
        assert sent < most, "it takes whatever comes, without an end"
    s.settimeout(PATIENCE)
    return sent
