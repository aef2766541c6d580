/* OpenSSL's reasons in words. */
#include "../story.h"
#include "private.h"

#include <stdio.h>
#include <string.h>

struct words {
    int reason;
    const char *words;
};

/* Of libssl, where its own words are of little use to whoever does not know its source. */
static const struct words ssl_words[] = {
    {SSL_R_HTTP_REQUEST, "the peer speaks HTTP, not TLS"},
    {SSL_R_HTTPS_PROXY_REQUEST, "the peer speaks HTTP, not TLS"},
    {SSL_R_WRONG_VERSION_NUMBER, "the peer does not speak TLS"},
    {SSL_R_RECORD_LENGTH_MISMATCH, "the peer does not speak TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, "the peer offers no version of TLS that is allowed here"},
    {SSL_R_VERSION_TOO_LOW, "the peer offers no version of TLS that is allowed here"},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, "no version of TLS is left"},
    {SSL_R_NO_SHARED_CIPHER, "there is no cipher that the client and this certificate share"},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM,
     "there is no certificate with a signature that the peer accepts"},
    {SSL_R_NO_SUITABLE_KEY_SHARE, "there is no group for a key exchange that both sides have"},
    {SSL_R_NO_SUITABLE_GROUPS, "there is no group for a key exchange that both sides have"},
    {SSL_R_NO_APPLICATION_PROTOCOL,
     "the client offers no application protocol that is spoken here"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the client has shown no certificate"},
    {SSL_R_CERTIFICATE_VERIFY_FAILED, "the certificate of the peer is not good"},
    {SSL_R_EE_KEY_TOO_SMALL, "the key is too weak"},
    {SSL_R_CA_KEY_TOO_SMALL, "the key of a certificate of the chain is too weak"},
    {SSL_R_CA_MD_TOO_WEAK, "a certificate is signed with a hash that is too weak"},
    {SSL_R_PRIVATE_KEY_MISMATCH, "the key belongs to another certificate"},
    {SSL_R_UNKNOWN_CERTIFICATE_TYPE, "a key of this kind cannot be used"},
    {SSL_R_DH_KEY_TOO_SMALL, "the key exchange of the peer is too weak"},
    {SSL_R_NO_RENEGOTIATION, "the peer wants to renegotiate, which is not done"},
    {SSL_R_UNEXPECTED_MESSAGE,
     "the peer sends what is not due now, as one without TLS does that sends back what it is sent"},
    {SSL_R_EXCESSIVE_MESSAGE_SIZE, "the peer sends a message that is too long"},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "what the peer sends has been damaged"},
    {SSL_R_BAD_SIGNATURE, "the peer does not have the key of its certificate"},
    {SSL_R_NO_CIPHER_MATCH, "no cipher is known by these names"},
};

static const char *find_words(int reason)
{
    for (size_t i = 0; i < sizeof ssl_words / sizeof *ssl_words; i++)
        if (ssl_words[i].reason == reason)
            return ssl_words[i].words;
    return NULL;
}

/* What the peer says when it gives up, as its own reason. */
static bool tell_alert(char **story, int reason)
{
    int alert = reason - SSL_AD_REASON_OFFSET;
    const char *words = SSL_alert_desc_string_long(alert);

    if (alert < 0 || alert > 255)
        return false;
    /* Two that OpenSSL 3.0 has no words for. */
    if (alert == SSL_AD_CERTIFICATE_REQUIRED)
        words = "certificate required";
    else if (alert == SSL_AD_MISSING_EXTENSION)
        words = "missing extension";
    story_append(story, "the peer refuses: %s (alert %d)", words, alert);
    return true;
}

static void tell_one(char **story, unsigned long code, const char *data)
{
    int reason = ERR_GET_REASON(code);
    const char *own = ERR_reason_error_string(code);
    struct story_quote q;

    if (ERR_GET_LIB(code) == ERR_LIB_SSL && !ERR_SYSTEM_ERROR(code)) {
        const char *words = find_words(reason);

        if (tell_alert(story, reason))
            return;
        own = words ? words : own;
    }
    if (!own)
        story_append(story, "OpenSSL fails with code %lx", code);
    else if (data && *data)
        story_append(story, "%s (%s)", own, story_quote(&q, data, strlen(data)));
    else
        story_append(story, "%s", own);
}

void tell_reasons(char **story)
{
    const char *data;
    unsigned long code, last = 0;
    int flags;

    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        if (code != last)
            tell_one(story, code, flags & ERR_TXT_STRING ? data : NULL);
        last = code;
    }
}

/* Where OpenSSL finds no memory it sometimes finds none for the reason either. */
static bool no_memory(void)
{
    unsigned long first = ERR_peek_error(), last = ERR_peek_last_error();

    return !first || ERR_GET_REASON(first) == ERR_R_MALLOC_FAILURE ||
           ERR_GET_REASON(last) == ERR_R_MALLOC_FAILURE;
}

int tell_failure(const char *what)
{
    char *reasons = NULL;

    if (no_memory()) {
        ERR_clear_error();
        return story_tell(-ENOMEM, "%s: out of memory", what);
    }
    tell_reasons(&reasons);
    story_write("%s: %s", what, reasons ? reasons : "for a reason that there is no memory for");
    free(reasons);
    return -EINVAL;
}

/* RFC 2253 as OpenSSL writes it has no byte that is not ASCII; what comes from a certificate is
 * looked at all the same. */
void tell_name(const X509_NAME *name, char *buf, size_t size)
{
    BIO *out;
    char *text = NULL;
    long len = 0;

    ERR_set_mark();
    out = BIO_new(BIO_s_mem());
    if (out && X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253) >= 0)
        len = BIO_get_mem_data(out, &text);
    size_t all = text && len > 0 ? (size_t)len : 0, kept = all < size ? all : size - 1;
    for (size_t i = 0; text && i < kept; i++)
        buf[i] = (char)(text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?');
    if (kept < all && kept > 3)
        memcpy(buf + kept - 3, "...", 3);
    buf[kept] = '\0';
    BIO_free(out);
    ERR_pop_to_mark();
}
