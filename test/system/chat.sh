#!/usr/bin/env bash
# ctest: also asan
# examples/chat: what one says all others hear, in order, whoever else does not listen.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/example.bash"
command -v python3 >/dev/null || { echo "skipped: there is no python3 here"; exit 77; }

talk() {
    raw "$1" <<'END'
from raw import *

def join():
    """A guest, who is there as soon as another one hears him."""
    s = connect()
    if guests:
        s.sendall(b"hello\n")
    for other in guests:
        hear(other, b"hello\n")
    guests.append(s)
    return s

guests = []
first, second, third = join(), join(), join()
first.sendall(b"one\ntwo\r\n\nth")
for other in (second, third):
    hear(other, b"one\ntwo\r\n\n")
second.sendall(b"mine\n")
for other in (first, third):
    hear(other, b"mine\n")
first.sendall(b"ree\n")
for other in (second, third):
    hear(other, b"three\n")

# Whoever leaves, with half a line or with a reset, or says too much at once, leaves alone.
third.sendall(b"half")
guests.remove(third)
third.close()
fourth = join()
fourth.sendall(b"x" * 70000)
assert rest(fourth) == b""
guests.remove(fourth)
fifth = join()
fifth.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
guests.remove(fifth)
fifth.close()
ask(second, b"still here\n", b"")
hear(first, b"still here\n")

# Who does not read is dropped, and the others do not notice: neither by waiting, nor by memory.
deaf = connect(4096)
deaf.sendall(b"hello\n")
for other in guests:
    hear(other, b"hello\n")
before, open_before, said = memory(), descriptors(), (b"x" * 999 + b"\n") * 50
for _ in range(2000):
    first.sendall(said)
    hear(second, said)
    if descriptors() < open_before:
        break
else:
    raise AssertionError("who does not read is there for ever")
assert memory() < before + (8 << 20), "what is not read piles up"
first.sendall(b"and on\n")
hear(second, b"and on\n")
END
}

# Somebody says more than can be passed on, all the time: the others are heard, and it ends.
talk_in_a_flood() {
    raw "$1" <<'END'
from raw import *
import signal
import threading

def flood(s):
    """Lines of no length: many in all that is read at once."""
    try:
        while True:
            s.sendall(b"\n" * 60000)
    except OSError:
        pass

def words(s):
    """The lines that have one."""
    got = b""
    while piece := s.recv(65536):
        *lines, got = (got + piece).split(b"\n")
        yield from filter(None, lines)

def beside(work, s):
    threading.Thread(target=work, args=[s], daemon=True).start()

beside(flood, connect())
first, second = connect(), connect()
second.sendall(b"hello\n")
assert next(words(first)) == b"hello"
beside(rest, first)
heard = words(second)
for i in range(20):
    first.sendall(b"number%d\n" % i)
    assert next(heard) == b"number%d" % i
os.kill(PID, signal.SIGTERM)
rest(second)
END
}

example chat tcp://127.0.0.1:0
talk_in_a_flood "$port"
wait "$server" || fail "status $? after a flood: $(<"$server_says")"

example chat tcp://127.0.0.1:0
talk "$port"
exec {one}<>"/dev/tcp/127.0.0.1/$port"
stop_example
read -r -t 30 line <&"$one" && fail "after the end: $line"
exec {one}>&-

example chat "unix:$dir/socket"
talk "$dir/socket"
stop_example
