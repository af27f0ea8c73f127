#include "patterns.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "dfa.h"
#include "randomness.h"

enum { STATES = 16384 };

enum field_kind { FIELD_EQUALS, FIELD_ANY, FIELD_BETWEEN, FIELD_THERE, FIELD_LENGTH_EXACT, FIELD_LENGTH_CUT,
                  FIELD_LENGTH_MORE, FIELD_PORTS, FIELD_KINDS };

/* One test of bytes at a fixed place; see signatures/language.py, FieldCheck. */
struct field {
    int32_t at;
    uint8_t kind, size; /* of the number, at most 8 */
    bool little;
    uint64_t mask, low, high; /* low and high: a range; or where in `bytes` numbers stand, and how many */
    int64_t add;
};

struct rule {
    uint16_t expression, except; /* PATTERNS_NONE: none */
    uint16_t service;
    uint16_t first_field, field_count;
    uint8_t flags;
    uint8_t except_group;
    uint32_t shortest, longest;
};

struct patterns {
    struct dfa *groups[PATTERNS_GROUPS];
    struct rule *rules;
    uint32_t rule_count;
    struct field *fields;
    uint8_t *bytes;
    uint8_t ports[8192]; /* a bit for each port that some rule asks for */
    uint8_t named[2][8192]; /* a bit for each service with products in PATTERNS_LATER, and in PATTERNS_LINES */
    uint32_t first_rule[UINT16_MAX + 1]; /* by expression; its rules end where the next one's begin */
};

/* What is found while one payload is looked at. */
struct scan {
    struct patterns *patterns;
    const uint8_t *data;
    size_t size;
    const uint16_t *ports;
    struct dfa_hits hits[PATTERNS_GROUPS];
    bool done[PATTERNS_GROUPS];
};

static uint64_t number_at(const uint8_t *at, uint32_t size, bool little) {
    uint64_t number = 0;
    for (uint32_t i = 0; i < size; i++) number = number << 8 | at[little ? size - 1 - i : i];
    return number;
}

static bool is_listed(const struct patterns *p, const struct field *field, uint64_t number) {
    for (uint64_t i = 0; i < field->high; i++)
        if (le64(p->bytes + field->low + 8 * i) == number) return true;
    return false;
}

static bool field_holds(const struct scan *scan, const struct field *field) {
    const struct patterns *p = scan->patterns;
    const uint8_t *data = scan->data;
    size_t size = scan->size;
    if (field->kind == FIELD_PORTS) return is_listed(p, field, scan->ports[0]) || is_listed(p, field, scan->ports[1]);
    int64_t start = field->at >= 0 ? field->at : (int64_t)size + field->at;
    if (start < 0) return false;
    uint64_t left = (uint64_t)start < size ? size - (uint64_t)start : 0;
    if (field->kind == FIELD_EQUALS)
        return left >= field->high && memcmp(data + start, p->bytes + field->low, field->high) == 0;
    if (left < field->size) return false;
    uint64_t number = number_at(data + start, field->size, field->little);
    int64_t rest = (int64_t)(left - field->size) + field->add;
    switch (field->kind) {
    case FIELD_THERE: return true;
    case FIELD_BETWEEN: number &= field->mask; return field->low <= number && number <= field->high;
    case FIELD_LENGTH_EXACT: return rest >= 0 && number == (uint64_t)rest;
    case FIELD_LENGTH_CUT: return rest < 0 || number >= (uint64_t)rest;
    case FIELD_LENGTH_MORE: return rest >= 0 && number <= (uint64_t)rest;
    default: break;
    }
    return is_listed(p, field, number & field->mask);
}

static bool has_bit(const uint8_t *bits, uint16_t number) { return bits[number >> 3] >> (number & 7) & 1; }

static void set_bit(uint8_t *bits, uint16_t number) { bits[number >> 3] = (uint8_t)(bits[number >> 3] | 1 << (number & 7)); }

static bool asks_for(const struct patterns *p, uint16_t port) { return has_bit(p->ports, port); }

static bool scan_group(struct scan *scan, int group) {
    const struct patterns *p = scan->patterns;
    if (scan->done[group]) return true;
    scan->done[group] = true;
    scan->hits[group].count = 0;
    if (group == PATTERNS_ON_PORT && !asks_for(p, scan->ports[0]) && !asks_for(p, scan->ports[1])) return true;
    struct dfa_hits *hits = &scan->hits[group];
    return !p->groups[group] || dfa_scan(&p->groups[group], 1, scan->data, scan->size, &hits);
}

/* All groups that payloads are looked at with, side by side. */
static bool scan_first(struct scan *scan) {
    enum { TOGETHER = 3 };
    static const int groups[TOGETHER] = {PATTERNS_ANCHORED, PATTERNS_COUNTING, PATTERNS_ANYWHERE};
    struct dfa *dfas[TOGETHER];
    struct dfa_hits *hits[TOGETHER];
    size_t count = 0;
    for (int i = 0; i < TOGETHER; i++) {
        struct dfa_hits *found = &scan->hits[groups[i]];
        scan->done[groups[i]] = true;
        found->count = 0;
        if (!scan->patterns->groups[groups[i]]) continue;
        dfas[count] = scan->patterns->groups[groups[i]];
        hits[count++] = found;
    }
    return dfa_scan(dfas, count, scan->data, scan->size, hits) && scan_group(scan, PATTERNS_ON_PORT);
}

static bool is_hit(const struct dfa_hits *hits, uint16_t expression) {
    for (uint32_t i = 0; i < hits->count; i++)
        if (hits->expression[i] == expression) return true;
    return false;
}

enum verdict { HOLDS_NOT, HOLDS, MAY_HOLD };

/* Whether a rule whose expression matches holds. */
static enum verdict rule_holds(struct scan *scan, const struct rule *rule) {
    if (scan->size < rule->shortest || scan->size > rule->longest) return HOLDS_NOT;
    for (uint32_t i = 0; i < rule->field_count; i++)
        if (!field_holds(scan, &scan->patterns->fields[rule->first_field + i])) return HOLDS_NOT;
    if (rule->except != PATTERNS_NONE) {
        if (!scan_group(scan, rule->except_group)) return MAY_HOLD;
        if (is_hit(&scan->hits[rule->except_group], rule->except)) return HOLDS_NOT;
    }
    if (rule->flags & RULE_RANDOM && !looks_random(scan->data, scan->size)) return HOLDS_NOT;
    return rule->flags & RULE_PYTHON ? MAY_HOLD : HOLDS;
}

/* The line where a match ended, with its end; none where there is no room for one more. */
static bool take_line(const struct scan *scan, const struct rule *rule, uint32_t end, struct holding *holding) {
    size_t start = 0, last = end ? end - 1 : 0;
    if (rule->flags & RULE_LINE)
        for (start = last; start > 0 && scan->data[start - 1] != '\n'; start--) {}
    else
        last = 0;
    const uint8_t *stop = scan->size > last ? memchr(scan->data + last, '\n', scan->size - last) : NULL;
    size_t after = stop ? (size_t)(stop - scan->data) + 1 : scan->size;
    for (int i = 0; i < 2; i++) {
        if (holding->line[i] == scan->data + start) return true;
        if (holding->line[i]) continue;
        holding->line[i] = scan->data + start;
        holding->line_size[i] = (uint32_t)(after - start);
        return true;
    }
    return false;
}

static bool take_rule(const struct scan *scan, uint32_t number, uint32_t end, bool unsure, struct holding *holding) {
    const struct rule *rule = &scan->patterns->rules[number];
    if (holding->count == PATTERNS_HOLDING) return false;
    uint32_t at = holding->count++;
    for (; at && holding->rules[at - 1] > number; at--) {
        holding->rules[at] = holding->rules[at - 1];
        holding->unsure[at] = holding->unsure[at - 1];
    }
    holding->rules[at] = (uint16_t)number;
    holding->unsure[at] = unsure;
    holding->sure = holding->sure && !unsure;
    if (rule->flags & RULE_OPEN) {
        holding->open = true;
        if (!(rule->flags & (RULE_LINE | RULE_HEAD)) || !take_line(scan, rule, end, holding)) holding->in_line = false;
    }
    return true;
}

/* Take a group's rules that hold: patterns proper, or (`names`) products of services that some of those speak for. */
static bool take_group(struct scan *scan, int group, bool names, struct holding *holding) {
    const struct patterns *p = scan->patterns;
    const struct dfa_hits *hits = &scan->hits[group];
    uint32_t proper = holding->count;
    uint16_t services[PATTERNS_HOLDING]; /* that they speak for */
    if (!scan->done[group]) return true;
    for (uint32_t i = 0; i < proper; i++) services[i] = p->rules[holding->rules[i]].service;
    for (uint32_t i = 0; i < hits->count; i++) {
        uint16_t expression = hits->expression[i];
        for (uint32_t n = p->first_rule[expression]; n < p->first_rule[expression + 1]; n++) {
            const struct rule *rule = &p->rules[n];
            if ((rule->flags & RULE_NAMES) != (names ? RULE_NAMES : 0)) continue;
            bool wanted = !names;
            for (uint32_t j = 0; !wanted && j < proper; j++) wanted = services[j] == rule->service;
            if (!wanted) continue;
            enum verdict verdict = rule_holds(scan, rule);
            if (verdict != HOLDS_NOT && !take_rule(scan, n, hits->end[i], verdict == MAY_HOLD, holding)) return false;
        }
    }
    return true;
}

/* Look for products of what holds, where its service has any in a group. */
static bool scan_names(struct scan *scan, int group, const struct holding *holding) {
    const struct patterns *p = scan->patterns;
    for (uint32_t i = 0; i < holding->count; i++)
        if (has_bit(p->named[group - PATTERNS_LATER], p->rules[holding->rules[i]].service)) return scan_group(scan, group);
    return true;
}

bool patterns_hold(struct patterns *p, const uint8_t *data, size_t size, const uint16_t ports[2], bool names,
                   struct holding *holding) {
    struct scan scan;
    scan.ports = ports;
    scan.patterns = p;
    scan.data = data;
    scan.size = size;
    memset(scan.done, 0, sizeof scan.done);
    memset(holding, 0, sizeof *holding);
    holding->in_line = holding->sure = true;
    if (!scan_first(&scan)) return false;
    for (int group = PATTERNS_ANCHORED; group < PATTERNS_LATER; group++)
        if (!take_group(&scan, group, false, holding)) return false;
    if (!holding->count || !names) return true;
    if (!scan_names(&scan, PATTERNS_LATER, holding) || !scan_names(&scan, PATTERNS_LINES, holding)) return false;
    for (int group = PATTERNS_ANCHORED; group < PATTERNS_GROUPS; group++)
        if (!take_group(&scan, group, true, holding)) return false;
    return true;
}

/* -- what is kept ---------------------------------------------------------------------------------------------------- */

size_t patterns_keep(const struct patterns *p, uint8_t *out) {
    size_t size = 0;
    for (int group = 0; group < PATTERNS_GROUPS; group++) {
        size_t kept = p->groups[group] ? dfa_keep(p->groups[group], out ? out + size + 4 : NULL) : 0;
        if (out) put_le32(out + size, (uint32_t)kept);
        size += 4 + kept;
    }
    return size;
}

bool patterns_recall(struct patterns *p, const uint8_t *kept, size_t size) {
    bool good = true;
    for (int group = 0; group < PATTERNS_GROUPS; group++) {
        if (size < 4 || size - 4 < le32(kept)) return false;
        size_t one = le32(kept);
        if (one && p->groups[group]) good &= dfa_recall(p->groups[group], kept + 4, one);
        kept += 4 + one;
        size -= 4 + one;
    }
    return good && !size;
}

uint64_t patterns_made(const struct patterns *p) {
    uint64_t made = 0;
    for (int group = 0; group < PATTERNS_GROUPS; group++) made += p->groups[group] ? dfa_made(p->groups[group]) : 0;
    return made;
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

static bool load_fields(struct patterns *p, const struct patterns_tables *tables) {
    size_t count = tables->fields_size / PATTERNS_FIELD_SIZE;
    p->fields = calloc(count + 1, sizeof *p->fields);
    p->bytes = malloc(tables->bytes_size + 1);
    if (!p->fields || !p->bytes) return false;
    if (tables->bytes_size) memcpy(p->bytes, tables->bytes, tables->bytes_size);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = tables->fields + i * PATTERNS_FIELD_SIZE;
        struct field field = {.at = (int32_t)le32(at), .kind = at[4], .size = at[5], .little = at[6] & 1,
                              .mask = le64(at + 8), .low = le64(at + 16), .high = le64(at + 24),
                              .add = (int64_t)le64(at + 32)};
        uint64_t width = field.kind == FIELD_EQUALS ? 1 : 8;
        if (field.kind >= FIELD_KINDS || field.size > 8) return false;
        if ((field.kind == FIELD_EQUALS || field.kind == FIELD_ANY || field.kind == FIELD_PORTS) &&
            (field.low > tables->bytes_size || field.high > (tables->bytes_size - field.low) / width))
            return false;
        p->fields[i] = field;
        for (uint64_t j = 0; field.kind == FIELD_PORTS && j < field.high; j++) {
            uint16_t port = (uint16_t)le64(p->bytes + field.low + 8 * j);
            set_bit(p->ports, port);
        }
    }
    return true;
}

static bool load_rules(struct patterns *p, const struct patterns_tables *tables) {
    size_t count = tables->rules_size / PATTERNS_RULE_SIZE, fields = tables->fields_size / PATTERNS_FIELD_SIZE;
    if (count >= UINT16_MAX) return false;
    p->rules = calloc(count + 1, sizeof *p->rules);
    if (!p->rules) return false;
    p->rule_count = (uint32_t)count;
    uint32_t next = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = tables->rules + i * PATTERNS_RULE_SIZE;
        struct rule rule = {.expression = le16(at), .except = le16(at + 2), .service = le16(at + 4),
                            .first_field = le16(at + 6), .field_count = le16(at + 8), .flags = at[10],
                            .except_group = at[11], .shortest = le32(at + 12), .longest = le32(at + 16)};
        if (rule.expression == PATTERNS_NONE || rule.expression + 1u < next || rule.except_group >= PATTERNS_GROUPS ||
            (size_t)rule.first_field + rule.field_count > fields)
            return false;
        while (next <= rule.expression) p->first_rule[next++] = (uint32_t)i;
        p->rules[i] = rule;
    }
    while (next <= UINT16_MAX) p->first_rule[next++] = (uint32_t)count;
    return true;
}

/* Which services' products a group's automaton looks for, by the expressions that its program ends in. */
static void find_named(struct patterns *p, const struct patterns_tables *tables, int group) {
    for (uint32_t i = 0; p->groups[group] && i < tables->instructions[group]; i++) {
        uint32_t head = le32(tables->program[group] + (size_t)i * DFA_INSTRUCTION_SIZE), expression = head >> 8;
        if ((head & UINT8_MAX) != DFA_MATCH || expression >= UINT16_MAX) continue;
        for (uint32_t n = p->first_rule[expression]; n < p->first_rule[expression + 1]; n++)
            if (p->rules[n].flags & RULE_NAMES) set_bit(p->named[group - PATTERNS_LATER], p->rules[n].service);
    }
}

struct patterns *patterns_new(const struct patterns_tables *tables) {
    struct patterns *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    bool good = tables->rules_size % PATTERNS_RULE_SIZE == 0 && tables->fields_size % PATTERNS_FIELD_SIZE == 0 &&
                load_fields(p, tables) && load_rules(p, tables);
    for (int group = 0; good && group < PATTERNS_GROUPS; group++) {
        if (!tables->instructions[group]) continue;
        p->groups[group] = dfa_new(tables->program[group], tables->program_size[group], tables->instructions[group],
                                   STATES);
        good = p->groups[group];
    }
    for (int group = PATTERNS_LATER; good && group < PATTERNS_GROUPS; group++) find_named(p, tables, group);
    if (good) return p;
    patterns_free(p);
    return NULL;
}

void patterns_free(struct patterns *p) {
    if (!p) return;
    for (int group = 0; group < PATTERNS_GROUPS; group++) dfa_free(p->groups[group]);
    free(p->rules);
    free(p->fields);
    free(p->bytes);
    free(p);
}
