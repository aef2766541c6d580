/* What the measuring programs share. They are programs of their own: failure ends them, with 1. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_LENGTH(array) (sizeof(array) / sizeof(array)[0])

/* Nanoseconds: of CLOCK_MONOTONIC, and of CPU time of the calling thread. */
uint64_t bench_now_ns(void);
uint64_t bench_thread_ns(void);

/* Ends the program, telling what failed and why: a negative errno, or a code of weir's. */
_Noreturn void bench_fail(const char *what, long rc);

/* Returns `rc`, or ends the program if it is negative. For raw calls, with -1 and errno:
 * bench_errno. */
long bench_check(const char *what, long rc);
long bench_errno(const char *what, long rc);

/* A decimal argument, at least `least`; anything else ends the program. */
long bench_number(const char *text, long least);

/* Allows as many descriptors as the system gives. */
void bench_many_descriptors(void);

/* The calling thread stays on one CPU: the first, the second one it may run on. Without a second
 * one everybody is on the first. */
void bench_pin(int which);

/* A listener on a free port of 127.0.0.1, and a connection to it; both block, TCP_NODELAY is on and
 * is inherited by what the listener accepts. */
int bench_listen(uint16_t *ret_port);
int bench_connect(uint16_t port);

/* What a server begins with: as many descriptors as there are, and a listener, which does not block
 * if `nonblocking`. It tells the world where it is: `PORT PID`, on the standard output. */
int bench_serve(bool nonblocking);
void bench_announce(uint16_t port);

/* A child on the second CPU, which runs `fn` and ends; it dies with its parent. */
pid_t bench_child(void (*fn)(int fd), int fd);

/* A child that echoes on the connection `fd`, with plain blocking calls, until it ends. */
pid_t bench_echo_child(int fd);

/* A name server in a process of its own, on the second CPU: answers every question for A with
 * 127.0.0.1, or 192.0.2.1 if the name begins with "f", and every other one with "no such data".
 * Returns its port. */
uint16_t bench_name_server(void);

/* A name server that never says a word. Returns its port. */
uint16_t bench_silent_server(void);

/* The place of a server of 127.0.0.1, as weir_set_nameservers wants it. */
const char *bench_server_text(uint16_t port, char buf[static 32]);

/* Sorts, and gives the value below which the share `q` (0..1) of them lies. */
uint64_t bench_quantile(uint64_t *values, size_t count, double q);

#endif
