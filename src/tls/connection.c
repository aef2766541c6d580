/* One connection: OpenSSL's object and what it has written but the kernel has not taken.
 *
 * Nothing here waits and nothing needs the socket's lock: layer.c sees to that. Everything but the
 * making of `struct tls` is done under its lock. */
#include "connection.h"

#include "../context.h"
#include "../socket.h"
#include "../story.h"
#include "../sys.h"

#include <string.h>

/* How much one send encrypts at most, and what comes on top of that: header, nonce, content type
 * and tag of each record are less than 64 bytes. */
#define BURST       (4 * TLS_RECORD)
#define BURST_EXTRA ((size_t)5 * 64)

/* What is asked for at a time from a peer who sends much: so many records as well. From others it
 * is one, so that many who are in the middle of one do not take much memory. */
#define BULK_READ (BURST + BURST_EXTRA)

/* So much OpenSSL reads in one call, each look counted as some bytes more: a peer whose messages
 * never end, with no bytes for us in them, must not keep the thread. */
#define LOOKED_MAX (2 * TLS_RECORD)
#define LOOK_COST  1024

/* With so much in the outbox OpenSSL has to wait: a peer that asks for answers and never takes
 * them. */
#define OUTBOX_FULL ((size_t)128 * 1024)

static int descriptor(const struct tls *t)
{
    return atomic_load_explicit(&t->socket->fd, memory_order_relaxed);
}

/* OpenSSL looks into the queue of errors when a call fails, and would take what somebody else has
 * left there for its own. Clearing it takes long also when it is empty. */
static void forget_errors(void)
{
    if (ERR_peek_error())
        ERR_clear_error();
}

/* ---- the outbox ----------------------------------------------------------------------------- */

static size_t outbox_count(const struct outbox *o)
{
    return o->end - o->start;
}

static void outbox_clear(struct outbox *o)
{
    free(o->bytes);
    *o = (struct outbox){.bytes = NULL};
}

/* Makes room for `len` more: 0 or -ENOMEM. */
static int outbox_reserve(struct outbox *o, size_t len)
{
    size_t count = outbox_count(o);

    if (o->end + len <= o->room)
        return 0;
    unsigned char *larger = sys_alloc_unset(count + len);
    if (!larger)
        return -ENOMEM;
    if (count)
        memcpy(larger, o->bytes + o->start, count);
    free(o->bytes);
    *o = (struct outbox){.bytes = larger, .end = count, .room = count + len};
    return 0;
}

/* 0 or -ENOMEM. */
static int outbox_append(struct outbox *o, const void *bytes, size_t len)
{
    bool fits = o->end + len <= o->room;

    if (!fits && outbox_reserve(o, outbox_count(o) + 2 * len) < 0)
        return -ENOMEM;
    memcpy(o->bytes + o->end, bytes, len);
    o->end += len;
    return 0;
}

static ssize_t put(const struct tls *t, const void *bytes, size_t len)
{
    ssize_t n;

    do
        n = sys_send(descriptor(t), bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n == -EINTR);
    return n;
}

int connection_flush(struct tls *t)
{
    struct outbox *o = &t->out;

    while (outbox_count(o)) {
        ssize_t n = put(t, o->bytes + o->start, outbox_count(o));
        if (n == -EAGAIN)
            return -EAGAIN;
        if (n < 0) {
            t->write_error = (int)n;
            break;
        }
        o->start += (size_t)n;
    }
    outbox_clear(o);
    t->clogged = false;
    return t->write_error;
}

/* ---- what OpenSSL reads and writes with ------------------------------------------------------ */

static int bio_read(BIO *bio, char *buf, int len)
{
    struct tls *t = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    t->tired = t->done && t->looked >= LOOKED_MAX; /* OpenSSL bounds handshakes */
    if (t->tired) {
        BIO_set_retry_read(bio);
        return -1;
    }
    do
        n = sys_recv(descriptor(t), buf, sys_amount(SYS_RECV, (size_t)len), MSG_DONTWAIT);
    while (n == -EINTR);
    if (n == -EAGAIN)
        BIO_set_retry_read(bio);
    else if (n < 0)
        t->io_error = (int)n;
    t->ended = n == 0;
    if (n > 0) {
        t->looked += (size_t)n + LOOK_COST;
        t->filled = n == len;
        t->starved = false;
    }
    return n < 0 ? -1 : (int)n;
}

/* What cannot be written any more is swallowed: there may still be something to read, and there it
 * may say why. */
static int bio_write(BIO *bio, const char *bytes, int len)
{
    struct tls *t = BIO_get_data(bio);
    size_t done = 0;

    BIO_clear_retry_flags(bio);
    if (t->write_error)
        return len;
    if (outbox_count(&t->out) >= OUTBOX_FULL) {
        t->clogged = true;
        BIO_set_retry_write(bio);
        return -1;
    }
    if (!t->gathering && outbox_count(&t->out) == 0) {
        ssize_t n = put(t, bytes, (size_t)len);
        if (n < 0 && n != -EAGAIN)
            t->write_error = (int)n;
        done = n == -EAGAIN ? 0 : n < 0 ? (size_t)len : (size_t)n;
    }
    if (done < (size_t)len && outbox_append(&t->out, bytes + done, (size_t)len - done) < 0)
        t->write_error = -ENOMEM;
    return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    struct tls *t = BIO_get_data(bio);

    (void)number, (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return t->ended;
    default:
        return 0;
    }
}

BIO_METHOD *connection_bio_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 0x77, "weir");

    if (method && BIO_meth_set_read(method, bio_read) && BIO_meth_set_write(method, bio_write) &&
        BIO_meth_set_ctrl(method, bio_ctrl))
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* ---- the handshake -------------------------------------------------------------------------- */

/* Sessions are resumed with the same peer only: the name it is verified by, and its port. */
static int make_session_key(struct tls *t)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof storage;
    weir_address peer = {.family = AF_UNSPEC};

    if (sys_getpeername(descriptor(t), (struct sockaddr *)&storage, &length) == 0)
        (void)weir_address_from_sockaddr(&peer, (struct sockaddr *)&storage, length);
    free(t->session_key);
    t->session_key = NULL;
    story_append(&t->session_key, "%s %u", t->name ? t->name : "", weir_address_port(&peer));
    return t->session_key ? 0 : -ENOMEM;
}

static int prepare(struct tls *t)
{
    BIO *bio = BIO_new(t->config->bio);

    if (!bio)
        return -ENOMEM;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    if (!SSL_set_app_data(t->ssl, t))
        return -ENOMEM;
    if (t->server)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
    int rc = verify_prepare(t);
    if (rc < 0 || t->server)
        return rc;
    rc = make_session_key(t);
    if (rc == 0)
        rc = staple_prepare(t);
    return rc < 0 ? rc : sessions_offer(t);
}

static int begin(struct tls *t)
{
    t->ssl = SSL_new(t->config->ctx);
    int rc = t->ssl ? prepare(t) : -ENOMEM;

    if (rc < 0) {
        SSL_free(t->ssl);
        t->ssl = NULL;
    }
    return rc;
}

/* Why OpenSSL cannot go on. The kernel tells a reset once, maybe to a write. */
static int reason(struct tls *t)
{
    int code = ERR_GET_REASON(ERR_peek_error());
    bool ended = t->ended && (code == 0 || code == SSL_R_UNEXPECTED_EOF_WHILE_READING);

    if (t->io_error)
        return t->io_error;
    if (ended && t->write_error && t->write_error != -EPIPE)
        return t->write_error;
    if (t->bad_peer)
        return WEIR_ECERT;
    if (ended && t->done)
        return WEIR_ETRUNCATED;
    if (ended)
        story_append(&t->story, "the peer ended the connection in the middle of the handshake");
    else if (t->done && code == SSL_R_WRONG_VERSION_NUMBER)
        story_append(&t->story, "what the peer sends is no TLS any more");
    else
        tell_reasons(&t->story);
    return WEIR_ETLS;
}

/* What it means that a call to OpenSSL returned `rc`, which is no success: -EAGAIN, 0 for the
 * peer's end, or the error. */
static int outcome(struct tls *t, int rc)
{
    switch (SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        t->starved = !t->tired; /* until OpenSSL reads, which the next call begins with */
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        t->error = reason(t);
        forget_errors();
        return t->error;
    }
}

/* Lets OpenSSL read and answer messages of the protocol. */
static int take_messages(struct tls *t)
{
    t->looked = 0;
    forget_errors();
    return SSL_do_handshake(t->ssl);
}

int connection_handshake(struct tls *t)
{
    if (t->done || t->error)
        return t->done ? 0 : t->error;
    int rc = t->ssl ? 0 : begin(t);
    if (rc < 0)
        return rc;
    rc = take_messages(t);
    if (rc == 1) {
        t->done = true;
        choose_done(t);
        return 0;
    }
    rc = outcome(t, rc);
    if (rc == 0) {
        story_append(&t->story, "the peer gave the handshake up");
        rc = t->error = WEIR_ETLS;
    }
    /* What the peer had to say to that has been read: nobody will say anything any more. */
    if (rc == -EAGAIN && t->write_error)
        rc = t->error = t->write_error;
    return rc;
}

/* After the handshake there are messages as well. One that has come in part only holds up all that
 * OpenSSL does, and so does an answer that there was no room for. */
static bool is_held_up(const struct tls *t)
{
    return t->done && !t->error && SSL_in_init(t->ssl) && !SSL_want_nothing(t->ssl);
}

int connection_go_on(struct tls *t)
{
    int rc = connection_handshake(t);

    (void)connection_flush(t);
    if (is_held_up(t) && (rc = take_messages(t)) != 1)
        (void)outcome(t, rc);
    int flushed = connection_flush(t);
    return t->done ? flushed : rc < 0 ? rc : flushed;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

/* How many records a call takes in at most. */
#define RECORDS_MAX 32

/* What has come behind the first record. How that ends is for the next call to tell: then OpenSSL
 * says so again. */
static size_t receive_more(struct tls *t, char *buf, size_t len)
{
    size_t done = 0, n;

    for (int i = 1; i < RECORDS_MAX && done < len && SSL_has_pending(t->ssl); i++) {
        int rc = SSL_read_ex(t->ssl, buf + done, len - done, &n);
        if (rc != 1) {
            (void)outcome(t, rc);
            break;
        }
        done += n;
    }
    return done;
}

ssize_t connection_receive(struct tls *t, void *buf, size_t len, bool peek)
{
    int rc = connection_handshake(t);
    size_t n;

    (void)connection_flush(t);
    if (rc < 0 || t->deaf)
        return rc;
    forget_errors();
    t->looked = 0;
    t->filled = false;
    rc = peek ? SSL_peek_ex(t->ssl, buf, len, &n) : SSL_read_ex(t->ssl, buf, len, &n);
    if (rc == 1) {
        n += peek ? 0 : receive_more(t, (char *)buf + n, len - n);
        SSL_set_default_read_buffer_len(t->ssl, t->filled ? BULK_READ : 0);
        return (ssize_t)n;
    }
    if (t->error)
        return t->error;
    return outcome(t, rc);
}

/* Encrypts a part: how much, -EAGAIN, or the error. */
static ssize_t encrypt_part(struct tls *t, const char *bytes, size_t len)
{
    size_t n;

    t->looked = 0;
    forget_errors();
    int rc = SSL_write_ex(t->ssl, bytes, len < TLS_RECORD ? len : TLS_RECORD, &n);
    if (rc == 1)
        return (ssize_t)n;
    rc = outcome(t, rc);
    return rc < 0 ? rc : -EPIPE;
}

/* True if bytes can go: 0, -EAGAIN, or why not. */
static int may_send(struct tls *t)
{
    int rc = connection_handshake(t), flushed = connection_flush(t);

    if (rc == 0)
        rc = t->error ? t->error : flushed;
    return rc == 0 && t->said_end ? -EPIPE : rc;
}

/* Who refuses and closes may have said why. */
static int why_not_written(struct tls *t)
{
    char byte;

    (void)connection_receive(t, &byte, 1, true);
    return t->error == WEIR_ETLS ? t->error : t->write_error;
}

ssize_t connection_send(struct tls *t, const void *bytes, size_t len)
{
    size_t done = 0;
    ssize_t n = may_send(t);

    if (len > BURST)
        len = BURST;
    t->gathering = n >= 0 && len > TLS_RECORD && outbox_reserve(&t->out, len + BURST_EXTRA) == 0;
    while (n >= 0 && done < len) {
        n = encrypt_part(t, (const char *)bytes + done, len - done);
        if (n > 0)
            done += (size_t)n;
    }
    t->gathering = false;
    if (done)
        (void)connection_flush(t);
    if (t->write_error)
        return why_not_written(t);
    return done ? (ssize_t)done : n;
}

/* OpenSSL does not begin while a message is held up, and does not come to an end while it cannot
 * write. Asked again after that it would read instead, and spoil what is there for the program. */
int connection_say_end(struct tls *t)
{
    if (t->done && !t->error && !t->said_end) {
        (void)connection_go_on(t);
        forget_errors();
        (void)SSL_shutdown(t->ssl);
        forget_errors();
        t->said_end = !is_held_up(t) && !t->clogged;
    } else {
        t->said_end = true;
    }
    int rc = connection_flush(t);
    if (rc == -EAGAIN || !t->said_end)
        return -EAGAIN;
    /* Without memory OpenSSL may not get so far, and then says nothing. */
    return t->done && !t->error && !(SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN) ? WEIR_ETLS : 0;
}

/* Decrypted bytes, or what could be more than a part of a record, or the peer's end. */
static bool holds_input(const struct tls *t)
{
    return t->error || t->deaf ||
           (t->done && (t->tired || (!t->starved && !t->clogged && SSL_has_pending(t->ssl)) ||
                        SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN));
}

struct outlook connection_outlook(const struct tls *t)
{
    bool begun = t->ssl != NULL;

    return (struct outlook){
        .over = t->error != 0,
        .shaking = (!t->done && !t->error) || is_held_up(t),
        .input = holds_input(t),
        .output = outbox_count(&t->out) > 0,
        .reads = t->done || t->server || begun ? !t->clogged : false,
        .writes = (!t->done && !t->server && !begun) || (is_held_up(t) && SSL_want_write(t->ssl)),
    };
}

/* ---- beginning and end ----------------------------------------------------------------------- */

struct tls *connection_new(weir_socket *s, weir_tls_config *c)
{
    struct tls *t = sys_alloc(sizeof *t);

    if (!t)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    t->socket = s;
    t->config = weir_tls_config_ref(c);
    t->fork_count = context_fork_count();
    return t;
}

void connection_reset(struct tls *t)
{
    choose_done(t);
    SSL_free(t->ssl);
    t->ssl = NULL;
    outbox_clear(&t->out);
    free(t->story);
    t->story = NULL;
    t->shows_other = t->bad_peer = t->done = t->starved = t->clogged = t->ended = t->deaf =
        t->said_end = false;
    t->error = t->io_error = t->write_error = 0;
}

void connection_end(struct tls *t)
{
    connection_reset(t);
    weir_tls_config_close(t->config);
    t->config = NULL;
    t->error = WEIR_ECLOSED;
}

void connection_free(struct tls *t)
{
    connection_end(t);
    free(t->name);
    free(t->session_key);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
