#include "lines.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "community.h"
#include "decode.h"
#include "table.h"

enum {
    FIXED_MAX = 1024,  /* of a line: all but the verdict's text, the interface's and the texts of the flow */
    ESCAPE_MAX = 6,    /* bytes that one byte takes */
    HOP_MAX = 128,     /* a tunnel's name, two addresses, a number */
    TEXT_LEAST = 1,    /* and no text, `null` */
    DAY_S = 86400,
    HEADS = 1 << 12,
};

struct text {
    char *data;
    size_t size;
    uint32_t chain; /* next with this hash, 0 for none */
    uint32_t names, hellos; /* of a verdict: holes for these */
    uint32_t *holes, hole_count; /* of a verdict: where all of them are */
};

struct lines {
    struct text *verdicts; /* from 1 */
    uint32_t verdict_count, verdict_room;
    uint32_t heads[HEADS]; /* of verdicts by their text's hash */
    struct text *interfaces;
    size_t interface_count;
    char *out;
    size_t size, room;
    bool whole;      /* times in nanoseconds, ports for all */
    uint64_t second; /* whose text is in `second_text` */
    char second_text[20];
};

/* -- pieces -------------------------------------------------------------------------------------------------------- */

static char *put(char *at, const char *text, size_t size) {
    memcpy(at, text, size);
    return at + size;
}

#define PUT(at, literal) put(at, literal, sizeof literal - 1)

static char *put_number(char *at, uint64_t number) {
    char digits[20];
    int count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) *at++ = digits[--count];
    return at;
}

static char *put_digits(char *at, uint32_t number, int count) {
    for (int i = count; i-- > 0; number /= 10) at[i] = (char)('0' + number % 10);
    return at + count;
}

/* Days since 1970 as a date of the proleptic Gregorian calendar: years begin in March, so that leap days are last. */
static char *put_date(char *at, uint64_t days) {
    uint64_t shifted = days + 719468, era = shifted / 146097;
    uint32_t day_of_era = (uint32_t)(shifted % 146097);
    uint32_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month = (5 * day_of_year + 2) / 153, day = day_of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 3 : month - 9;
    at = put_digits(at, (uint32_t)(era * 400) + year_of_era + (month <= 2), 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    return put_digits(at, day, 2);
}

static char *put_time(struct lines *lines, char *at, uint64_t time_ns) {
    uint64_t second = time_ns / 1000000000;
    if (second != lines->second || !lines->second_text[0]) {
        uint32_t of_day = (uint32_t)(second % DAY_S);
        char *text = put_date(lines->second_text, second / DAY_S);
        *text++ = 'T';
        text = put_digits(text, of_day / 3600, 2);
        *text++ = ':';
        text = put_digits(text, of_day / 60 % 60, 2);
        *text++ = ':';
        put_digits(text, of_day % 60, 2);
        lines->second = second;
    }
    at = put(at, lines->second_text, 19);
    *at++ = '.';
    uint32_t rest_ns = (uint32_t)(time_ns % 1000000000);
    at = lines->whole ? put_digits(at, rest_ns, 9) : put_digits(at, rest_ns / 1000, 6);
    return PUT(at, "+0000");
}

static char *put_address(char *at, const uint8_t *address, uint8_t size) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (size == 16 && memcmp(address, mapped, sizeof mapped) == 0) {
        at = PUT(at, "::ffff:");
        address += sizeof mapped;
        size = 4;
    }
    if (size == 4) {
        for (int i = 0; i < 4; i++) {
            if (i) *at++ = '.';
            at = put_number(at, address[i]);
        }
        return at;
    }
    return inet_ntop(AF_INET6, address, at, INET6_ADDRSTRLEN) ? at + strlen(at) : at;
}

/* Latin-1 text as what stands in a JSON string. */
static char *put_escaped(char *at, const uint8_t *text, size_t size) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = text[i];
        if (byte == '"' || byte == '\\') {
            *at++ = '\\';
            *at++ = (char)byte;
        } else if (byte >= 0x20 && byte < 0x7f) {
            *at++ = (char)byte;
        } else {
            at = PUT(at, "\\u00");
            *at++ = digits[byte >> 4];
            *at++ = digits[byte & 15];
        }
    }
    return at;
}

/* Milliseconds with three digits after the point, as Python writes such a number: without zeros at its end but one. */
static char *put_milliseconds(char *at, uint64_t time_ns) {
    uint64_t thousandths = time_ns / 1000;
    if (time_ns % 1000) { /* as it is rounded there: the nearest double, to the nearest thousandth */
        char text[40];
        int length = snprintf(text, sizeof text, "%.3f", (double)time_ns / 1e6);
        at = put(at, text, (size_t)length);
    } else {
        at = put_number(at, thousandths / 1000);
        *at++ = '.';
        at = put_digits(at, (uint32_t)(thousandths % 1000), 3);
    }
    while (at[-1] == '0' && at[-2] != '.') at--;
    return at;
}

/* -- lines --------------------------------------------------------------------------------------------------------- */

static char *put_flow(struct lines *lines, char *at, const struct row *row) {
    static const char *const reasons[] = {"idle", "fin", "rst", "active", "evicted", "end"};
    bool closed = row->reason == 1 || row->reason == 2;
    const char *state = closed ? "closed" : row->packets[0] && row->packets[1] ? "established" : "new";
    at = put_number(PUT(at, "\"flow\":{\"pkts_toserver\":"), row->packets[0]);
    at = put_number(PUT(at, ",\"pkts_toclient\":"), row->packets[1]);
    at = put_number(PUT(at, ",\"bytes_toserver\":"), row->bytes[0]);
    at = put_number(PUT(at, ",\"bytes_toclient\":"), row->bytes[1]);
    at = put_time(lines, PUT(at, ",\"start\":\""), row->first_ns ? row->first_ns : row->last_ns);
    if (row->early) return PUT(at, "\"}");
    at = put_time(lines, PUT(at, "\",\"end\":\""), row->last_ns);
    at = put_number(PUT(at, "\",\"age\":"), (row->last_ns - row->first_ns) / 1000000000);
    at = PUT(at, ",\"state\":\"");
    at = put(at, state, strlen(state));
    at = PUT(at, "\",\"reason\":\"");
    at = put(at, reasons[row->reason], strlen(reasons[row->reason]));
    return PUT(at, "\"}");
}

static char *put_text(char *at, const uint8_t *text, size_t size) {
    if (!text) return PUT(at, "null");
    *at++ = '"';
    at = put_escaped(at, text, size);
    *at++ = '"';
    return at;
}

static char *put_verdict(struct lines *lines, char *at, const struct row *row) {
    const struct text *verdict = &lines->verdicts[row->verdict];
    size_t from = 0;
    for (uint32_t i = 0; i < verdict->hole_count; i++) {
        size_t hole = verdict->holes[i];
        at = put(at, verdict->data + from, hole - from);
        from = hole + 1;
        switch (verdict->data[hole]) {
        case HOLE_LABELLED:
            at = row->labelled_ns == LANE_NO_LABEL ? PUT(at, "null") : put_milliseconds(at, row->labelled_ns);
            break;
        case HOLE_NAME: at = put_text(at, row->name, row->name_size); break;
        case HOLE_HELLO: at = put_text(at, row->hello, row->hello_size); break;
        case HOLE_REST: at = put_escaped(at, row->hello, row->hello_size); break;
        default: at = put_flow(lines, at, row); break;
        }
    }
    return put(at, verdict->data + from, verdict->size - from);
}

static const char *hop_name(uint8_t kind, uint8_t version) {
    switch (kind) {
    case TUNNEL_IPV4: return version == 4 ? "ipip" : "4in6";
    case TUNNEL_IPV6: return version == 4 ? "6in4" : "6in6";
    case TUNNEL_GRE: return "gre";
    case TUNNEL_PPTP: return "pptp";
    case TUNNEL_VXLAN: return "vxlan";
    case TUNNEL_GENEVE: return "geneve";
    case TUNNEL_GTP: return "gtp-u";
    case TUNNEL_TEREDO: return "teredo";
    case TUNNEL_L2TP: return "l2tp";
    case TUNNEL_ETHERIP: return "etherip";
    default: return "mpls-in-ip";
    }
}

/* The tunnels as flows/hops.py names them. */
static char *put_hops(char *at, const struct row *row) {
    if (!row->hops) return at;
    at = PUT(at, ",\"hops\":[");
    for (uint8_t i = 0; i < row->hops; i++) {
        const uint8_t *hop = row->outer + (size_t)i * HOP_BYTES;
        uint8_t version = hop[37], size = version == 4 ? 4 : 16;
        const char *name = hop_name(hop[36], version);
        at = i ? PUT(at, ",\"") : PUT(at, "\"");
        at = put(at, name, strlen(name));
        *at++ = ' ';
        at = put_address(at, hop, size);
        at = put_address(PUT(at, " > "), hop + 16, size);
        if (le32(hop + 32)) at = put_number(PUT(at, " "), le32(hop + 32));
        *at++ = '"';
    }
    return PUT(at, "]");
}

static char *put_line(struct lines *lines, char *at, const struct row *row) {
    bool ports = lines->whole || row->protocol == 6 || row->protocol == 17 || row->protocol == 132;
    at = put_time(lines, PUT(at, "{\"timestamp\":\""), row->last_ns);
    at = put_number(PUT(at, "\",\"flow_id\":"), row->flow);
    at = row->early ? PUT(at, ",\"event_type\":\"verdict\",") : PUT(at, ",\"event_type\":\"flow\",");
    if (row->interface < lines->interface_count) {
        const struct text *interface = &lines->interfaces[row->interface];
        at = put(at, interface->data, interface->size);
    }
    if (row->vlan) {
        at = put_number(PUT(at, "\"vlan\":["), row->vlan);
        at = PUT(at, "],");
    }
    at = put_address(PUT(at, "\"src_ip\":\""), row->initiator, row->address_size);
    if (ports)
        at = put_number(PUT(at, "\",\"src_port\":"), row->initiator_port);
    else
        *at++ = '"';
    at = put_address(PUT(at, ",\"dest_ip\":\""), row->responder, row->address_size);
    if (ports)
        at = put_number(PUT(at, "\",\"dest_port\":"), row->responder_port);
    else
        *at++ = '"';
    char community[COMMUNITY_SIZE];
    const struct community_flow flow = {row->initiator, row->responder, row->initiator_port, row->responder_port,
                                        row->address_size, row->protocol};
    *at++ = ',';
    if (community_id(&flow, community)) {
        at = put(PUT(at, "\"community_id\":\""), community, sizeof community);
        at = PUT(at, "\",");
    }
    at = put_verdict(lines, at, row);
    at = PUT(at, ",\"midstream\":");
    at = row->midstream ? PUT(at, "true") : PUT(at, "false");
    at = put_hops(at, row);
    return PUT(at, "}}\n");
}

static bool make_room(struct lines *lines, size_t needed) {
    if (lines->room - lines->size >= needed) return true;
    size_t room = lines->room ? lines->room * 2 : 1 << 17;
    while (room - lines->size < needed) room *= 2;
    char *out = realloc(lines->out, room);
    if (!out) return false;
    lines->out = out;
    lines->room = room;
    return true;
}

bool lines_write(struct lines *lines, const struct row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        if (!row->verdict || row->verdict > lines->verdict_count) continue; /* cannot be: no line can be made */
        const struct text *verdict = &lines->verdicts[row->verdict];
        size_t texts = (size_t)verdict->names * (row->name_size + TEXT_LEAST) +
                       (size_t)verdict->hellos * (row->hello_size + TEXT_LEAST);
        size_t needed = FIXED_MAX + verdict->size + ESCAPE_MAX * texts + HOP_MAX * (size_t)row->hops;
        if (row->interface < lines->interface_count) needed += lines->interfaces[row->interface].size;
        if (!make_room(lines, needed)) return false;
        lines->size = (size_t)(put_line(lines, lines->out + lines->size, row) - lines->out);
    }
    return true;
}

size_t lines_size(const struct lines *lines) { return lines->size; }

const char *lines_take(struct lines *lines, size_t *size) {
    *size = lines->size;
    lines->size = 0;
    return lines->out;
}

/* -- what Python gives --------------------------------------------------------------------------------------------- */

static bool text_copy(struct text *text, const uint8_t *data, size_t size) {
    text->data = malloc(size + 1);
    if (!text->data) return false;
    memcpy(text->data, data, size);
    text->size = size;
    return true;
}

static size_t count(const uint8_t *text, size_t size, uint8_t hole) {
    size_t found = 0;
    for (size_t i = 0; i < size; i++) found += text[i] == hole;
    return found;
}

static bool is_hole(char byte) { return byte >= HOLE_LABELLED && byte <= HOLE_REST; }

/* Where the holes of a verdict are, so that nobody looks for them line by line. */
static bool find_holes(struct text *verdict) {
    uint32_t count = 0;
    for (size_t i = 0; i < verdict->size; i++) count += is_hole(verdict->data[i]);
    verdict->hole_count = 0;
    verdict->holes = malloc((count + 1) * sizeof *verdict->holes);
    for (size_t i = 0; verdict->holes && i < verdict->size; i++)
        if (is_hole(verdict->data[i])) verdict->holes[verdict->hole_count++] = (uint32_t)i;
    return verdict->holes;
}

uint32_t lines_verdict(struct lines *lines, const uint8_t *text, size_t size) {
    uint32_t hash = 2166136261u;
    if (count(text, size, HOLE_LABELLED) > 1 || count(text, size, HOLE_FLOW) > 1) return 0; /* none of ours */
    for (size_t i = 0; i < size; i++) hash = (hash ^ text[i]) * 16777619u;
    uint32_t *head = &lines->heads[(hash ^ hash >> 15) % HEADS];
    for (uint32_t at = *head; at; at = lines->verdicts[at].chain)
        if (lines->verdicts[at].size == size && memcmp(lines->verdicts[at].data, text, size) == 0) return at;
    if (lines->verdict_count + 1 >= lines->verdict_room) {
        uint32_t room = lines->verdict_room ? lines->verdict_room * 2 : 64;
        struct text *verdicts = realloc(lines->verdicts, room * sizeof *verdicts);
        if (!verdicts) return 0;
        lines->verdicts = verdicts;
        lines->verdict_room = room;
    }
    struct text *verdict = &lines->verdicts[lines->verdict_count + 1];
    if (!text_copy(verdict, text, size)) return 0;
    if (!find_holes(verdict)) {
        free(verdict->data);
        return 0;
    }
    lines->verdict_count++;
    verdict->names = (uint32_t)count(text, size, HOLE_NAME);
    verdict->hellos = (uint32_t)(count(text, size, HOLE_HELLO) + count(text, size, HOLE_REST));
    verdict->chain = *head;
    return *head = lines->verdict_count;
}

const char *lines_verdict_text(const struct lines *lines, uint32_t verdict, size_t *size) {
    assert(verdict && verdict <= lines->verdict_count);
    *size = lines->verdicts[verdict].size;
    return lines->verdicts[verdict].data;
}

uint32_t lines_verdicts(const struct lines *lines) { return lines->verdict_count; }

static void forget_interfaces(struct lines *lines) {
    for (size_t i = 0; i < lines->interface_count; i++) free(lines->interfaces[i].data);
    free(lines->interfaces);
    lines->interfaces = NULL;
    lines->interface_count = 0;
}

bool lines_interfaces(struct lines *lines, const uint8_t *const *texts, const size_t *sizes, size_t count) {
    forget_interfaces(lines);
    lines->interfaces = calloc(count + 1, sizeof *lines->interfaces);
    if (!lines->interfaces) return false;
    for (; lines->interface_count < count; lines->interface_count++) {
        size_t at = lines->interface_count;
        if (!text_copy(&lines->interfaces[at], texts[at], sizes[at])) return false;
    }
    return true;
}

void lines_whole(struct lines *lines) { lines->whole = true; }

struct lines *lines_new(void) { return calloc(1, sizeof(struct lines)); }

void lines_free(struct lines *lines) {
    if (!lines) return;
    forget_interfaces(lines);
    for (uint32_t i = 1; i <= lines->verdict_count; i++) {
        free(lines->verdicts[i].data);
        free(lines->verdicts[i].holes);
    }
    free(lines->verdicts);
    free(lines->out);
    free(lines);
}
