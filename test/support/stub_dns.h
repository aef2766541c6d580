/* A name server for tests: UDP and TCP on a free port of 127.0.0.1, in a thread of its own, as
 * good or as nasty as its rules say.
 *
 *     struct stub_dns *dns = stub_dns_open();
 *     stub_dns_add(dns, "www.test", "A:127.0.0.1,AAAA:::1");
 *     stub_dns_add(dns, "slow.test", "A:127.0.0.1,hold/aaaa");
 *     weir_set_nameservers(stub_dns_servers(dns));
 *     …
 *     weir_set_nameservers(NULL);
 *     stub_dns_close(dns);
 *
 * Any thread may call anything but stub_dns_close. A rule that is none, and a machine without
 * memory or sockets, abort the test. */
#ifndef STUB_DNS_H
#define STUB_DNS_H

#include <stdint.h>

struct stub_dns;

/* The types of a question. */
#define STUB_DNS_A    1
#define STUB_DNS_AAAA 28

struct stub_dns *stub_dns_open(void);
void stub_dns_close(struct stub_dns *d); /* NULL is allowed */

uint16_t stub_dns_port(const struct stub_dns *d);

/* "127.0.0.1:PORT", for weir_set_nameservers and WEIR_NAMESERVERS; lives as long as `d`. */
const char *stub_dns_servers(const struct stub_dns *d);

/* Sets what is answered for `name` (any case); "*.bench.test" is for every name below, "*" for
 * every name at all; the most exact rule counts, a later one for the same name replaces the
 * earlier. Names without a rule do not exist (NXDOMAIN). What does not fit into 512 bytes is
 * truncated over UDP and complete over TCP.
 *
 * A rule is items, separated by commas; the empty rule is a name without addresses:
 *
 *     A:192.0.2.1    AAAA:2001:db8::1    records, any number, in this order
 *     ttl:60         their time to live in seconds, 300 if not said
 *     many:1000      so many made-up addresses: 10.0.0.0 and on, fd00:: and on
 *     cname:other    the name is an alias of this one, which has the records
 *     soa:5          negative answers say that they hold for so many seconds
 *
 *     nxdomain  nodata  servfail  refused  notimp
 *     silent         no answer at all
 *     hold           no answer until stub_dns_release
 *     wrong-id  wrong-question  wrong-source    a good answer but for that; nothing else follows
 *     echo           the question itself
 *     empty          a datagram without bytes
 *     short          half a header
 *     counts         a header that promises 65,535 records, and none there
 *     cname-loop     two aliases that point at each other
 *     pointer-loop   a name in the answer that points at itself
 *     tc             truncated over UDP, complete over TCP
 *     tc-hang        truncated over UDP; TCP accepts and says nothing
 *     tc-close       truncated over UDP; TCP accepts, reads the question and closes
 *
 * The last group may have "/a" or "/aaaa" at the end: only for questions of that type; the other
 * type is answered from the records. */
void stub_dns_add(struct stub_dns *d, const char *name, const char *rule);

/* Answers the questions that are held for `name`, and from now on all others without holding them.
 */
void stub_dns_release(struct stub_dns *d, const char *name);

/* How many questions of `type` (0: of any) have come for exactly this `name` (NULL: for any). */
unsigned stub_dns_count(struct stub_dns *d, const char *name, int type);

/* Waits until that number is at least `count`: so a test knows that a question is on its way,
 * without sleeping. */
void stub_dns_wait(struct stub_dns *d, const char *name, int type, unsigned count);

/* Makes the server deaf: its sockets are closed, so that the port refuses everything. */
void stub_dns_deafen(struct stub_dns *d);

#endif
