/* libFuzzer harness of the codecs: any bytes are read by each of them, from a buffer of exactly their length, and what
   is given back must lie inside it. The first byte chooses what is read; fuzz/run.sh builds and runs it. */
#include "dns.h"
#include "dtls.h"
#include "fuzzer.h"
#include "gquic.h"
#include "http.h"
#include "quic.h"
#include "tls.h"

static void check_hello(enum tls_first found, const struct tls_hello *hello) {
    if (found != TLS_CLIENT_HELLO && found != TLS_SERVER_HELLO) return;
    REQUIRE(hello->name_size <= 255);
    REQUIRE(hello->alpn_count <= TLS_ALPN_MAX);
    touch(hello->name, hello->name_size);
    for (uint8_t i = 0; i < hello->alpn_count; i++) {
        REQUIRE(hello->alpn[i].size > 0);
        touch(hello->alpn[i].data, hello->alpn[i].size);
    }
    REQUIRE(strlen(hello->ja4) == (found == TLS_CLIENT_HELLO && hello->complete ? JA4_SIZE - 1 : 0));
}

static void fuzz_tls(const uint8_t *data, size_t size, bool final) {
    static struct tls_hello hello;
    memset(&hello, 0xa5, sizeof hello);
    enum tls_first found = tls_read_first_flight(data, size, final, &hello);
    REQUIRE(!final || found != TLS_MORE);
    check_hello(found, &hello);
    found = tls_read_message(data, size, final, 'q', &hello);
    REQUIRE(!final || found != TLS_MORE);
    check_hello(found, &hello);
    if (tls_is_record_chain(data, size)) REQUIRE(tls_is_record(data, size));
    tls_is_sslv2_hello(data, size);
}

static void fuzz_dtls(const uint8_t *data, size_t size) {
    static struct tls_hello hello;
    char name[DTLS_NAME_SIZE];
    memset(&hello, 0xa5, sizeof hello);
    enum tls_first found = dtls_read_hello(data, size, &hello);
    REQUIRE(found == TLS_CLIENT_HELLO || found == TLS_SERVER_HELLO || found == TLS_MALFORMED);
    if (found == TLS_MALFORMED) return;
    REQUIRE(dtls_is_like_hello(data, size));
    check_hello(found, &hello);
    dtls_version_name(hello.version, name);
    REQUIRE(memchr(name, 0, sizeof name));
}

static void fuzz_dns(const uint8_t *data, size_t size) {
    static struct dns_message message;
    REQUIRE(dns_question_end(data, size) <= size);
    const uint8_t *inner = NULL;
    size_t length = dns_tcp_message(data, size, &inner);
    touch(inner, length);
    dns_agrees(data, size / 2, data + size / 2, size - size / 2, dns_question_end(data, size / 2));
    memset(&message, 0xa5, sizeof message);
    if (!dns_read_message(data, size, &message)) return;
    REQUIRE(message.addresses_count <= DNS_ADDRESSES_MAX);
    touch((const uint8_t *)message.name, message.name_size);
    for (uint8_t i = 0; i < message.addresses_count; i++) {
        char name[DNS_NAME_MAX];
        uint8_t name_size;
        size_t end;
        touch(message.addresses[i].address, message.addresses[i].size);
        REQUIRE(dns_name(data, size, message.addresses[i].name_at, name, &name_size, &end) && end <= size);
    }
}

static void touch_text(const struct http_text *text) { touch(text->data, text->size); }

static void fuzz_http(const uint8_t *data, size_t size) {
    struct http_request request;
    struct http_response response;
    const uint8_t *host = NULL;
    size_t host_size = http_host_of(data, size, &host);
    REQUIRE(host_size <= HTTP_TEXT_MAX);
    touch(host, host_size);
    http_is_request(data, size);
    if (http_read_request(data, size, &request)) {
        REQUIRE(request.method.size && request.target.size);
        touch_text(&request.method);
        touch_text(&request.target);
        touch_text(&request.version);
        touch_text(&request.host);
        touch_text(&request.user_agent);
    }
    if (http_read_response(data, size, &response)) {
        REQUIRE(response.status < 600);
        touch_text(&response.version);
        touch_text(&response.server);
    }
}

static void fuzz_gquic(const uint8_t *data, size_t size) {
    struct gquic_header header;
    struct gquic_hello hello;
    if (gquic_read_header(data, size, &header)) {
        REQUIRE(header.at <= size);
        touch(header.connection, 8);
        touch(header.version, header.version ? 4u + 4u * (header.versions ? header.versions - 1u : 0) : 0);
        if (gquic_find_hello(data, size, header.at, &hello)) touch(hello.name, hello.name_size);
    } else {
        REQUIRE(!gquic_is_header(data, size));
    }
    if (!gquic_read_hello(data, size, &hello)) return;
    touch(hello.name, hello.name_size);
    touch(hello.agent, hello.agent_size);
}

/* The bytes as a datagram; then as places and pieces of a handshake. What is behind a tag no fuzzer makes: frames are
   tested in tests/native. */
static void fuzz_quic(const uint8_t *data, size_t size) {
    static struct quic_initials initials;
    struct quic_packet packets[QUIC_PACKETS_MAX];
    memset(&initials, 0, sizeof initials);
    quic_is_long_header(data, size);
    REQUIRE(quic_negotiation(data, size) <= 64);
    size_t count = quic_read_packets(data, size, packets);
    for (size_t i = 0; i < count; i++) {
        REQUIRE(packets[i].start < packets[i].at && packets[i].at <= packets[i].end && packets[i].end <= size);
        touch(packets[i].destination, packets[i].destination_size);
        touch(packets[i].source, packets[i].source_size);
        touch(packets[i].token, packets[i].token_size);
        if (packets[i].kind == QUIC_INITIAL) quic_open(&initials, data, &packets[i], 0);
    }
    for (size_t at = 0; size - at >= 4; at += 4) { /* pieces in any order */
        size_t length = data[at + 2] < size - at - 4 ? data[at + 2] : size - at - 4;
        quic_pieces_add(&initials.crypto[0], (uint64_t)(data[at] << 8 | data[at + 1]), data + at + 4, length);
    }
    const struct quic_pieces *pieces = &initials.crypto[0];
    REQUIRE(pieces->count <= QUIC_PIECES_MAX);
    for (uint8_t i = 0; i < pieces->count; i++) {
        REQUIRE(pieces->runs[i].begin < pieces->runs[i].end && pieces->runs[i].end <= QUIC_CRYPTO_MAX);
        REQUIRE(!i || pieces->runs[i - 1].end < pieces->runs[i].begin);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    uint8_t *exact = malloc(size > 1 ? size - 1 : 1);
    REQUIRE(exact);
    memcpy(exact, data + 1, size - 1);
    switch (data[0] >> 1) {
    case 1: fuzz_dns(exact, size - 1); break;
    case 2: fuzz_http(exact, size - 1); break;
    case 3: fuzz_gquic(exact, size - 1); break;
    case 4: fuzz_quic(exact, size - 1); break;
    case 5: fuzz_dtls(exact, size - 1); break;
    default: fuzz_tls(exact, size - 1, data[0] & 1); break;
    }
    free(exact);
    return 0;
}
