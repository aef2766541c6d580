/* What the subcommands of `weir` share. */
#ifndef CLI_H
#define CLI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir.h>

enum { EXIT_FAILED = 1, EXIT_WRONG_USE = 2 };

/* Room for "tcp://" and any address. */
#define TARGET_TEXT_MAX (WEIR_ADDRESS_TEXT_MAX + 8)

int command_echo(int argc, char **argv);
int command_connect(int argc, char **argv);
int command_listen(int argc, char **argv);
int command_resolve(int argc, char **argv);
int command_proxy(int argc, char **argv);
int command_compare(int argc, char **argv);

/* ---- messages.c ------------------------------------------------------------------------------ */

/* Says on stderr what went wrong in the use of a subcommand and where help is; returns
 * EXIT_WRONG_USE. */
__attribute__((format(printf, 2, 3))) int wrong_use(const char *command, const char *format, ...);

/* Says on stderr what failed: the text of `rc`, the story behind it (of `s`, or of the thread if
 * NULL), and what to do about it if that is known; returns EXIT_FAILED. */
__attribute__((format(printf, 3, 4))) int failed(const weir_socket *s, int rc, const char *format,
                                                 ...);

/* A line on stderr, in one piece. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* ---- options.c ------------------------------------------------------------------------------- */

struct option;

/* One step through the options: the option's character, or -1 after the last. --help is done
 * here, and so is a wrong option: then `*ret_status` is how the command ends, and 0 is returned. */
int next_option(int argc, char **argv, const char *letters, const struct option *list,
                const char *help, int *ret_status);

bool parse_count(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* Seconds, fractions allowed, to milliseconds. */
bool parse_seconds(const char *text, int64_t *ret_ms);

/* ---- target.c -------------------------------------------------------------------------------- */

bool target_is_datagram(const char *target);
bool target_is_tls(const char *target);

/* Where `s` ended up listening, in the form of `target`: with the scheme and the port that was
 * chosen. */
int target_of_listener(weir_socket *s, const char *target, char *buf, size_t size);

/* The other end of `s`, in words. */
const char *peer_text(weir_socket *s, char buf[static WEIR_ADDRESS_TEXT_MAX]);

/* As failed(), for a call that took the target, whose form may be what is wrong. */
int target_failed(const char *verb, const char *target, int rc);

/* Removes the file of a Unix socket that this process has bound. */
void target_unlink(const char *target);

/* ---- tls.c ----------------------------------------------------------------------------------- */

/* What the command line says about TLS; NULL: nothing. */
struct tls_options {
    const char *trust; /* --ca, or --client-ca of a server */
    const char *name, *certificate, *key, *alpn;
    bool insecure;
};

/* In the commands' lists of options, clear of letters. */
enum {
    TLS_OPTION_TRUST = 256,
    TLS_OPTION_NAME,
    TLS_OPTION_CERT,
    TLS_OPTION_KEY,
    TLS_OPTION_ALPN,
    TLS_OPTION_INSECURE,
};

/* Notes one of them; false if it is another. */
bool tls_take_option(struct tls_options *t, int option, const char *value);

/* The configuration for `target`; NULL if that needs none. Returns EXIT_SUCCESS, or how the command
 * ends. */
int tls_configure(const char *command, const char *target, const struct tls_options *t, bool server,
                  weir_tls_config **ret);

/* Says what the handshake with `whom` came to: version, cipher, certificate. */
void tls_say(weir_socket *s, const char *whom);

/* As a server: shakes hands with who has come, which may take a while and not for ever. `verbose`:
 * says what it came to, or why not. Returns as weir_handshake. */
int tls_welcome(weir_socket *s, bool verbose);

/* Says why a server has had none; returns EXIT_FAILED. */
int tls_failed(weir_socket *s, int rc, const char *whom);

/* ---- run.c ----------------------------------------------------------------------------------- */

/* Calls `command(arg)` as a task, of whatever the environment chooses; returns what that returned,
 * an exit status. */
int run_command(int (*command)(void *arg), void *arg, bool many_loops);

/* What the caller runs on, in words. */
void run_describe(char *buf, size_t size);

/* SIGINT and SIGTERM are kept for whoever waits for them. Call it before there is any thread. */
int block_stop_signals(void);

/* From now on they end the process. */
void unblock_stop_signals(void);

/* Until one of them comes: its number, or as weir_signal_wait. */
int wait_for_stop_signal(void);

/* True for failures that pass when others have given back what they have. */
bool out_of_descriptors(int rc);

/* Raises the limit of descriptors as far as it goes and returns it. */
uint64_t raise_descriptor_limit(void);

uint64_t now_ns(void);

/* ---- server.c -------------------------------------------------------------------------------- */

struct server {
    weir_socket *listener;
    /* Instead of accepting: goes on until it is cancelled. May be NULL. */
    int (*work)(struct server *server);
    /* In a task for each connection, whose socket is closed afterwards; < 0: it has failed. */
    int (*handler)(weir_socket *s, struct server *server);
    unsigned max_connections;       /* at a time; the others wait to be accepted. 0: any number */
    int64_t drain_ms;               /* how long those may go on that are there when it is stopped */
    bool stats;                     /* tells about itself at the end, and at each SIGUSR1 */
    const char *there_is, *back_is; /* what to call these bytes; NULL: in, out */
    _Atomic uint64_t there, back;   /* kept by the handler */
    _Atomic uint64_t accepted, ended, failed;
    weir_group *serving;
    atomic_bool said; /* that it has run out of descriptors */
};

/* To be called before there is any thread. */
int server_block_signals(bool stats);

/* In a task: serves the listener until SIGINT or SIGTERM. Returns 0 then, or why it cannot go
 * on. */
int serve_until_signal(struct server *all);

void server_count(_Atomic uint64_t *counter, uint64_t n);

/* ---- echo_server.c --------------------------------------------------------------------------- */

struct echo_options {
    bool datagrams, tls;
    bool verbose; /* says of each connection with TLS what it came to, or why not */
    bool stats;
};

/* In a task: sends back what comes, to everybody, until SIGINT or SIGTERM. `s` is a listener or a
 * bound datagram socket. Returns 0 then, or why it cannot go on. */
int echo_until_signal(weir_socket *s, const struct echo_options *options);

/* ---- relay.c --------------------------------------------------------------------------------- */

struct relay_options {
    const char *peer; /* what to call it in messages */
    bool datagrams;
    int64_t timeout_ms; /* < 0: none */
};

/* In a task: standard input to `s`, `s` to standard output, until both have ended. Returns an exit
 * status. */
int relay(weir_socket *s, const struct relay_options *options);

#endif
