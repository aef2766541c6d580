#!/usr/bin/env bash
# ctest: also asan tsan
# ctest: timeout 180
# `weir proxy`: what one side says the other hears, over every transport; an end is an end and what
# breaks off breaks off; limits, failures and signals.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"
source "$WEIR_SOURCE/test/support/proxy.bash"

head -c 8000000 /dev/urandom >"$dir/big"

serve tcp://127.0.0.1:0
echo_address=$address
echo_port=${address##*:}

# Over TCP and Unix sockets, to a name, the port of port 0 told; the file of the socket goes.
for listen in tcp://127.0.0.1:0 "unix:$dir/socket" "unix:@weir proxy $$"; do
    proxy "$listen" "localhost:$echo_port"
    [ "$proxy_address" != tcp://127.0.0.1:0 ] || fail "the port is not told"
    through "$proxy_address"
    stop_proxy INT
    [ -z "$(cat "$proxy_says")" ] || fail "not quiet: $(cat "$proxy_says")"
done
[ ! -e "$dir/socket" ] || fail "the socket's file was left behind"
serve "unix:@weir echo $$"
proxy tcp://127.0.0.1:0 "$address"
through "$proxy_address"
stop_proxy

# Many at once, each its own bytes; and what it says about that.
proxy --stats tcp://127.0.0.1:0 "$echo_address"
pids=()
for i in $(seq 20); do
    (seq "$i" 5000 | "$weir" connect "$proxy_address" | cmp -s - <(seq "$i" 5000)) &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || fail "one of twenty got other bytes"
done
exec {peer}<>"/dev/tcp/127.0.0.1/${proxy_address##*:}"
echo "still here" >&"$peer"
read -r -t 30 line <&"$peer" || fail "no answer"
bytes=$(($(for i in $(seq 20); do seq "$i" 5000; done | wc -c) + 11))
moved="$bytes bytes there, $bytes back; "
until_stats "$proxy" "$proxy_says" "21 accepted, 1 open, 0 failed; $moved"
exec {peer}>&-
stop_proxy
says "$(tail -n 1 "$proxy_says")" "21 accepted, 0 open, 0 failed; $moved"

# The tasks of all loops are counted: three for each conversation, and some of its own.
WEIR_LOOPS=2 proxy --stats tcp://127.0.0.1:0 "$echo_address"
peers=()
for i in $(seq 12); do
    exec {peer}<>"/dev/tcp/127.0.0.1/${proxy_address##*:}"
    peers+=("$peer")
    echo here >&"$peer"
    read -r -t 30 line <&"$peer" || fail "no answer"
done
kill -USR1 "$proxy"
until_says " tasks on 2 loops"
tasks=$(sed -n 's/.* \([0-9]*\) tasks on 2 loops.*/\1/p' "$proxy_says")
[ "$tasks" -ge 38 ] && [ "$tasks" -lt 50 ] || fail "it says: $(cat "$proxy_says")"
for peer in "${peers[@]}"; do
    exec {peer}>&-
done
stop_proxy

# Both ends of a proxy in one program, which is told the proxy's port.
cat >"$dir/peers.py" <<'END'
import socket, struct, sys

def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()

def read_all(s):
    data = b""
    while piece := s.recv(65536):
        data += piece
    return data

class Line:
    """A client, the proxy, and who is behind it."""
    def __init__(self):
        self.client = socket.create_connection(proxy, timeout=30)
        self.server, _ = listener.accept()
        self.server.settimeout(30)

def cut(s):
    """True if the stream ends as one that was cut off."""
    try:
        return read_all(s) is None
    except ConnectionResetError:
        return True

listener = socket.create_server(("127.0.0.1", 0))
listener.settimeout(30)
print(listener.getsockname()[1], flush=True)
proxy = ("127.0.0.1", int(sys.stdin.readline()))

# An end goes on as an end, and the other direction goes on.
for first, second in (("client", "server"), ("server", "client")):
    line = Line()
    a, b = getattr(line, first), getattr(line, second)
    a.sendall(b"the whole question")
    a.shutdown(socket.SHUT_WR)
    assert read_all(b) == b"the whole question"
    b.sendall(b"the answer")
    b.shutdown(socket.SHUT_WR)
    assert read_all(a) == b"the answer"

# A reset goes on as one, and so nobody takes half of it for the whole.
for first, second in (("client", "server"), ("server", "client")):
    line = Line()
    a, b = getattr(line, first), getattr(line, second)
    a.sendall(b"half")
    assert b.recv(4) == b"half"
    reset(a)
    assert cut(b), first

# Who resets has said why before.
line = Line()
line.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
line.client.sendall(b"much")
assert line.server.recv(2) == b"mu"
line.server.sendall(b"too much")
line.server.close() # with bytes that nobody has read: a reset
got = b""
try:
    while piece := line.client.recv(100):
        got += piece
except ConnectionResetError:
    pass
assert got == b"too much", got

# Resets in the middle of much, while somebody reads or nobody does.
for turn in range(20):
    line = Line()
    a, b = (line.client, line.server) if turn % 2 else (line.server, line.client)
    for s in (a, b):
        s.setblocking(False)
        try:
            for _ in range(turn):
                s.sendall(bytes(100000))
        except BlockingIOError:
            pass
        s.setblocking(True)
        s.settimeout(30)
    if turn % 3:
        b.recv(100000)
    reset(a)
    assert cut(b), turn

# Much to clients that never read: it stays with whoever sends it.
stuck = [Line() for _ in range(20)]
sent = 0
for line in stuck:
    line.server.setblocking(False)
    try:
        while sent < 1 << 40:
            sent += line.server.send(bytes(1 << 20))
    except BlockingIOError:
        pass
line = Line()
line.client.sendall(b"and others are served")
assert line.server.recv(100) == b"and others are served"
print("good", flush=True)
sys.stdin.readline()
END
mkfifo "$dir/to_peers" "$dir/from_peers"
python3 "$dir/peers.py" <"$dir/to_peers" >"$dir/from_peers" &
peers=$!
jobs_started+=("$peers")
exec {to_peers}>"$dir/to_peers" {from_peers}<"$dir/from_peers"
read -r -t 30 port <&"$from_peers" || fail "the peers do not start"
proxy --verbose --drain 0.2 tcp://127.0.0.1:0 "127.0.0.1:$port"
echo "${proxy_address##*:}" >&"$to_peers"
read -r -t 120 line <&"$from_peers" || fail "the peers say no: $(cat "$proxy_says")"
[ "$line" = good ] || fail "the peers say $line"
until_says "; connection reset by peer"
memory=$(awk '/VmRSS/ { print $2 }' "/proc/$proxy/status")
[ -n "${WEIR_SLOW:-}" ] || [ "$memory" -lt 30000 ] || fail "the proxy keeps $memory KiB"

# Whoever does not end is ended, after the time to drain.
stop_proxy
echo over >&"$to_peers"
wait "$peers" || fail "the peers fail"

# Nobody behind it: said, and the next one is served, when there is somebody.
proxy --timeout 5 --stats tcp://127.0.0.1:0 "unix:$dir/later"
for _ in 1 2; do
    expect 1 "$weir" connect "$proxy_address" <<<"anybody there?"
    says "$err" "connection reset"
done
until_says "to unix:$dir/later: no such file"
serve "unix:$dir/later"
through "$proxy_address"
stop_proxy
says "$(tail -n 1 "$proxy_says")" "3 accepted, 0 open, 2 failed; 8000000 bytes there, 8000000 back"
proxy tcp://127.0.0.1:0 "tcp://no-such-host.invalid:1"
expect 1 "$weir" connect "$proxy_address" <<<"anybody there?"
until_says "to tcp://no-such-host.invalid:1: "
stop_proxy

# Those beyond the limit wait until others go.
proxy --max-connections 2 --stats tcp://127.0.0.1:0 "$echo_address"
port=${proxy_address##*:}
exec {one}<>"/dev/tcp/127.0.0.1/$port" {two}<>"/dev/tcp/127.0.0.1/$port"
for peer in $one $two; do
    echo here >&"$peer"
    read -r -t 30 line <&"$peer" || fail "no answer"
done
storm=()
for i in $(seq 30); do
    (exec {one}>&- {two}>&-
        echo "number $i" | "$weir" connect "$proxy_address" | cmp -s - <(echo "number $i")) &
    storm+=($!)
done
until_stats "$proxy" "$proxy_says" "2 accepted, 2 open, 0 failed; "
exec {one}>&- {two}>&-
for pid in "${storm[@]}"; do
    wait "$pid" || fail "one was forgotten in the queue"
done
stop_proxy
says "$(cat "$proxy_says")" "32 accepted, 0 open, 0 failed; "

# An idle conversation is ended, and does not look like one that came to its end.
proxy --idle 0.2 --verbose tcp://127.0.0.1:0 "$echo_address"
mkfifo "$dir/hold"
exec {hold}<>"$dir/hold"
expect 1 "$weir" connect "$proxy_address" <&"$hold"
says "$err" "connection reset"
until_says "; time"
stop_proxy

# Stopped, it refuses, lets those go on who are there, and ends with the last of them; or at once,
# at the second signal.
proxy --drain 30 tcp://127.0.0.1:0 "$echo_address"
port=${proxy_address##*:}
exec {peer}<>"/dev/tcp/127.0.0.1/$port"
echo "still here" >&"$peer"
read -r -t 30 line <&"$peer" || fail "no answer"
kill "$proxy"
until ! (exec 2>/dev/null {late}<>"/dev/tcp/127.0.0.1/$port"); do :; done
echo "and still" >&"$peer"
read -r -t 30 line <&"$peer" || fail "no answer after SIGTERM"
[ "$line" = "and still" ] || fail "after SIGTERM: $line"
exec {peer}>&-
wait "$proxy" || fail "status $? after SIGTERM"
proxy --drain 1000 tcp://127.0.0.1:0 "$echo_address"
port=${proxy_address##*:}
exec {peer}<>"/dev/tcp/127.0.0.1/$port"
echo "still here" >&"$peer"
read -r -t 30 line <&"$peer" || fail "no answer"
kill "$proxy"
until ! (exec 2>/dev/null {late}<>"/dev/tcp/127.0.0.1/$port"); do :; done
kill "$proxy"
status=0
wait "$proxy" || status=$?
[ "$status" = 143 ] || fail "status $status after the second SIGTERM"
exec {peer}>&-

# Without descriptors some wait, and nobody is lost.
mkfifo "$dir/address"
(ulimit -n 24 && WEIR_LOOPS=1 exec "$weir" proxy tcp://127.0.0.1:0 "$echo_address") \
    >"$dir/address" 2>"$dir/full" &
proxy=$!
jobs_started+=("$proxy")
read -r -t 30 proxy_address <"$dir/address"
storm=()
for i in $(seq 30); do
    exec {peer}<>"/dev/tcp/127.0.0.1/${proxy_address##*:}"
    echo "number $i" >&"$peer"
    storm+=("$peer")
done
for i in $(seq 30); do
    peer=${storm[i - 1]}
    read -r -t 30 line <&"$peer" || fail "out of descriptors, number $i was forgotten"
    [ "$line" = "number $i" ] || fail "out of descriptors: $line"
    exec {peer}>&-
done
kill "$proxy"
wait "$proxy" || fail "status $? after a shortage: $(cat "$dir/full")"

# Large transfers take more descriptors, for pipes. Whoever is accepted can be connected all the
# same; the others wait.
(ulimit -n 60 && WEIR_LOOPS=1 exec "$weir" proxy -t 0.3 tcp://127.0.0.1:0 "$echo_address") \
    >"$dir/address" 2>"$dir/full" &
proxy=$!
jobs_started+=("$proxy")
read -r -t 30 proxy_address <"$dir/address"
python3 - "${proxy_address##*:}" "$proxy" <<'END' || fail "with pipes: $(cat "$dir/full")"
import os, select, socket, sys, threading

def pipes():
    fds = f"/proc/{sys.argv[2]}/fd/"
    return sum(os.readlink(fds + fd).startswith("pipe:") for fd in os.listdir(fds))

def speak(s, data):
    sender = threading.Thread(target=s.sendall, args=[data])
    sender.start()
    left = len(data)
    while left > 0:
        left -= len(s.recv(left))
    sender.join()

def is_heard(s, seconds):
    return bool(select.select([s], [], [], seconds)[0])

served, waiting = [], []
for i in range(12):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
    s.sendall(b"?")
    if waiting or not is_heard(s, 60 if i < 2 else 1):
        waiting.append(s)
        continue
    served.append(s)
    assert s.recv(1) == b"?"
    before = pipes()
    for _ in range(30):
        speak(s, bytes(1 << 20))
        if pipes() >= before + 4:
            break
for s in waiting:
    assert not is_heard(s, 0.2), "accepted, and turned away"
for s in waiting:
    served.pop().close()
    served.insert(0, s)
    assert s.recv(1) == b"?"
END
kill "$proxy"
wait "$proxy" || fail "status $? after a shortage: $(cat "$dir/full")"

# Wrong use.
expect 2 "$weir" proxy tcp://127.0.0.1:0
says "$err" "two addresses are needed"
expect 2 "$weir" proxy udp://127.0.0.1:0 "$echo_address"
says "$err" "udp:// has no conversations"
expect 2 "$weir" proxy -m 0 tcp://127.0.0.1:0 "$echo_address"
says "$err" "-m: \"0\" is no number of connections"
expect 2 "$weir" proxy -i never tcp://127.0.0.1:0 "$echo_address"
says "$err" "-i: \"never\" is no number of seconds"
expect 1 "$weir" proxy nonsense "$echo_address"
says "$err" "addresses look like"
expect 1 "$weir" proxy "$echo_address" "$echo_address"
says "$err" "address already in use"
expect 2 "$weir" proxy --ca x tcp://127.0.0.1:0 "$echo_address"
says "$err" "need an address that begins with tls://"
expect 2 "$weir" proxy tls://127.0.0.1:0 "$echo_address"
says "$err" "needs --cert FILE"
expect 2 "$weir" proxy --cert x --alpn h2,http/1.1 tls://127.0.0.1:0 tls://127.0.0.1:1
says "$err" "one protocol alone"
expect 1 "$weir" proxy tcp://127.0.0.1:0 nonsense
says "$err" "addresses look like"
