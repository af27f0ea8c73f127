#include "quic_reading.h"

#include <string.h>

#include "bytes.h"

enum { ECHO_MIN = 4, INITIAL_MIN = 1200, LISTED_MAX = 8 };

/* First byte of each fact; what follows are the things that evidence's text and strength depend on. */
enum fact {
    FACT_INITIAL = 1,    /* version: a client's, its hello is not all there */
    FACT_HELLO,          /* version, names of ALPN, whether there is a host name */
    FACT_GOOGLE_HELLO,   /* version, whether there is a host name */
    FACT_SERVER_INITIAL, /* version, whether there is a ServerHello, its cipher */
    FACT_NEGOTIATION,    /* whether a version is known */
    FACT_HEADER,         /* version, kind, whether the version is named */
    FACT_GOOGLE,         /* version */
    FACT_ECHOED,         /* version */
    FACT_LISTED,         /* versions */
    FACT_GOOGLE_ECHOED,  /* versions, or a hello's kind */
};

/* One datagram on its way. */
struct step {
    struct quic_reading *reading;
    int direction;
    const uint8_t *data;
    size_t size;
    struct tls_hello *hello;
    struct quic_facts *facts;
};

static void tell(struct quic_facts *facts, const void *bytes, size_t size) {
    if (size > sizeof facts->facts - facts->size) {
        facts->full = true;
        return;
    }
    memcpy(facts->facts + facts->size, bytes, size);
    facts->size += size;
}

static void tell_fact(struct quic_facts *facts, enum fact fact, uint32_t version) {
    uint8_t bytes[5] = {(uint8_t)fact};
    put_be32(bytes + 1, version);
    tell(facts, bytes, sizeof bytes);
}

static void tell_byte(struct quic_facts *facts, uint8_t byte) { tell(facts, &byte, 1); }

static void say(struct quic_facts *facts, const void *text, size_t size) {
    if (size > sizeof facts->text - facts->text_size) {
        facts->full = true;
        return;
    }
    memcpy(facts->text + facts->text_size, text, size);
    facts->text_size += size;
}

static void say_after(struct quic_facts *facts, const char *label, const uint8_t *text, size_t size) {
    say(facts, label, strlen(label));
    say(facts, text, size);
}

static void take_name(struct quic_facts *facts, const uint8_t *name, size_t size) {
    facts->name = name;
    facts->name_size = size;
    tell_byte(facts, size > 0);
    if (size) say_after(facts, ", SNI ", name, size);
}

/* -- IETF's packets ------------------------------------------------------------------------------------------------ */

/* The names in the facts, as they came, and in the text. */
static void take_alpn(struct quic_facts *facts, const struct tls_hello *hello) {
    facts->full = facts->full || hello->alpn_more;
    tell_byte(facts, hello->alpn_count);
    for (uint8_t i = 0; i < hello->alpn_count; i++) {
        const struct tls_span *name = &hello->alpn[i];
        for (uint8_t at = 0; at < name->size; at++)
            if (name->data[at] < 0x20 || name->data[at] > 0x7e) facts->full = true;
        tell_byte(facts, name->size);
        tell(facts, name->data, name->size);
        say_after(facts, i ? " " : ", ALPN ", name->data, name->size);
    }
}

static void take_google_hello(struct step *s, uint32_t version, const struct gquic_hello *hello) {
    s->reading->hello = HELLO_GOOGLE;
    tell_fact(s->facts, FACT_GOOGLE_HELLO, version);
    take_name(s->facts, hello->name, hello->name_size);
    if (hello->agent_size) say_after(s->facts, ", agent ", hello->agent, hello->agent_size);
}

static void read_client(struct step *s, uint32_t version) {
    struct quic_reading *r = s->reading;
    const uint8_t *head;
    struct gquic_hello google;
    if (r->hello != HELLO_NONE) return;
    size_t size = quic_head(&r->initials, 0, &head);
    if (!r->initials.scheme.tls) {
        if (gquic_read_hello(head, size, &google))
            take_google_hello(s, version, &google);
        else
            tell_fact(s->facts, FACT_INITIAL, version);
        return;
    }
    if (tls_read_message(head, size, false, 'q', s->hello) != TLS_CLIENT_HELLO) {
        tell_fact(s->facts, FACT_INITIAL, version);
        return;
    }
    r->hello = HELLO_TLS;
    tell_fact(s->facts, FACT_HELLO, version);
    take_name(s->facts, s->hello->name, s->hello->name_size);
    take_alpn(s->facts, s->hello);
    say_after(s->facts, ", JA4 ", (const uint8_t *)s->hello->ja4, strlen(s->hello->ja4));
}

static void read_server(struct step *s, uint32_t version) {
    struct quic_reading *r = s->reading;
    const uint8_t *head;
    size_t size = quic_head(&r->initials, 1, &head);
    enum tls_first first = tls_read_message(head, size, false, 'q', s->hello);
    if (r->opened && first != TLS_CLIENT_HELLO && first != TLS_SERVER_HELLO) return;
    r->answered = r->opened = true;
    tell_fact(s->facts, FACT_SERVER_INITIAL, version);
    tell_byte(s->facts, first == TLS_SERVER_HELLO);
    if (first != TLS_SERVER_HELLO) return;
    r->read = true;
    tell_byte(s->facts, (uint8_t)(s->hello->cipher >> 8));
    tell_byte(s->facts, (uint8_t)s->hello->cipher);
}

static void open_initial(struct step *s, const struct quic_packet *packet) {
    struct quic_reading *r = s->reading;
    int likely = r->client == -1 || r->client == s->direction ? 0 : 1;
    int side = quic_open(&r->initials, s->data, packet, likely);
    if (side == -1 || (r->client != -1 && (side == 0) != (s->direction == r->client))) return;
    if (side == 0) {
        r->client = (int8_t)s->direction;
        read_client(s, packet->version);
    } else if (!r->read) {
        read_server(s, packet->version);
    }
}

static bool same(const uint8_t *one, uint8_t one_size, const uint8_t *other, uint8_t other_size) {
    return one_size == other_size && memcmp(one, other, one_size) == 0;
}

/* Whether a packet is addressed to a connection id that the other side chose. */
static bool is_echoed(const struct step *s, const struct quic_packet *packet) {
    const struct quic_ids *other = &s->reading->ids[1 - s->direction];
    if (!other->set || other->source_size < ECHO_MIN ||
        !same(packet->destination, packet->destination_size, other->source, other->source_size))
        return false;
    if (packet->kind == QUIC_NEGOTIATION)
        return same(packet->source, packet->source_size, other->destination, other->destination_size);
    return packet->version == s->reading->version;
}

static bool is_reserved(uint32_t version) { return (version & 0x0f0f0f0f) == 0x0a0a0a0a; }

/* Versions stand at the end of a Version Negotiation packet. */
static void tell_listed(struct step *s) {
    size_t count = quic_negotiation(s->data, s->size), kept = count < LISTED_MAX ? count : LISTED_MAX;
    tell_byte(s->facts, FACT_LISTED);
    tell_byte(s->facts, (uint8_t)kept);
    tell(s->facts, s->data + s->size - 4 * count, 4 * kept);
}

static void tell_header(struct step *s, const struct quic_packet *packet) {
    if (s->reading->ids[s->direction].set) return;
    if (packet->kind == QUIC_NEGOTIATION) {
        size_t count = quic_negotiation(s->data, s->size);
        bool known = false;
        for (const uint8_t *at = s->data + s->size - 4 * count; at < s->data + s->size; at += 4)
            known = known || quic_scheme_of(be32(at)).salt || is_reserved(be32(at));
        tell_byte(s->facts, FACT_NEGOTIATION);
        tell_byte(s->facts, known);
        return;
    }
    bool provokes = is_reserved(packet->version) && s->size >= INITIAL_MIN;
    tell_fact(s->facts, FACT_HEADER, packet->version);
    tell_byte(s->facts, packet->kind);
    tell_byte(s->facts, provokes || quic_scheme_of(packet->version).salt);
}

static void feed_long(struct step *s) {
    struct quic_reading *r = s->reading;
    struct quic_packet packets[QUIC_PACKETS_MAX];
    size_t count = quic_read_packets(s->data, s->size, packets);
    if (!count) return;
    const struct quic_packet *first = &packets[0];
    bool echoed = is_echoed(s, first);
    for (size_t i = 0; i < count; i++)
        if (packets[i].kind == QUIC_INITIAL) open_initial(s, &packets[i]);
    if (!s->facts->size) tell_header(s, first);
    if (echoed && !r->answered) {
        r->answered = true;
        if (first->kind == QUIC_NEGOTIATION)
            tell_listed(s);
        else
            tell_fact(s->facts, FACT_ECHOED, first->version);
    }
    struct quic_ids *ids = &r->ids[s->direction];
    ids->set = true;
    ids->destination_size = first->destination_size;
    ids->source_size = first->source_size;
    memcpy(ids->destination, first->destination, first->destination_size);
    memcpy(ids->source, first->source, first->source_size);
    if (first->version) r->version = first->version;
}

/* -- Google's older packets ---------------------------------------------------------------------------------------- */

static void feed_google(struct step *s) {
    struct quic_reading *r = s->reading;
    struct gquic_header header;
    struct gquic_hello hello;
    if (!gquic_read_header(s->data, s->size, &header)) return;
    bool found = gquic_find_hello(s->data, s->size, header.at, &hello);
    struct quic_ids *ids = &r->ids[s->direction];
    const struct quic_ids *other = &r->ids[1 - s->direction];
    uint32_t version = header.version ? be32(header.version) : 0;
    if (found && hello.kind == GQUIC_CHLO && r->hello == HELLO_NONE && version) {
        r->client = (int8_t)s->direction;
        take_google_hello(s, version, &hello);
    } else if (version && !header.versions && !ids->set && !other->set) {
        tell_fact(s->facts, FACT_GOOGLE, version);
    }
    if (other->set && same(other->destination, other->destination_size, header.connection, 8) &&
        r->client != s->direction && !r->answered) {
        uint8_t kept = header.versions < LISTED_MAX ? header.versions : LISTED_MAX;
        r->answered = true;
        tell_byte(s->facts, FACT_GOOGLE_ECHOED);
        tell_byte(s->facts, kept);
        if (kept)
            tell(s->facts, header.version, 4u * kept);
        else
            tell_byte(s->facts, found ? (uint8_t)(1 + hello.kind) : 0);
    }
    if (!version) return;
    ids->set = true;
    ids->destination_size = 8;
    ids->source_size = 0;
    memcpy(ids->destination, header.connection, 8);
}

/* -- both ---------------------------------------------------------------------------------------------------------- */

void quic_reading_begin(struct quic_reading *r) {
    memset(&r->initials.scheme, 0, sizeof r->initials.scheme);
    r->initials.ready = false;
    r->initials.destination_size = 0;
    for (int i = 0; i < 2; i++) {
        r->initials.crypto[i].count = 0;
        r->ids[i].set = false;
    }
    r->client = -1;
    r->hello = HELLO_NONE;
    r->answered = r->opened = r->read = false;
    r->version = 0;
}

bool quic_reading_starts(const uint8_t *data, size_t size) {
    return quic_is_long_header(data, size) || gquic_is_header(data, size);
}

void quic_reading_feed(struct quic_reading *reading, int direction, const uint8_t *data, size_t size,
                       struct tls_hello *hello, struct quic_facts *facts) {
    struct step step = {reading, direction, data, size, hello, facts};
    facts->size = facts->text_size = facts->name_size = 0;
    facts->name = NULL;
    facts->full = false;
    if (size && data[0] & 0x80 && (size < 5 || memcmp(data + 1, "Q046", 4) != 0))
        feed_long(&step);
    else if (size)
        feed_google(&step);
}
