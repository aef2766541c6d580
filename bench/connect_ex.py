"""What CPython does: three connects by name on non-blocking sockets, under a silent name server.

To be run where /etc/resolv.conf names 127.0.0.1 and port 53 is free: see run.py. Prints the seconds
that each call took.
"""
import socket
import time

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))

for number in range(3):
    with socket.socket() as s:
        s.setblocking(False)
        start = time.monotonic()
        try:
            s.connect_ex((f"host-{number}.silent.test", 80))
        except socket.gaierror:
            pass
        print(time.monotonic() - start)
