#include "dtls.h"

#include <stdio.h>
#include <string.h>

#include "bytes.h"

enum {
    HEADER = 13,         /* of a record */
    MESSAGE_HEADER = 12, /* of a handshake message's fragment */
    RECORDS = 16,        /* of one datagram */
    HANDSHAKE = 22,
    CLIENT_HELLO = 1,
    SERVER_HELLO = 2,
    BODY_LEAST = 35,     /* version, random and the session identifier's length */
    SESSION_MAX = 32,
};

/* What came in order of the first handshake message: its body stands in a hello's `joined`, with room for TLS's head. */
struct message {
    uint8_t kind;
    uint32_t length; /* of the whole body */
    size_t size;     /* of what is there */
};

static uint32_t be24(const uint8_t *at) { return (uint32_t)at[0] << 16 | be16(at + 1); }

bool dtls_is_like_hello(const uint8_t *data, size_t size) {
    return size > HEADER && data[0] == HANDSHAKE && data[1] == 0xfe &&
           (data[HEADER] == CLIENT_HELLO || data[HEADER] == SERVER_HELLO);
}

/* In clear: a known type and version, epoch 0. */
static bool is_record(const uint8_t *data, size_t size) {
    return size > HEADER && data[0] >= 20 && data[0] <= 25 && data[1] == 0xfe && (data[2] == 0xff || data[2] == 0xfd) &&
           !data[3] && !data[4] && be16(data + 11) && be16(data + 11) <= TLS_RECORD_MAX;
}

static bool is_version(uint16_t version) { return version == 0xfeff || version == 0xfefd || version == 0xfefc; }

static uint16_t tls_version(uint16_t version) { return version == 0xfeff ? 0x0302 : version == 0xfefd ? 0x0303 : 0x0304; }

void dtls_version_name(uint16_t version, char name[DTLS_NAME_SIZE]) {
    if (is_version(version))
        snprintf(name, DTLS_NAME_SIZE, "1.%d", version == 0xfeff ? 0 : version == 0xfefd ? 2 : 3);
    else
        snprintf(name, DTLS_NAME_SIZE, "%04x", version);
}

/* The first message, joined of its fragments; false where there is none of a hello's length. */
static bool join(const uint8_t *data, size_t size, uint8_t *body, struct message *message) {
    bool begun = false;
    for (int record = 0; record < RECORDS && is_record(data, size); record++) {
        uint32_t length = be16(data + 11), there = length < size - HEADER ? length : (uint32_t)(size - HEADER);
        const uint8_t *payload = data + HEADER;
        if (data[0] != HANDSHAKE || there < MESSAGE_HEADER) break;
        uint32_t whole = be24(payload + 1), offset = be24(payload + 6), fragment = be24(payload + 9);
        if (!begun) {
            *message = (struct message){payload[0], whole, 0};
            begun = true;
            if (whole < 3 || whole > TLS_HELLO_MAX) return false;
        }
        if (payload[0] != message->kind || whole != message->length || offset != message->size || fragment > whole - offset)
            break;
        uint32_t taken = fragment < there - MESSAGE_HEADER ? fragment : there - MESSAGE_HEADER;
        memcpy(body + message->size, payload + MESSAGE_HEADER, taken);
        message->size += taken;
        if (message->size == whole || there < length) break;
        data += HEADER + length;
        size -= HEADER + length;
    }
    return begun;
}

/* Take a ClientHello's cookie out, so that it is as TLS has it. */
static bool drop_cookie(uint8_t *body, struct message *message) {
    size_t at = BODY_LEAST + (size_t)body[BODY_LEAST - 1];
    if (body[BODY_LEAST - 1] > SESSION_MAX || at >= message->size) return false;
    size_t taken = 1u + body[at];
    if (taken > message->size - at || taken > message->length) return false;
    memmove(body + at, body + at + taken, message->size - at - taken);
    message->size -= taken;
    message->length -= (uint32_t)taken;
    return true;
}

enum tls_first dtls_read_hello(const uint8_t *data, size_t size, struct tls_hello *hello) {
    uint8_t *head = hello->joined, *body = head + 4;
    struct message message = {0};
    if (!dtls_is_like_hello(data, size) || !join(data, size, body, &message) || message.size < BODY_LEAST)
        return TLS_MALFORMED;
    uint16_t version = be16(body);
    if (!is_version(version) || (message.kind == CLIENT_HELLO && !drop_cookie(body, &message))) return TLS_MALFORMED;
    head[0] = message.kind;
    head[1] = 0;
    head[2] = (uint8_t)(message.length >> 8);
    head[3] = (uint8_t)message.length;
    uint16_t legacy = tls_version(version) < 0x0303 ? tls_version(version) : 0x0303; /* the highest that TLS's codec takes */
    body[0] = (uint8_t)(legacy >> 8);
    body[1] = (uint8_t)legacy;
    enum tls_first found = tls_read_datagram_message(head, 4 + message.size, version, hello);
    if (found == TLS_SERVER_HELLO && hello->version == tls_version(version)) hello->version = version;
    return found;
}
