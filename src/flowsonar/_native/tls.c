#include "tls.h"

#include <string.h>

#include "bytes.h"

enum {
    CHANGE_CIPHER_SPEC = 0x14,
    APPLICATION_DATA = 0x17,
    SERVER_NAME = 0x0000,
    SIGNATURE_ALGORITHMS = 0x000d,
    USE_SRTP = 0x000e,
    ALPN = 0x0010,
    SUPPORTED_VERSIONS = 0x002b,
    ENCRYPTED_CLIENT_HELLO = 0xfe0d,
};

/* RFC 8446 section 4.1.3: the random of a HelloRetryRequest. */
static const uint8_t HELLO_RETRY[32] = {
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
};

/* -- records ------------------------------------------------------------------------------------------------------ */

bool tls_is_record(const uint8_t *data, size_t size) {
    return size >= 5 && data[0] >= CHANGE_CIPHER_SPEC && data[0] <= APPLICATION_DATA && data[1] == 3 && data[2] <= 4 &&
           be16(data + 3) > 0 && be16(data + 3) <= TLS_RECORD_MAX;
}

bool tls_is_record_chain(const uint8_t *data, size_t size) {
    size_t at = 0;
    while (size - at >= 5) {
        if (!tls_is_record(data + at, size - at) || data[at + 2] != data[2]) return false;
        size_t length = 5u + be16(data + at + 3);
        if (length == size - at) return true;
        if (length > size - at) return at > 0; /* a whole record stood before the one that is cut */
        at += length;
    }
    return at > 0;
}

/* RFC 5246 appendix E.2. */
bool tls_is_sslv2_hello(const uint8_t *data, size_t size) {
    if (size < 11 || !(data[0] & 0x80) || data[2] != 1 || data[3] != 3 || data[4] > 3) return false;
    uint32_t length = be16(data) & 0x7fff, ciphers = be16(data + 5), session = be16(data + 7);
    uint32_t challenge = be16(data + 9);
    return size >= 2 + length && length == 9 + ciphers + session + challenge && ciphers % 3 == 0 && ciphers > 0 &&
           (session == 0 || session == 16) && challenge >= 16 && challenge <= 32;
}

/* -- extensions --------------------------------------------------------------------------------------------------- */

/* A hello's body while it is read. */
struct body {
    const uint8_t *data;
    size_t size;
    bool complete; /* false: it is cut */
    uint16_t types[TLS_HELLO_MAX / 4];
    size_t type_count;
    const uint8_t *algorithms;
    size_t algorithms_size;
    int32_t highest;  /* of the versions offered without GREASE, -1 for none */
    uint16_t legacy, datagram; /* of DTLS: the hello's own version, and the newest that it offers; 0: TLS */
    uint16_t first;   /* of all listed; a server lists its choice alone */
    bool listed;
};

/* Printable in Latin-1, and no space. */
static bool is_visible(uint8_t c) { return (c > 0x20 && c < 0x7f) || (c > 0xa0 && c != 0xad); }

/* RFC 6066 section 3; a server's list is empty. */
static void read_name(const uint8_t *data, size_t size, struct tls_hello *hello) {
    hello->name_size = 0;
    if (size < 5 || data[2]) return;
    uint16_t length = be16(data + 3);
    if (length > size - 5 || length > 255) return;
    for (uint16_t i = 0; i < length; i++)
        if (!is_visible(data[5 + i])) return;
    hello->name = data + 5;
    hello->name_size = length;
}

static void read_alpn(const uint8_t *data, size_t size, struct tls_hello *hello) {
    hello->alpn_count = 0;
    hello->alpn_more = false;
    for (size_t at = 2; at < size;) {
        uint8_t length = data[at++];
        if (!length || length > size - at) return;
        if (hello->alpn_count == TLS_ALPN_MAX) {
            hello->alpn_more = true;
            return;
        }
        hello->alpn[hello->alpn_count++] = (struct tls_span){data + at, length};
        at += length;
    }
}

/* A client's list has a length byte before it; a server's choice is two bytes. */
static void read_versions(const uint8_t *data, size_t size, struct body *body) {
    size_t count = 1;
    uint16_t newest = UINT16_MAX;
    body->highest = -1;
    body->listed = false;
    body->datagram = body->legacy;
    if (size != 2) {
        if (!size) return;
        count = (size - 1 < data[0] ? size - 1 : data[0]) / 2;
        data++;
    }
    for (size_t i = 0; i < count; i++) {
        uint16_t version = be16(data + 2 * i);
        if (!i) body->first = version;
        if ((version & 0x0f0f) != 0x0a0a && version > body->highest) body->highest = version;
        if (version == 0xfeff || version == 0xfefd || version == 0xfefc) newest = version < newest ? version : newest;
        body->listed = true;
    }
    if (body->legacy && newest < UINT16_MAX) body->datagram = newest;
}

/* What is cut is left out unless the hello claims to be complete: then it is malformed. */
static bool read_extensions(struct body *body, size_t at, struct tls_hello *hello) {
    const uint8_t *data = body->data;
    size_t size = body->size;
    if (size - at < 2) return !body->complete;
    if (body->complete && be16(data + at) != size - at - 2) return false;
    at += 2;
    while (size - at >= 4) {
        uint16_t type = be16(data + at), length = be16(data + at + 2);
        at += 4;
        body->types[body->type_count++] = type;
        if (type == ENCRYPTED_CLIENT_HELLO) hello->ech = true;
        if (type == USE_SRTP) hello->use_srtp = true;
        if (length > size - at) return !body->complete;
        const uint8_t *value = data + at;
        switch (type) {
        case SERVER_NAME: read_name(value, length, hello); break;
        case ALPN: read_alpn(value, length, hello); break;
        case SUPPORTED_VERSIONS: read_versions(value, length, body); break;
        case SIGNATURE_ALGORITHMS:
            body->algorithms = length > 2 ? value + 2 : NULL;
            body->algorithms_size = length > 2 ? length - 2u : 0;
            break;
        default: break;
        }
        at += length;
    }
    return at == size || !body->complete;
}

/* -- hellos ------------------------------------------------------------------------------------------------------- */

static void fingerprint(const struct body *body, const uint8_t *ciphers, size_t size, char transport,
                        struct tls_hello *hello) {
    struct ja4_offer offer = {
        .ciphers = ciphers,
        .ciphers_size = size,
        .algorithms = body->algorithms,
        .algorithms_size = body->algorithms_size,
        .extensions = body->types,
        .extensions_count = body->type_count,
        .alpn = hello->alpn_count ? hello->alpn[0].data : NULL,
        .alpn_size = hello->alpn_count ? hello->alpn[0].size : 0,
        .version = hello->version,
        .transport = transport,
    };
    ja4_text(&offer, hello->ja4);
}

/* RFC 8446 section 4.1.2: version, random, session identifier, ciphers, compression methods, extensions. */
static bool read_client_hello(struct body *body, char transport, struct tls_hello *hello) {
    const uint8_t *data = body->data;
    size_t size = body->size, at;
    if (size < 35 || data[0] != 3 || data[1] > 4 || data[34] > 32) return false;
    hello->version = body->legacy ? body->legacy : be16(data);
    hello->complete = body->complete;
    at = 35u + data[34];
    if (size < at + 2) return false;
    size_t listed = be16(data + at), ciphers = at + 2;
    if (!listed || listed % 2) return false;
    if (listed >= size - ciphers) return !body->complete;
    at = ciphers + listed;
    if (!data[at]) return false;
    at += 1u + data[at];
    if (at < size) {
        if (!read_extensions(body, at, hello)) return false;
    } else if (at > size && body->complete) {
        return false;
    }
    if (body->highest >= 0) hello->version = (uint16_t)body->highest;
    if (body->datagram) hello->version = body->datagram;
    if (body->complete) fingerprint(body, data + ciphers, listed, transport, hello);
    return true;
}

/* RFC 8446 section 4.1.3; at least 38 bytes. */
static bool read_server_hello(struct body *body, struct tls_hello *hello) {
    const uint8_t *data = body->data;
    if (data[0] != 3 || data[1] > 4 || data[34] > 32) return false;
    hello->version = be16(data);
    hello->complete = true;
    hello->retry = memcmp(data + 2, HELLO_RETRY, sizeof HELLO_RETRY) == 0;
    size_t at = 35u + data[34];
    if (body->size < at + 3) return false;
    hello->cipher = be16(data + at);
    at += 3;
    if (at < body->size && !read_extensions(body, at, hello)) return false;
    if (body->listed) hello->version = body->first;
    return true;
}

static void clear(struct tls_hello *hello) {
    memset(hello, 0, offsetof(struct tls_hello, alpn));
    hello->ja4[0] = 0;
}

static enum tls_first read_message(const uint8_t *data, size_t size, bool final, char transport, uint16_t legacy,
                                   struct tls_hello *hello) {
    if (size < 4) return final ? TLS_MALFORMED : TLS_MORE;
    uint32_t length = be32(data) & 0xffffff;
    if (length > TLS_HELLO_MAX || length < 38 || data[0] < 1 || data[0] > 2) return TLS_MALFORMED;
    struct body body;
    body.data = data + 4;
    body.complete = size - 4 >= length;
    body.size = body.complete ? length : size - 4;
    if (!body.complete && !final) return TLS_MORE;
    body.type_count = body.algorithms_size = 0;
    body.algorithms = NULL;
    body.highest = -1;
    body.listed = false;
    body.legacy = body.datagram = legacy;
    clear(hello);
    if (data[0] == 1) return read_client_hello(&body, transport, hello) ? TLS_CLIENT_HELLO : TLS_MALFORMED;
    return body.complete && read_server_hello(&body, hello) ? TLS_SERVER_HELLO : TLS_MALFORMED;
}

enum tls_first tls_read_message(const uint8_t *data, size_t size, bool final, char transport, struct tls_hello *hello) {
    return read_message(data, size, final, transport, 0, hello);
}

enum tls_first tls_read_datagram_message(const uint8_t *data, size_t size, uint16_t legacy, struct tls_hello *hello) {
    return read_message(data, size, true, 'd', legacy, hello);
}

/* -- first flight ------------------------------------------------------------------------------------------------- */

static enum tls_first read_alert(const uint8_t *data, size_t size, bool final, struct tls_hello *hello) {
    if (be16(data + 3) != 2) return TLS_MALFORMED;
    if (size < 7) return final ? TLS_MALFORMED : TLS_MORE;
    if (data[5] < 1 || data[5] > 2) return TLS_MALFORMED;
    clear(hello);
    hello->alert_level = data[5];
    hello->alert = data[6];
    return TLS_ALERT;
}

/* Join what the handshake records carry, as much as a hello can have. `*ended`: another record type follows. */
static size_t join(const uint8_t *data, size_t size, uint8_t *joined, bool *ended) {
    size_t at = 0, used = 0;
    *ended = false;
    while (size - at >= 5) {
        size_t length = be16(data + at + 3);
        if (data[at] != TLS_HANDSHAKE_RECORD || data[at + 1] != 3 || !length || length > TLS_RECORD_MAX) {
            *ended = true;
            break;
        }
        at += 5;
        size_t there = length < size - at ? length : size - at;
        size_t room = 4 + TLS_HELLO_MAX - used;
        memcpy(joined + used, data + at, there < room ? there : room);
        used += there < room ? there : room;
        at += there;
    }
    return used;
}

enum tls_first tls_read_first_flight(const uint8_t *data, size_t size, bool final, struct tls_hello *hello) {
    if (size >= 2 && (data[0] < TLS_ALERT_RECORD || data[0] > TLS_HANDSHAKE_RECORD || data[1] != 3))
        return TLS_MALFORMED;
    if (size < 5) return final ? TLS_MALFORMED : TLS_MORE;
    if (!tls_is_record(data, size)) return TLS_MALFORMED;
    if (data[0] == TLS_ALERT_RECORD) return read_alert(data, size, final, hello);
    size_t length = be16(data + 3), first = length < size - 5 ? length : size - 5;
    /* Most often the first record holds all that is there, or a whole hello. */
    if (first == size - 5 || (first >= 4 && first - 4 >= (be32(data + 5) & 0xffffff)))
        return tls_read_message(data + 5, first, final, 't', hello);
    bool ended;
    size_t joined = join(data, size, hello->joined, &ended);
    enum tls_first found = tls_read_message(hello->joined, joined, final, 't', hello);
    return found == TLS_MORE && ended ? TLS_MALFORMED : found;
}
