/* Texts that are wrong, targets, results: what the edge of the library says to nonsense. */
#include "support/rig.h"

#include <stdio.h>

SCENARIO_FOR(targets_that_are_wrong, OWN)
{
    static const char *const targets[] = {
        "",
        ":",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:0x50",
        "tcp://127.0.0.1:80/path",
        "tcp://127.0.0.1:80 ",
        "tcp://[::1:80",
        "tcp://::1:80",
        "tcp://[::1]80",
        "tcp://a..b:80",
        "tcp://.a:80",
        "tcp://-:80\n",
        "tcp://gr\xc3\xbc\xc3\x9f.example:80",
        "tcp://\xff\xfe:80",
        "tcp://256.256.256.256.256:99999",
        "unix:",
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        weir_socket *untouched = (weir_socket *)rig;
        int rc = weir_dial(&untouched, targets[i], NULL);
        if (rc != -EINVAL)
            printf("# the target \"%s\"\n", targets[i]);
        EXPECT(rc, -EINVAL);
        char story[200] = "";
        CHECK(weir_error_detail(NULL, story, sizeof story) > 0);
        rc = weir_listen_on(&untouched, targets[i], NULL);
        if (rc != -EINVAL)
            printf("# listening on \"%s\"\n", targets[i]);
        EXPECT(rc, -EINVAL);
        CHECK(untouched == (weir_socket *)rig);
    }
}

SCENARIO_FOR(targets_of_unknown_kinds, OWN)
{
    weir_socket *untouched = (weir_socket *)rig;
    EXPECT(weir_dial(&untouched, "gopher://127.0.0.1:70", NULL), -EPROTONOSUPPORT);
    EXPECT(weir_listen_on(&untouched, "gopher://127.0.0.1:70", NULL), -EPROTONOSUPPORT);
    EXPECT(weir_dial(NULL, "tcp://127.0.0.1:70", NULL), -EINVAL);
    EXPECT(weir_dial(&untouched, NULL, NULL), -EINVAL);
    EXPECT(weir_listen_on(NULL, "tcp://127.0.0.1:70", NULL), -EINVAL);
    EXPECT(weir_listen_on(&untouched, NULL, NULL), -EINVAL);
    char path[140] = "unix:/";
    memset(path + 6, 'x', 120);
    EXPECT(weir_dial(&untouched, path, NULL), -ENAMETOOLONG);
    CHECK(untouched == (weir_socket *)rig);
}

SCENARIO_FOR(hosts_that_are_no_names, TCP)
{
    static const char *const hosts[] = {
        "",    ".",        "a..b",      ".a",       "a b",
        "a/b", "a:80",     "[::1]",     "a\n",      "\xc3\xbc.example",
        "*",   "exa mple", "under\x01", "host\x7f", "a,b"};
    weir_socket *s = rig_open(rig);
    char label[80], name[300];
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        int rc = weir_connect(s, hosts[i], 80);
        if (rc != -EINVAL)
            printf("# the host \"%s\"\n", hosts[i]);
        EXPECT(rc, -EINVAL);
    }
    memset(label, 'a', 64);
    label[64] = '\0';
    EXPECT(weir_connect(s, label, 80), -EINVAL);
    for (size_t i = 0; i < 254; i++)
        name[i] = i % 10 ? 'a' : i ? '.' : 'a';
    name[254] = '\0';
    EXPECT(weir_connect(s, name, 80), -ENAMETOOLONG);
    EXPECT(weir_connect(s, NULL, 80), -EINVAL);
    EXPECT(weir_connect(NULL, "localhost", 80), -EINVAL);
    EXPECT(weir_connect_address(s, NULL), -EINVAL);
    EXPECT(weir_connect_address(s, &(weir_address){0}), -EINVAL);
    EXPECT(weir_connect_address(NULL, &(weir_address){0}), -EINVAL);
    EXPECT(weir_bind_address(s, NULL), -EINVAL);
    EXPECT(weir_bind_address(s, &(weir_address){0}), -EINVAL);
    EXPECT(weir_bind(NULL, NULL, 0), -EINVAL);
    EXPECT(weir_listen(NULL, 0), -EINVAL);
    weir_address place = rig_place(rig);
    EXPECT(weir_bind_address(s, &place), 0); /* unharmed */
}

#define TARGET_MAX (WEIR_ADDRESS_TEXT_MAX + 8)

static const char *target_of(const struct rig *rig, const weir_address *a, char buf[TARGET_MAX])
{
    char text[WEIR_ADDRESS_TEXT_MAX];
    weir_address_format(a, text, sizeof text);
    snprintf(buf, TARGET_MAX, "%s%s", rig->transport->scheme, text);
    return buf;
}

struct admission {
    weir_socket *listener, *accepted;
};

static void admit(struct rig *rig, void *arg)
{
    struct admission *a = arg;
    rig_admit(rig, a->listener, &a->accepted);
}

SCENARIO_FOR(dial_and_listen_on, LISTENER | STREAM)
{
    char target[TARGET_MAX], byte;
    weir_address place = rig_place(rig);
    struct admission a;
    weir_socket *s;
    bool nonblocking = rig->mode->kind == MODE_NONBLOCKING;
    EXPECT(weir_listen_on(&a.listener, target_of(rig, &place, target),
                          WEIR_LISTEN_OPTIONS(.nonblocking = nonblocking, .tls = rig->tls)),
           0);
    rig_set_mode(rig, rig_keep(rig, a.listener));
    EXPECT(weir_get_blocking(a.listener), !nonblocking);
    place = rig_where(a.listener);
    struct rig_thread *t = rig_go(rig, admit, &a);
    int rc = weir_dial(
        &s, target_of(rig, &place, target),
        WEIR_DIAL_OPTIONS(.nonblocking = nonblocking, .tls = rig->tls, .tls_name = rig->tls_name));
    CHECK(rc == 0 || (nonblocking && rc == -EINPROGRESS));
    rig_set_mode(rig, rig_keep(rig, s));
    EXPECT(weir_get_blocking(s), !nonblocking);
    EXPECT(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    EXPECT(weir_connect_status(s), 0);
    rig_take_greeting(rig, s);
    rig_join(t);
    EXPECT(rig_send(rig, s, "x", 1), 1);
    EXPECT(rig_recv(rig, a.accepted, &byte, 1), 1);
}

SCENARIO_FOR(dial_that_fails_tells_why, LISTENER | STREAM)
{
    char text[WEIR_ADDRESS_TEXT_MAX], target[TARGET_MAX];
    weir_address nobody = rig_nobody(rig);
    weir_socket *s = (weir_socket *)rig;
    weir_address_format(&nobody, text, sizeof text);
    EXPECT(weir_dial(&s, target_of(rig, &nobody, target), NULL), -ECONNREFUSED);
    CHECK(s == (weir_socket *)rig);
    EXPECT_STORY(NULL, "refused");
    EXPECT_STORY(NULL, text);
}

SCENARIO_FOR(dial_has_a_timeout, LISTENER | STREAM)
{
    char text[TARGET_MAX];
    weir_address full;
    weir_socket *s = (weir_socket *)rig;
    rig_full_listener(rig, &full);
    target_of(rig, &full, text);
    EXPECT(weir_dial(&s, text, WEIR_DIAL_OPTIONS(.timeout_ms = RIG_MOMENT_MS)), WEIR_EDEADLINE);
    CHECK(s == (weir_socket *)rig);
    {
        WEIR_WITHIN_MS(RIG_MOMENT_MS);
        EXPECT(weir_dial(&s, text, NULL), WEIR_EDEADLINE);
    }
    EXPECT(weir_dial(&s, text, WEIR_DIAL_OPTIONS(.nonblocking = true, .timeout_ms = RIG_MOMENT_MS)),
           -EINPROGRESS);
    rig_keep(rig, s);
    EXPECT(weir_set_timeout(s, -1), 0);
    EXPECT(weir_wait(s, WEIR_WRITABLE), WEIR_WRITABLE);
    EXPECT(weir_connect_status(s), WEIR_EDEADLINE);
}

SCENARIO_FOR(dial_from_an_address, TCP)
{
    bool v4 = rig->transport->family == AF_INET;
    char text[TARGET_MAX];
    const char *local = v4 ? "127.0.0.4:0" : "[::1]:0";
    struct admission a = {.listener = rig_listener(rig)};
    weir_address where = rig_where(a.listener), from, peer;
    weir_socket *s;
    target_of(rig, &where, text);
    struct rig_thread *t = rig_go(rig, admit, &a);
    EXPECT(weir_dial(&s, text,
                     WEIR_DIAL_OPTIONS(.local = local, .tls = rig->tls, .tls_name = rig->tls_name)),
           0);
    rig_keep(rig, s);
    rig_join(t);
    EXPECT(weir_peer_address(a.accepted, &peer), 0);
    EXPECT(weir_address_parse(local, &from), 0);
    EXPECT(weir_address_set_port(&from, weir_address_port(&peer)), 0);
    CHECK(weir_address_equal(&from, &peer));
    weir_socket *untouched = (weir_socket *)rig;
    EXPECT(weir_dial(&untouched, text, WEIR_DIAL_OPTIONS(.local = "nonsense:")), -EINVAL);
    CHECK(untouched == (weir_socket *)rig);
}

SCENARIO_FOR(dial_of_datagrams, DATAGRAMS | INTERNET)
{
    char text[WEIR_ADDRESS_TEXT_MAX], target[WEIR_ADDRESS_TEXT_MAX + 8];
    weir_address place = rig_place(rig);
    weir_socket *server, *s;
    weir_datagram_info info;
    weir_address_format(&place, text, sizeof text);
    snprintf(target, sizeof target, "udp://%s", text);
    EXPECT(weir_listen_on(&server, target, NULL), 0);
    rig_set_mode(rig, rig_keep(rig, server));
    place = rig_where(server);
    weir_address_format(&place, text, sizeof text);
    snprintf(target, sizeof target, "udp://%s", text);
    EXPECT(weir_dial(&s, target, NULL), 0);
    rig_set_mode(rig, rig_keep(rig, s));
    EXPECT(rig_send(rig, s, "hello", 5), 5);
    EXPECT(RIG_DONE(rig, server, WEIR_READABLE, weir_recv_from(server, text, 9, &info)), 5);
    EXPECT(RIG_DONE(rig, server, WEIR_WRITABLE, weir_send_to(server, "back", 4, &info.from)), 4);
    EXPECT(rig_recv(rig, s, text, 9), 4);
}

/* "*" serves both families through one socket, where the machine has both. */
SCENARIO_FOR(listen_on_every_address, TCP)
{
    weir_socket *listener, *s = rig_open(rig), *accepted;
    const char *loopback = rig->transport->family == AF_INET ? "127.0.0.1" : "::1";
    char target[16];
    snprintf(target, sizeof target, "%s*:0", rig->transport->scheme);
    EXPECT(weir_listen_on(&listener, target, WEIR_LISTEN_OPTIONS(.tls = rig->tls)), 0);
    rig_set_mode(rig, rig_keep(rig, listener));
    rig_meet_by_name(rig, s, loopback, listener, &accepted);
}

SCENARIO_FOR(errors_have_names, OWN)
{
    static const struct {
        int rc;
        const char *name;
    } known[] = {{-ECONNREFUSED, "ECONNREFUSED"},
                 {-EAGAIN, "EAGAIN"},
                 {WEIR_EDEADLINE, "WEIR_EDEADLINE"},
                 {WEIR_ECLOSED, "WEIR_ECLOSED"},
                 {WEIR_EEND, "WEIR_EEND"},
                 {WEIR_ENONAME, "WEIR_ENONAME"},
                 {WEIR_ENAMEAGAIN, "WEIR_ENAMEAGAIN"},
                 {WEIR_ENAMESERVER, "WEIR_ENAMESERVER"},
                 {WEIR_ETLS, "WEIR_ETLS"},
                 {WEIR_ECERT, "WEIR_ECERT"},
                 {WEIR_ETRUNCATED, "WEIR_ETRUNCATED"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        CHECK(weir_error_name(known[i].rc) && !strcmp(weir_error_name(known[i].rc), known[i].name));
        CHECK(strcmp(weir_strerror(known[i].rc), "unknown error") != 0);
        CHECK(weir_strerror(known[i].rc) == weir_strerror(known[i].rc));
    }
    CHECK(!strcmp(weir_strerror(0), "success") && !strcmp(weir_strerror(12), "success"));
    CHECK(!strcmp(weir_strerror(-4999), "unknown error") && !weir_error_name(-4999));
    CHECK(!strcmp(weir_strerror(INT32_MIN), "unknown error") && !weir_error_name(INT32_MIN));
    for (int rc = -6000; rc < 10; rc++)
        EXPECT(weir_in_progress(rc), rc == -EAGAIN || rc == -EINPROGRESS || rc == -EALREADY);
}

SCENARIO_FOR(story_fits_its_buffer, OWN)
{
    weir_address a;
    char story[256], small[8];
    EXPECT(weir_address_parse("127.0.0.1:99999", &a), -EINVAL);
    int length = weir_error_detail(NULL, story, sizeof story);
    CHECK(length > 8 && strlen(story) == (size_t)length);
    EXPECT(weir_error_detail(NULL, small, sizeof small), length);
    CHECK(!strncmp(small, story, 7) && !small[7]);
    EXPECT(weir_error_detail(NULL, NULL, 0), length);
    EXPECT(weir_error_detail(NULL, NULL, 8), -EINVAL);
    EXPECT_STORY(NULL, "99999");
}
