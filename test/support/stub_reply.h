/* What the name server of stub_dns.h says: its rules and messages. */
#ifndef STUB_REPLY_H
#define STUB_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STUB_NAME_MAX     255
#define STUB_QUESTION_MAX 512
#define STUB_UDP_MAX      512
#define STUB_TCP_MAX      65535

enum stub_mode {
    STUB_ANSWER,
    STUB_NXDOMAIN,
    STUB_NODATA,
    STUB_SERVFAIL,
    STUB_REFUSED,
    STUB_NOTIMP,
    STUB_SILENT,
    STUB_HOLD,
    STUB_WRONG_ID,
    STUB_WRONG_QUESTION,
    STUB_WRONG_SOURCE,
    STUB_ECHO,
    STUB_EMPTY,
    STUB_SHORT,
    STUB_COUNTS,
    STUB_CNAME_LOOP,
    STUB_POINTER_LOOP,
    STUB_TC,
    STUB_TC_HANG,
    STUB_TC_CLOSE,
};

struct stub_record {
    struct stub_record *next;
    int type;
    unsigned char address[16];
};

struct stub_rule {
    struct stub_rule *next;
    enum stub_mode modes[2]; /* for A, for AAAA */
    struct stub_record *records;
    unsigned many, ttl_s, soa_s;
    bool has_soa;
    bool released;
    char alias_of[STUB_NAME_MAX + 1]; /* "" if it is none */
    char name[STUB_NAME_MAX + 1];
};

struct stub_question {
    size_t len; /* header and question, nothing behind */
    int type;
    char name[STUB_NAME_MAX + 1]; /* lower case */
    unsigned char bytes[STUB_QUESTION_MAX];
};

/* Reads the text of stub_dns_add into a rule of zeros. */
bool stub_rule_parse(struct stub_rule *rule, const char *text);
void stub_rule_free(struct stub_rule *rule); /* NULL is allowed */

/* How a question of this type is answered; no rule: there is no such name. */
enum stub_mode stub_rule_mode(const struct stub_rule *rule, int type);

bool stub_question_read(struct stub_question *q, const unsigned char *buf, size_t len);

/* Writes the reply, at most `room` bytes, and returns its length. */
size_t stub_reply_write(const struct stub_question *q, const struct stub_rule *rule,
                        enum stub_mode mode, size_t room, unsigned char *reply);

#endif
