#include "classify.h"

#include <string.h>

#include "bytes.h"
#include "dns.h"
#include "dtls.h"
#include "http.h"
#include "lane_state.h"
#include "randomness.h"
#include "table_state.h"

/* Bits of a key's first byte, beside the direction. */
enum {
    KEY_QUIET = 1 << 1,
    KEY_NAME = 1 << 2,  /* an HTTP request that tells a host */
    KEY_DNS = 1 << 3,   /* two bits: see enum dns_kind */
    KEY_TLS = 1 << 6,
    KEY_LATE = 1 << 6,  /* of datagrams: so many came that no media is waited for */
    KEY_SKYPE = 1 << 5, /* has the shape of a Skype datagram, but a pattern holds */
};

enum dns_kind { DNS_NONE, DNS_QUERY, DNS_RESPONSE, DNS_AGREES };

enum {
    FIRST_BYTES = 256,  /* kept of a direction's first payload: limits.EVIDENCE_BYTES */
    ECHO_BYTES = 8,     /* passive/echo.py: fewer equal bytes are a coincidence */
    TRIES = 3,          /* passive/flow.py: payloads per direction that are matched */
    MEDIA_WITHIN = 64,  /* and datagrams until media is no more waited for */
    STUN_BELOW = 4,     /* RFC 7983 section 7, by the first byte */
    CHANNELS = 0x40,
    NOT_CALLS = 0x50,
    ALERT = 21,         /* of DTLS (RFC 6347 sections 4.1 and 4.2.2): first bytes of records, and what is where in them */
    HANDSHAKE = 22,
    ENCIPHERED = 23,
    EPOCH_AT = 3,
    MESSAGE_AT = 13,
    HELLO_LAST = 3,
    LINES_MAX = 160,    /* of a key: longer lines are not learned by heart */
};

/* The first payload of a direction, NULL where none was seen. */
static const struct stored *first_of(const struct lanes *l, const struct lane *lane, int direction) {
    for (uint32_t piece = lane->first; piece != STORE_NONE;) {
        const struct stored *stored = store_at(l->store, piece);
        if (stored->direction == direction) return stored;
        piece = stored->next;
    }
    return NULL;
}

static bool has_port(const struct flow *flow, uint16_t port) {
    return flow->key.low_port == port || flow->key.high_port == port;
}

static bool starts(const uint8_t *data, size_t size, const char *text) {
    size_t length = strlen(text);
    return size >= length && memcmp(data, text, length) == 0;
}

static bool is_echo(const struct seen *seen, const struct stored *other) {
    if (!other) return false;
    size_t size = other->size < FIRST_BYTES ? other->size : FIRST_BYTES;
    return size >= ECHO_BYTES && seen->size >= size && memcmp(seen->data, other->data, size) == 0;
}

bool classify_is_echo(const struct lanes *l, const struct lane *lane, const struct seen *seen) {
    return is_echo(seen, first_of(l, lane, 1 - seen->direction));
}

/* -- rules --------------------------------------------------------------------------------------------------------- */

bool classify_add(struct classified *what, const void *bytes, size_t size) {
    if (size > sizeof what->key - what->key_size) return false;
    memcpy(what->key + what->key_size, bytes, size);
    what->key_size += size;
    return true;
}

static bool add_text(const struct shapes *shapes, struct classified *what, const uint8_t *text, size_t size) {
    uint8_t mark[18] = {UINT8_MAX, UINT8_MAX}; /* no rule has this number */
    shapes_text(shapes, text, size, mark + 2);
    return size <= LINES_MAX && classify_add(what, mark, sizeof mark);
}

/* The rules that hold; where they tell what they capture, the lines it stands in, or all. */
static bool add_rules(const struct lanes *l, const struct flow *flow, const uint8_t *data, size_t size, bool names,
                      struct classified *what, bool *none) {
    struct holding holding;
    struct patterns *patterns = l->patterns[flow->key.protocol == PROTOCOL_UDP];
    const uint16_t ports[2] = {flow->key.low_port, flow->key.high_port};
    if (!patterns_hold(patterns, data, size, ports, names, &holding) || !holding.sure) return false;
    *none = !holding.count;
    if (!classify_add(what, holding.rules, holding.count * sizeof *holding.rules)) return false;
    if (!holding.open) return true;
    if (!holding.in_line) return add_text(l->shapes, what, data, size);
    for (int i = 0; i < 2; i++)
        if (holding.line[i] && !add_text(l->shapes, what, holding.line[i], holding.line_size[i])) return false;
    return true;
}

/* -- TCP ----------------------------------------------------------------------------------------------------------- */

/* SSL 2's framing of a hello, which is also Skype's. */
static bool like_ssl2(const uint8_t *data, size_t size) {
    return size >= 4 && data[0] & 0x80 && data[2] == 1 && data[3] == 3;
}

/* First bytes that a codec reads, not patterns. */
static bool for_codecs(const struct seen *seen, const struct flow *flow, const struct stored *other) {
    const uint8_t *data = seen->data;
    uint32_t size = seen->size;
    if (like_ssl2(data, size)) return true;
    return has_port(flow, 53) || is_echo(seen, other) || (other && starts(other->data, other->size, "PRI * HTTP/2"));
}

/* What Skype's login begins with, in TLS's clothes. */
static bool is_login(const uint8_t *data, size_t size) {
    static const uint8_t answer[] = {0x16, 3, 1, 0, 0x4a, 2, 0, 0, 0x46, 3, 1, 0x40, 0x1b, 0x48, 0x60};
    bool empty = size >= 5 && data[1] == 3 && data[2] == 1 && !data[3] && !data[4];
    return empty || (size >= sizeof answer && memcmp(data, answer, sizeof answer) == 0);
}

static bool has_text(const uint8_t *data, size_t size, const char *text) {
    size_t length = strlen(text);
    for (size_t i = 0; i + length <= size; i++)
        if (data[i] == (uint8_t)text[0] && memcmp(data + i, text, length) == 0) return true;
    return false;
}

/* The host of what is a request; false where only Python can say. */
static bool take_host(const uint8_t *data, size_t size, struct classified *what) {
    if (!http_is_request(data, size)) return true;
    if (has_text(data, size < 256 ? size : 256, "/ui/")) return false; /* Skype's own */
    what->name_size = http_host_of(data, size, &what->name);
    if (what->name_size) what->key[0] |= KEY_NAME;
    return true;
}

/* Whether it may be OpenVPN's data in its framing, which passive/counted.py judges. */
static bool like_openvpn_stream(const uint8_t *data, size_t size) {
    return size >= 27 && data[0] <= 16 && (data[2] & 0xf8) == 0x48 && !data[6];
}

/* Whether it may be requests between peers, by its length: passive/requests.py reads on. */
static bool like_requests(uint32_t length) {
    enum { REQUEST = 17, HAVE = 9, MOST = 8 * REQUEST + HAVE };
    return length <= MOST && length && (length % REQUEST == 0 || length % REQUEST == HAVE);
}

static enum classify_result classify_segment(struct table *t, uint32_t slot, const struct seen *seen,
                                             struct classified *what) {
    static const char bare_404[] = "HTTP/1.0 404 Not Found\r\n\r\n";
    struct lanes *l = t->lanes;
    const struct lane *lane = &l->flows[slot];
    bool midstream = lane->flags & LANE_MIDSTREAM, none;
    const uint8_t *data = seen->data;
    size_t size = seen->size;
    if (seen->offset && !seen->index) return CLASSIFY_PYTHON; /* the beginning is missing: it may come late */
    if (midstream && like_openvpn_stream(data, size)) return CLASSIFY_PYTHON;
    uint16_t flags = shapes_at(l->shapes, lane->node)->flags;
    bool first = !lane->counts[seen->direction], alone = first && !lane->counts[1 - seen->direction];
    if (flags & SHAPE_TLS || (first && classify_starts_tls(data, size))) {
        if (flags & SHAPE_TLS ? first && is_echo(seen, first_of(l, lane, 1 - seen->direction))
                              : !alone || is_login(data, size))
            return CLASSIFY_PYTHON;
        what->key[0] |= KEY_TLS;
        bool read = flags & (seen->direction ? SHAPE_READ_RESPONDER : SHAPE_READ_INITIATOR);
        return classify_tls(t, slot, seen, read, what);
    }
    if (first) {
        if (for_codecs(seen, &t->flows[slot], first_of(l, lane, 1 - seen->direction))) return CLASSIFY_PYTHON;
    } else if (!midstream) { /* a message in pieces */
        const struct stored *begun = first_of(l, lane, seen->direction);
        if (!begun) return CLASSIFY_PYTHON;
        size_t before = begun->size < FIRST_BYTES ? begun->size : FIRST_BYTES;
        memcpy(l->joined, begun->data, before);
        memcpy(l->joined + before, data, size);
        data = l->joined;
        size += before;
    }
    if (starts_followed(&t->settings, data, (uint32_t)size) ||
        (size == sizeof bare_404 - 1 && starts(data, size, bare_404)))
        return CLASSIFY_PYTHON;
    if (!take_host(data, size, what)) return CLASSIFY_PYTHON;
    bool names = seen->direction == 1 || midstream;
    if (!add_rules(l, &t->flows[slot], data, size, names, what, &none)) return CLASSIFY_PYTHON;
    if (none && midstream && !seen->index && like_requests(seen->wire_length)) return CLASSIFY_PYTHON;
    return CLASSIFIED;
}

/* -- UDP ----------------------------------------------------------------------------------------------------------- */

static bool is_unicast_ipv4(const struct key *key) {
    return key_is_ipv4(key) && key->low[0] > 0 && key->low[0] < 224 && key->low[0] != 127 && key->high[0] > 0 &&
           key->high[0] < 224 && key->high[0] != 127;
}

static bool is_others_port(uint16_t port) { return port < 1024 && port != 80 && port != 443; }

/* What passive/skype_udp.py finds worth reading. */
static bool like_skype(const struct flow *flow, const struct seen *seen) {
    const uint8_t *data = seen->data;
    uint32_t size = seen->size;
    if (size < 11 || !is_unicast_ipv4(&flow->key)) return false;
    if (is_others_port(flow->key.low_port) || is_others_port(flow->key.high_port)) return false;
    uint8_t function = data[2] & 0x8f;
    return (size >= 18 && data[2] == 2) || (size == 11 && (function == 5 || function == 7)) ||
           (size >= 18 && function == 15 && data[6] == 2);
}

/* What the DNS codec makes of a datagram; the query is the first of the flow's own payloads that is one. */
static enum dns_kind dns_kind_of(const struct lanes *l, const struct lane *lane, const struct seen *seen) {
    for (uint32_t piece = lane->first; piece != STORE_NONE;) {
        const struct stored *stored = store_at(l->store, piece);
        size_t end = stored->size >= 12 && !stored->data[4] && !(stored->data[2] & 0x80)
                         ? dns_question_end(stored->data, stored->size)
                         : 0;
        if (end) {
            if (dns_agrees(stored->data, stored->size, seen->data, seen->size, end)) return DNS_AGREES;
            break;
        }
        piece = stored->next;
    }
    if (!dns_question_end(seen->data, seen->size)) return DNS_NONE;
    return seen->data[2] & 0x80 ? DNS_RESPONSE : DNS_QUERY;
}

static bool is_record(uint8_t first) { return first == ALERT || first == HANDSHAKE || first == ENCIPHERED; }

/* What tells messages of a call apart; 0 for what has no type. See `message_type` in passive/datagrams.py. */
static uint16_t type_of(const uint8_t *data, uint32_t size) {
    uint8_t message = data[0] == HANDSHAKE && size > MESSAGE_AT ? data[MESSAGE_AT] : 0;
    if (is_record(data[0])) return (uint16_t)(data[0] << 8 | message);
    bool typed = size >= 2 && (data[0] < STUN_BELOW || (data[0] >= CHANNELS && data[0] < NOT_CALLS));
    return typed ? be16(data) : 0;
}

/* Whether a message of this type, or of this channel, was read in this direction. */
static bool is_known_message(struct lanes *l, const struct lane *lane, const struct seen *seen, uint16_t type) {
    for (uint32_t piece = lane->first; piece != STORE_NONE;) {
        const struct stored *stored = store_at(l->store, piece);
        uint32_t node = (uint32_t)stored->offset;
        if (stored->direction == seen->direction && stored->size && type_of(stored->data, stored->size) == type &&
            node != SHAPES_NONE && shapes_at(l->shapes, node)->flags & SHAPE_MESSAGE)
            return true;
        piece = stored->next;
    }
    return false;
}

/* A message's type, or a channel's number, is part of what the reader goes by. */
static bool add_type(struct classified *what, const struct seen *seen) {
    uint16_t type = type_of(seen->data, seen->size);
    return !type || classify_add(what, &type, sizeof type);
}

/* Whether a call's datagram is one of those that go on and on, and that the reader does not look at: `_adds_nothing` in
   passive/datagrams.py. */
static bool adds_nothing(struct lanes *l, const struct lane *lane, const struct seen *seen) {
    const uint8_t *data = seen->data;
    uint8_t first = data[0];
    if (lane->counts[seen->direction] < TRIES || seen->index >= MEDIA_WITHIN) return false;
    if (first >= NOT_CALLS || (first >= STUN_BELOW && first < CHANNELS && !is_record(first))) return true;
    if (first == HANDSHAKE) {
        if (seen->size <= MESSAGE_AT || data[EPOCH_AT] || data[EPOCH_AT + 1]) return true;
        if (!data[MESSAGE_AT] || data[MESSAGE_AT] > HELLO_LAST) return true;
    }
    uint16_t type = type_of(data, seen->size);
    return type && is_known_message(l, lane, seen, type);
}

static bool is_alphanumeric(uint8_t byte) {
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

/* Whether it has the head of OpenVPN's data, which passive/counted.py judges over several datagrams. */
static bool like_openvpn(const struct seen *seen) {
    const uint8_t *data = seen->data;
    if (seen->size < 25 || (data[0] & 0xf8) != 0x48 || data[4]) return false;
    bool word = is_alphanumeric(data[1]) && is_alphanumeric(data[2]) && is_alphanumeric(data[3]);
    return !word && looks_random(data + 8, seen->size - 8);
}

/* Whether it may be an acknowledgement of SRT, or the answer to one: passive/srt.py reads them. */
static bool like_srt(const struct seen *seen) {
    return seen->size >= 16 && (be32(seen->data) == 0x80020000 || be32(seen->data) == 0x80060000);
}

/* Whether it may be uTP, by its head and the chain of its extensions: passive/utp.py reads it. */
static bool like_utp(const struct seen *seen) {
    enum { VERSION = 1, DATA = 0, SYN = 4, EXTENSIONS = 3, EXTENSION_MAX = 3 };
    const uint8_t *data = seen->data;
    if (seen->size < 20 || be32(data + 4) == STUN_COOKIE || (data[0] & 15) != VERSION || data[0] >> 4 > SYN || data[1] > EXTENSION_MAX) return false;
    uint8_t kind = data[0] >> 4, extension = data[1];
    size_t end = 20;
    for (int i = 0; i < EXTENSIONS && extension; i++) {
        if (extension > EXTENSION_MAX || end + 2 > seen->size) return false;
        uint8_t size = data[end + 1];
        if (!size || size % 4 || size > 64) return false;
        extension = data[end];
        end += 2u + size;
    }
    if (extension || end > seen->wire_length) return false;
    bool carries = seen->wire_length > end;
    return kind == DATA ? carries : !(carries && (kind == 2 || kind == 3 || kind == SYN));
}

static enum classify_result classify_datagram(struct table *t, uint32_t slot, const struct seen *seen,
                                              struct classified *what) {
    struct lanes *l = t->lanes;
    const struct lane *lane = &l->flows[slot];
    const struct flow *flow = &t->flows[slot];
    const struct stored *other = first_of(l, lane, 1 - seen->direction);
    bool first = !lane->counts[seen->direction], none, is_quic;
    bool call = shapes_at(l->shapes, lane->node)->flags & SHAPE_MEDIA, followed = flow->status & STATUS_FOLLOWING;
    if (like_openvpn(seen) || like_srt(seen) || like_utp(seen)) return CLASSIFY_PYTHON;
    if (!classify_sequence(t, slot, seen, what)) return CLASSIFY_PYTHON;
    if ((call || followed) && !add_type(what, seen)) return CLASSIFY_PYTHON;
    if (call && seen->index >= MEDIA_WITHIN) what->key[0] |= KEY_LATE;
    enum classify_result result = classify_quic(t, slot, seen, what, &is_quic);
    if (result != CLASSIFIED || is_quic) return result;
    if (seen->size >= 12 && !seen->data[4] && !classify_names_port(flow->key.low_port) &&
        !classify_names_port(flow->key.high_port))
        what->key[0] |= (uint8_t)(KEY_DNS * dns_kind_of(l, lane, seen));
    if (what->key[0] & (3 * KEY_DNS | KEY_QUIET)) return CLASSIFIED; /* the codec has judged it, or nobody looks */
    if (call && !(what->key[0] & CLASSIFY_KEY_SEQUENCE) && adds_nothing(l, lane, seen)) return CLASSIFY_NOTHING;
    if ((first && is_echo(seen, other)) || !take_host(seen->data, seen->size, what)) return CLASSIFY_PYTHON;
    if (!add_rules(l, flow, seen->data, seen->size, true, what, &none)) return CLASSIFY_PYTHON;
    if (first && !other && like_skype(flow, seen)) {
        if (none) return CLASSIFY_ENTANGLED;
        what->key[0] |= KEY_SKYPE;
    }
    return dtls_is_like_hello(seen->data, seen->size) ? classify_dtls(t, slot, seen, what) : CLASSIFIED;
}

/* -- both ---------------------------------------------------------------------------------------------------------- */

bool classify_doubtful(const struct table *t, uint32_t slot) {
    const struct lanes *l = t->lanes;
    const struct lane *lane = &l->flows[slot];
    uint16_t flags = shapes_at(l->shapes, lane->node)->flags;
    if (t->flows[slot].key.protocol != PROTOCOL_TCP || !(lane->counts[0] || lane->counts[1])) return false;
    if (flags & SHAPE_TOLD) return false;
    const struct stored *answer = first_of(l, lane, 1);
    return l->doubt || (answer && answer->size == 14); /* protocols/skype.py: HANDSHAKE_LENGTH */
}

/* Whether it may be of a call: what names media, and any SIP, which may do so later. */
static bool like_call(const struct seen *seen, bool first) {
    static const char *const begins[] = {"SIP/2.0 ", "INVITE ", "ACK ", "UPDATE ", "PRACK ", "RTSP/1.0 "};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (starts(seen->data, seen->size, begins[i])) return true;
    if (!first || seen->size < 12 || seen->data[0] < 'A' || seen->data[0] > 'Z') return false;
    return has_text(seen->data, seen->size < 256 ? seen->size : 256, " SIP/2.0");
}

bool classify_entangles(const struct table *t, uint32_t slot, const struct seen *seen) {
    const struct lane *lane = &t->lanes->flows[slot];
    if (like_call(seen, !lane->counts[0] && !lane->counts[1])) return true;
    bool begins = t->flows[slot].key.protocol == PROTOCOL_TCP && !lane->counts[seen->direction];
    return begins && (is_login(seen->data, seen->size) || like_ssl2(seen->data, seen->size));
}

enum classify_result classify(struct table *t, uint32_t slot, const struct seen *seen, struct classified *what) {
    struct lanes *l = t->lanes;
    const struct lane *lane = &l->flows[slot];
    uint8_t protocol = t->flows[slot].key.protocol;
    what->key[0] = (uint8_t)seen->direction;
    what->key[1] = 0; /* so that rules stand at an even place */
    what->key_size = 2;
    what->name = what->hello = NULL;
    what->name_size = what->hello_size = 0;
    what->quiet = what->in_sequence = what->offers_media = false;
    if (classify_entangles(t, slot, seen)) return CLASSIFY_ENTANGLED;
    if (shapes_at(l->shapes, lane->node)->flags >> (seen->direction ? 7 : 6) & 1) {
        what->key[0] |= KEY_QUIET;
        what->quiet = protocol == PROTOCOL_TCP;
        if (what->quiet) return CLASSIFIED;
    }
    if (classify_doubtful(t, slot)) return CLASSIFY_PYTHON;
    if (protocol == PROTOCOL_TCP) return classify_segment(t, slot, seen, what);
    return protocol == PROTOCOL_UDP ? classify_datagram(t, slot, seen, what) : CLASSIFY_PYTHON;
}

bool classify_influences(const struct table *t, uint32_t slot, const struct seen *seen, bool first) {
    const struct flow *flow = &t->flows[slot];
    const uint8_t *data = seen->data;
    if (data[0] >= 'A' && data[0] <= 'Z' && like_call(seen, first)) return true;
    if (flow->key.protocol == PROTOCOL_UDP) return first && like_skype(flow, seen);
    if (flow->key.protocol != PROTOCOL_TCP) return false;
    bool text = data[0] >= '0' && data[0] <= 'Z'; /* as all begin that are followed */
    if ((text && starts_followed(&t->settings, data, seen->size)) || is_login(data, seen->size) || like_ssl2(data, seen->size))
        return true;
    return classify_starts_tls(data, seen->size) && has_text(data, seen->size, "\3ftp"); /* ALPN of FTP inside TLS */
}
