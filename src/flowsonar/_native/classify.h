/* What one payload is, as a key of `shapes`: all that the passive reader's judgement of it depends on. */
#ifndef FLOWSONAR_CLASSIFY_H
#define FLOWSONAR_CLASSIFY_H

#include "lane.h"

struct lane;

enum classify_result {
    CLASSIFIED,
    CLASSIFY_PYTHON,    /* only Python can read it */
    CLASSIFY_NOTHING,   /* it adds nothing to what is known of the flow, and changes nothing */
    CLASSIFY_ENTANGLED, /* and what it finds there changes how it judges other flows */
};

struct classified {
    uint8_t key[SHAPES_KEY_MAX];
    size_t key_size;
    const uint8_t *name, *hello; /* texts that go with the flow, where it has any */
    size_t name_size, hello_size;
    bool quiet;       /* Python would not look at it either */
    bool offers_media; /* a hello of DTLS with keys for media */
    bool in_sequence; /* datagrams before it began to count, see classify_sequence */
};

enum classify_result classify(struct table *table, uint32_t slot, const struct seen *seen, struct classified *what);

/* Whether what Python finds in a payload may change how it judges other flows. */
bool classify_entangles(const struct table *table, uint32_t slot, const struct seen *seen);

/* Whether a payload may change what is made of other flows, by its looks alone: what passive/ and verdicts/ keep for
   several flows is announcements (SIP, RTSP, FTP), FTP inside TLS, and hosts that run Skype. `first`: of its flow. */
bool classify_influences(const struct table *table, uint32_t slot, const struct seen *seen, bool first);

/* Append to the key; false where there is no room. */
bool classify_add(struct classified *what, const void *bytes, size_t size);

/* classify_tls.c */
bool classify_starts_tls(const uint8_t *data, size_t size);
/* `read`: the direction's first message is. */
enum classify_result classify_tls(struct table *table, uint32_t slot, const struct seen *seen, bool read,
                                  struct classified *what);
/* Of a datagram whose patterns are in the key already. */
enum classify_result classify_dtls(struct table *table, uint32_t slot, const struct seen *seen, struct classified *what);
/* Whether something was gathered of a direction whose first message is not read: its end is for Python. */
bool classify_tls_waits(const struct table *table, uint32_t slot, uint16_t flags);

/* Whether a side's first bytes begin with the other's. */
bool classify_is_echo(const struct lanes *lanes, const struct lane *lane, const struct seen *seen);

/* classify_quic.c; `*is_quic`: the reader does not look further. */
struct quic_readings *classify_quic_new(void);
void classify_quic_free(struct quic_readings *readings);
enum classify_result classify_quic(struct table *table, uint32_t slot, const struct seen *seen,
                                   struct classified *what, bool *is_quic);

/* classify_sequence.c: of a flow of datagrams that count, how this one follows; false where there is no room. */
enum { CLASSIFY_KEY_SEQUENCE = 1 << 7 }; /* in a key's first byte */
bool classify_sequence(const struct table *table, uint32_t slot, const struct seen *seen, struct classified *what);

/* Whether the end of a flow is for Python: its bytes are of nothing known, and may be of a host's that runs Skype. */
bool classify_doubtful(const struct table *table, uint32_t slot);

/* mDNS, LLMNR and NetBIOS names: DNS's format, other services. */
static inline bool classify_names_port(uint16_t port) { return port == 5353 || port == 5355 || port == 137; }

#endif
