#!/usr/bin/env bash
# ctest: timeout 120
# docs/tls.md: its commands make what they say, its samples compile, and with what the commands made
# a program lets in, and turns away, whom it should.
set -euo pipefail
source "${WEIR_SOURCE:?}/test/support/cli.bash"

[ -x "$WEIR_BUILD/test/make_pki" ] || { echo "skipped: a build without TLS"; exit 77; }
command -v openssl >/dev/null || { echo "skipped: there is no openssl"; exit 77; }
unset SSL_CERT_FILE SSL_CERT_DIR
document=$WEIR_SOURCE/docs/tls.md
blocks() {
    awk -v begin='```'"$1" '$0 == begin { on = 1; next } $0 == "```" { on = 0 } on' "$document"
}

cd "$dir"
blocks sh >commands.sh
[ "$(grep -c '^openssl ' commands.sh)" -ge 8 ] || fail "the commands are not found in the document"
bash -euo pipefail commands.sh >log 2>&1 || fail "$(tail -5 log)"

{
    printf '#include <%s>\n' pthread.h stdio.h string.h weir.h
    blocks c
} >samples.c
[ "$(grep -c '^static ' samples.c)" -ge 6 ] || fail "the samples are not found in the document"
cc -std=gnu17 -Wall -Wextra -Werror -Wno-unused-function -I"$WEIR_SOURCE/include" -fsyntax-only \
    samples.c

# As the document says to try them.
"$weir" echo --cert server.pem --key server.key --client-ca ca.pem --verbose tls://127.0.0.1:0 \
    >address 2>said &
server=$!
jobs_started+=("$server")
until [ -s address ]; do kill -0 "$server" || fail "$(cat said)"; done
address=tls://localhost:$(sed 's/.*://' address)
client=(--cert client.pem --key client.key)
expect 0 "$weir" connect --ca ca.pem "${client[@]}" --verbose "$address" <<<"hi"
[ "$out" = hi ] || fail "with the documented certificates: $out"
says "$err" "certificate CN=server, issued by CN=Test CA"
says "$(cat said)" "certificate CN=friend, issued by CN=Test CA"
expect 0 env SSL_CERT_FILE=ca.pem "$weir" connect "${client[@]}" "$address" \
    </dev/null
expect 1 "$weir" connect "${client[@]}" "$address" </dev/null
says "$err" "certificate not accepted"
expect 1 "$weir" connect --ca ca.pem "${client[@]}" --name c.example "$address" </dev/null
says "$err" "is for localhost, 127.0.0.1, ::1, not for c.example"

# What the machine's OpenSSL is told in its own file does not change what is spoken.
printf '%s\n' 'openssl_conf = all' '[all]' 'ssl_conf = ssl' '[ssl]' 'system_default = bad' '[bad]' \
    'MaxProtocol = TLSv1.2' 'MinProtocol = TLSv1' 'CipherString = NULL:@SECLEVEL=0' \
    'VerifyMode = Request' >bad.cnf
export OPENSSL_CONF=$dir/bad.cnf
expect 0 "$weir" connect -v --ca ca.pem "${client[@]}" "$address" </dev/null
says "$err" "TLS 1.3"
unset OPENSSL_CONF

# The staple is taken for good, and the list turns the certificate away.
cat >program.c <<'END'
#include <stdio.h>
#include <string.h>
#include <weir.h>

static int answer(void *listener)
{
    weir_socket *s;
    int rc;

    while ((rc = weir_accept(listener, &s)) == 0) {
        weir_handshake(s);
        weir_close(s);
    }
    return rc;
}

static weir_tls_config *trusting(void)
{
    weir_tls_config *c = NULL;

    if (weir_tls_config_open(&c) < 0 || weir_tls_config_trust_file(c, "ca.pem") < 0)
        return NULL;
    return c;
}

/* How a client with `c` fares. */
static int try(weir_tls_config *c, const char *target)
{
    weir_socket *s;
    int rc = weir_dial(&s, target, WEIR_DIAL_OPTIONS(.tls = c));

    if (rc == 0)
        weir_close(s);
    weir_tls_config_close(c);
    return rc;
}

int main(void)
{
    weir_tls_config *plain = trusting(), *stapled = trusting(), *listed = trusting();
    weir_tls_config *server = NULL;
    weir_socket *listener;
    weir_address address;
    weir_group *g;
    char target[64], detail[1000];

    if (weir_tls_config_open(&server) < 0 ||
        weir_tls_config_certificate_files(server, "server.pem", "server.key") < 0 ||
        weir_tls_config_staple_file(server, "staple.der") < 0 ||
        weir_tls_config_require_staple(stapled) < 0 ||
        weir_tls_config_revoked_file(listed, "crl.pem") < 0 ||
        weir_listen_on(&listener, "tls://127.0.0.1:0", WEIR_LISTEN_OPTIONS(.tls = server)) < 0 ||
        weir_group_open(&g, NULL) < 0 || weir_go(g, answer, weir_ref(listener)) < 0) {
        weir_error_detail(NULL, detail, sizeof(detail));
        fprintf(stderr, "%s\n", detail);
        return 1;
    }
    weir_local_address(listener, &address);
    snprintf(target, sizeof(target), "tls://127.0.0.1:%u", weir_address_port(&address));
    if (try(plain, target) != 0 || try(stapled, target) != 0) {
        weir_error_detail(NULL, detail, sizeof(detail));
        fprintf(stderr, "turned away: %s\n", detail);
        return 1;
    }
    if (try(listed, target) != WEIR_ECERT) {
        fprintf(stderr, "a revoked certificate was accepted\n");
        return 1;
    }
    weir_error_detail(NULL, detail, sizeof(detail));
    puts(detail);
    return 0;
}
END
cc -std=gnu17 -Wall -Wextra -Werror -I"$WEIR_SOURCE/include" program.c -o program -L"$WEIR_BUILD" \
    -lweir -Wl,-rpath,"$WEIR_BUILD"
expect 0 ./program
says "$out" "revoked"
