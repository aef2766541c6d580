/* What tests of configurations by cmocka share: one for each test, one authority for a program. */
#ifndef TLS_FIXTURE_H
#define TLS_FIXTURE_H

#include "support/tls_meeting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Of the test that runs. */
extern weir_tls_config *config;
int tls_fixture_open(void **state);
int tls_fixture_close(void **state);
#define CONFIG_TEST(name) cmocka_unit_test_setup_teardown(name, tls_fixture_open, tls_fixture_close)

/* Adds a certificate to it, both PEM. */
int add_memory(const char *chain, const char *key);

/* The calling context's story has these words. */
void check_story(const char *words);

/* "/CN=Root", for a program. */
extern pki_cert *root;
int tls_fixture_make_root(void **state);

/* The end of a program: pki_end. */
int tls_fixture_end(void **state);

/* A client that trusts `root`. */
weir_tls_config *client_of_root(void);

#endif
