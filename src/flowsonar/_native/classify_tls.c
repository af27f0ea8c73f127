/* TLS and DTLS in the fast lane: what passive/tls.py makes of a segment and passive/dtls.py of a datagram, as a key. */
#include <stdio.h>
#include <string.h>

#include "classify.h"
#include "dtls.h"
#include "lane_state.h"
#include "table_state.h"

enum { LAST_SEGMENT = 2, GATHERED_MAX = 8192, TEXT_MAX = 1500 }; /* passive/tls.py */

bool classify_starts_tls(const uint8_t *data, size_t size) {
    return size > 1 && data[1] == 3 && data[0] >= 0x14 && data[0] <= 0x17;
}

/* What TlsFlow gathers of a direction; SIZE_MAX where its segments are not one after the other: Python puts them so. */
static size_t gather(struct lanes *l, const struct lane *lane, const struct seen *seen) {
    size_t size = 0;
    uint64_t base = seen->offset;
    for (uint32_t piece = lane->first; piece != STORE_NONE;) {
        const struct stored *stored = store_at(l->store, piece);
        piece = stored->next;
        if (stored->direction != seen->direction) continue;
        if (!size) base = stored->offset;
        if (stored->offset - base != size || stored->size > sizeof l->gathered - size) return SIZE_MAX;
        memcpy(l->gathered + size, stored->data, stored->size);
        size += stored->size;
    }
    if (seen->offset - base != size || seen->size > sizeof l->gathered - size) return SIZE_MAX;
    memcpy(l->gathered + size, seen->data, seen->size);
    return size + seen->size;
}

static const char *version_name(uint16_t version) {
    switch (version) {
    case 0x0002: return "SSL 2";
    case 0x0300: return "SSL 3";
    case 0x0301: return "TLS 1.0";
    case 0x0302: return "TLS 1.1";
    case 0x0303: return "TLS 1.2";
    case 0x0304: return "TLS 1.3";
    default: return "unknown version";
    }
}

/* The names in the key, as they came; false where one is too long or no plain text. */
static bool add_alpn(const struct tls_hello *hello, struct classified *what) {
    if (hello->alpn_more) return false;
    for (uint8_t i = 0; i < hello->alpn_count; i++) {
        const struct tls_span *name = &hello->alpn[i];
        for (uint8_t at = 0; at < name->size; at++)
            if (name->data[at] < 0x20 || name->data[at] > 0x7e) return false;
        if (!classify_add(what, &name->size, 1) || !classify_add(what, name->data, name->size)) return false;
    }
    return true;
}

static uint8_t *put(uint8_t *at, const void *text, size_t size) {
    memcpy(at, text, size);
    return at + size;
}

/* The evidence's detail, as `_client` of passive/tls.py or `told` of passive/dtls.py writes it. */
static void put_detail(struct lanes *l, const struct tls_hello *hello, bool datagram, struct classified *what) {
    char number[DTLS_NAME_SIZE];
    const char *version = datagram ? number : version_name(hello->version);
    uint8_t *at = put(l->text, "ClientHello, ", 13);
    if (datagram) {
        dtls_version_name(hello->version, number);
        at = put(at, "DTLS ", 5);
    }
    at = put(at, version, strlen(version));
    if (hello->name_size) at = put(put(at, ", SNI ", 6), hello->name, hello->name_size);
    for (uint8_t i = 0; i < hello->alpn_count; i++) {
        at = i ? put(at, " ", 1) : put(at, ", ALPN ", 7);
        at = put(at, hello->alpn[i].data, hello->alpn[i].size);
    }
    if (datagram && hello->use_srtp) at = put(at, ", use_srtp: keys for media (WebRTC)", 35);
    if (hello->complete)
        at = put(put(at, ", JA4 ", 6), hello->ja4, strlen(hello->ja4));
    else if (!datagram)
        at = put(at, ", its end was not captured", 26);
    what->hello = l->text;
    what->hello_size = (size_t)(at - l->text);
}

static enum classify_result classify_client(struct lanes *l, bool datagram, struct classified *what) {
    const struct tls_hello *hello = &l->hello;
    uint8_t bits[2] = {TLS_CLIENT_HELLO, (uint8_t)((hello->name_size > 0) | (datagram && hello->use_srtp) << 1)};
    if (!classify_add(what, bits, sizeof bits) || !add_alpn(hello, what)) return CLASSIFY_PYTHON;
    size_t names = 0;
    for (uint8_t i = 0; i < hello->alpn_count; i++) names += hello->alpn[i].size + 1u;
    if (names + hello->name_size > TEXT_MAX) return CLASSIFY_PYTHON;
    what->name = hello->name;
    what->name_size = hello->name_size;
    put_detail(l, hello, datagram, what);
    return CLASSIFIED;
}

static bool add_server(const struct tls_hello *hello, struct classified *what) {
    const uint8_t bits[] = {TLS_SERVER_HELLO, (uint8_t)(hello->version >> 8), (uint8_t)hello->version,
                            (uint8_t)(hello->cipher >> 8), (uint8_t)hello->cipher, hello->retry};
    return classify_add(what, bits, sizeof bits) && add_alpn(hello, what);
}

/* A direction's first message is still to be read. */
static enum classify_result classify_first(struct lanes *l, const struct lane *lane, const struct seen *seen,
                                           struct classified *what) {
    struct tls_hello *hello = &l->hello;
    size_t size = gather(l, lane, seen);
    if (size == SIZE_MAX) return CLASSIFY_PYTHON;
    bool final = seen->index >= LAST_SEGMENT || size > GATHERED_MAX;
    enum tls_first first = tls_read_first_flight(l->gathered, size, final, hello);
    uint8_t bits[3] = {(uint8_t)first};
    size_t count = 1;
    switch (first) {
    case TLS_CLIENT_HELLO: return classify_client(l, false, what);
    case TLS_SERVER_HELLO: return add_server(hello, what) ? CLASSIFIED : CLASSIFY_PYTHON;
    case TLS_MORE: break;
    case TLS_MALFORMED:
        bits[count++] = tls_is_record(l->gathered, size) ? l->gathered[2] : UINT8_MAX;
        bits[count++] = tls_is_record_chain(l->gathered, size);
        break;
    case TLS_ALERT: bits[count++] = hello->alert; break;
    }
    return classify_add(what, bits, count) ? CLASSIFIED : CLASSIFY_PYTHON;
}

enum classify_result classify_tls(struct table *t, uint32_t slot, const struct seen *seen, bool read,
                                  struct classified *what) {
    const uint8_t *data = seen->data;
    if (!read) return classify_first(t->lanes, &t->lanes->flows[slot], seen, what);
    bool goes_on = tls_is_record(data, seen->size) && data[0] != TLS_ALERT_RECORD &&
                   !(data[0] == TLS_HANDSHAKE_RECORD && seen->size > 5 && data[5] == 1) &&
                   tls_is_record_chain(data, seen->size);
    uint8_t bits = goes_on;
    return classify_add(what, &bits, 1) ? CLASSIFIED : CLASSIFY_PYTHON;
}

/* Whether the text of a hello is another one than the flow's: evidence of both may stand in its record. */
static bool is_another(const struct lanes *l, const struct lane *lane, const struct classified *what) {
    if (lane->hello == STORE_NONE) return false;
    const struct stored *hello = store_at(l->store, lane->hello);
    return hello->size != what->hello_size || memcmp(hello->data, what->hello, hello->size) != 0;
}

enum classify_result classify_dtls(struct table *t, uint32_t slot, const struct seen *seen, struct classified *what) {
    struct lanes *l = t->lanes;
    enum tls_first found = dtls_read_hello(seen->data, seen->size, &l->hello);
    uint8_t none = TLS_MALFORMED;
    if (found == TLS_SERVER_HELLO) return add_server(&l->hello, what) ? CLASSIFIED : CLASSIFY_PYTHON;
    if (found != TLS_CLIENT_HELLO) return classify_add(what, &none, 1) ? CLASSIFIED : CLASSIFY_PYTHON;
    what->offers_media = l->hello.use_srtp;
    if (classify_client(l, true, what) != CLASSIFIED) return CLASSIFY_PYTHON;
    return is_another(l, &l->flows[slot], what) ? CLASSIFY_PYTHON : CLASSIFIED;
}

bool classify_tls_waits(const struct table *t, uint32_t slot, uint16_t flags) {
    const struct lanes *l = t->lanes;
    if (!(flags & SHAPE_TLS)) return false;
    for (uint32_t piece = l->flows[slot].first; piece != STORE_NONE;) {
        const struct stored *stored = store_at(l->store, piece);
        if (!(flags & (stored->direction ? SHAPE_READ_RESPONDER : SHAPE_READ_INITIATOR))) return true;
        piece = stored->next;
    }
    return false;
}
