#include "quic_keys.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "sha256.h"

enum { SALT = 20, LABEL_MAX = 20 };

static const uint8_t SALT_V1[SALT] = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
                                      0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a};
static const uint8_t SALT_V2[SALT] = {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
                                      0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9};
static const uint8_t SALT_V2_DRAFT[SALT] = {0xa7, 0x07, 0xc2, 0x03, 0xa5, 0x9b, 0x47, 0x18, 0x4a, 0x1d,
                                            0x62, 0xca, 0x57, 0x04, 0x06, 0xea, 0x7a, 0xe3, 0xe5, 0xd3};
static const uint8_t SALT_29[SALT] = {0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97,
                                      0x86, 0xf1, 0x9c, 0x61, 0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99};
static const uint8_t SALT_23[SALT] = {0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7,
                                      0xd2, 0x43, 0x2b, 0xb4, 0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02};
static const uint8_t SALT_22[SALT] = {0x7f, 0xbc, 0xdb, 0x0e, 0x7c, 0x66, 0xbb, 0xe9, 0x19, 0x3a,
                                      0x96, 0xcd, 0x21, 0x51, 0x9e, 0xbd, 0x7a, 0x02, 0x64, 0x4a};
static const uint8_t SALT_Q050[SALT] = {0x50, 0x45, 0x74, 0xef, 0xd0, 0x66, 0xfe, 0x2f, 0x9d, 0x94,
                                        0x5c, 0xfc, 0xdb, 0xd3, 0xa7, 0xf0, 0xd3, 0xb5, 0x6b, 0x45};
static const uint8_t SALT_T050[SALT] = {0x7f, 0xf5, 0x79, 0xe5, 0xac, 0xd0, 0x72, 0x91, 0x55, 0x80,
                                        0x30, 0x4c, 0x43, 0xa2, 0x36, 0x7c, 0x60, 0x48, 0x83, 0x10};
static const uint8_t SALT_T051[SALT] = {0x7a, 0x4e, 0xde, 0xf4, 0xe7, 0xcc, 0xee, 0x5f, 0xa4, 0x50,
                                        0x6c, 0x19, 0x12, 0x4f, 0xc8, 0xcc, 0xda, 0x6e, 0x03, 0x3d};

struct quic_scheme quic_scheme_of(uint32_t version) {
    struct quic_scheme scheme = {NULL, false, 0, 0x06, true};
    switch (version) {
    case 0x00000001: scheme.salt = SALT_V1; return scheme;
    case 0x6b3343cf: return (struct quic_scheme){SALT_V2, true, 1, 0x06, true};
    case 0xff020000: return (struct quic_scheme){SALT_V2_DRAFT, true, 0, 0x06, true}; /* its first draft */
    case 0x51303530: return (struct quic_scheme){SALT_Q050, false, 0, 0x08, false};
    case 0x54303530: return (struct quic_scheme){SALT_T050, false, 0, 0x08, true};
    case 0x54303531: return (struct quic_scheme){SALT_T051, false, 0, 0x08, true};
    case 0xfaceb001: scheme.salt = SALT_22; return scheme; /* Facebook's own numbers for drafts 22 and 27 */
    case 0xfaceb002:
    case 0xfaceb00e: scheme.salt = SALT_23; return scheme;
    default: break;
    }
    uint32_t draft = version & 0xff;
    if (version >> 8 != 0xff0000 || draft < 22 || draft > 34) return scheme;
    scheme.salt = draft == 22 ? SALT_22 : draft < 29 ? SALT_23 : draft < 33 ? SALT_29 : SALT_V1;
    return scheme;
}

/* -- HKDF --------------------------------------------------------------------------------------------------------- */

/* RFC 2104, with a key of at most one block: both hashes after the key, from which each message goes on. */
struct hmac {
    struct sha256 inner, outer;
};

static void hmac_begin(struct hmac *hmac, const uint8_t *key, size_t size) {
    uint8_t block[SHA256_BLOCK] = {0};
    assert(size <= sizeof block);
    memcpy(block, key, size);
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36;
    sha256_begin(&hmac->inner);
    sha256_add(&hmac->inner, block, sizeof block);
    for (size_t i = 0; i < sizeof block; i++) block[i] ^= 0x36 ^ 0x5c;
    sha256_begin(&hmac->outer);
    sha256_add(&hmac->outer, block, sizeof block);
}

static void hmac_of(const struct hmac *hmac, const uint8_t *data, size_t size, uint8_t digest[SHA256_SIZE]) {
    struct sha256 hash = hmac->inner;
    sha256_add(&hash, data, size);
    sha256_end(&hash, digest);
    hash = hmac->outer;
    sha256_add(&hash, digest, SHA256_SIZE);
    sha256_end(&hash, digest);
}

/* HKDF-Expand-Label (RFC 8446 section 7.1) of at most one block, without a context. */
static void expand(const struct hmac *secret, const char *label, const char *what, uint8_t size,
                   uint8_t out[SHA256_SIZE]) {
    uint8_t info[4 + 6 + LABEL_MAX + 2] = {0, size};
    size_t used = 3;
    for (const char *parts[] = {"tls13 ", label, what, NULL}, **part = parts; *part; part++) {
        memcpy(info + used, *part, strlen(*part));
        used += strlen(*part);
    }
    info[2] = (uint8_t)(used - 3);
    info[used++] = 0;
    info[used++] = 1;
    hmac_of(secret, info, used, out);
}

void quic_make_keys(const struct quic_scheme *scheme, const uint8_t *destination, size_t size,
                    struct quic_keys keys[2]) {
    const char *label = scheme->second ? "quicv2 " : "quic ";
    uint8_t value[SHA256_SIZE];
    struct hmac hmac, secret;
    hmac_begin(&hmac, scheme->salt, SALT);
    hmac_of(&hmac, destination, size, value);
    hmac_begin(&hmac, value, sizeof value);
    for (int side = 0; side < 2; side++) {
        expand(&hmac, side ? "server" : "client", " in", SHA256_SIZE, value);
        hmac_begin(&secret, value, sizeof value);
        expand(&secret, label, "key", AES_BLOCK, value);
        aes_begin(&keys[side].packet, value);
        expand(&secret, label, "hp", AES_BLOCK, value);
        aes_begin(&keys[side].header, value);
        expand(&secret, label, "iv", GCM_IV, value);
        memcpy(keys[side].iv, value, GCM_IV);
    }
}

/* -- protection --------------------------------------------------------------------------------------------------- */

/* RFC 9001 section 5.4: header protection first, whose mask hides the packet number and its length. */
bool quic_open_packet(const struct quic_keys *keys, const uint8_t *packet, size_t size, size_t at, uint8_t *plain,
                      size_t *payload, size_t *payload_size) {
    uint8_t mask[AES_BLOCK], iv[GCM_IV];
    if (at > size || size - at < 4 + AES_BLOCK) return false;
    aes_block(&keys->header, packet + at + 4, mask);
    memcpy(plain, packet, at + 4);
    plain[0] ^= mask[0] & 0x0f;
    size_t number = (plain[0] & 3u) + 1u;
    memcpy(iv, keys->iv, sizeof iv);
    for (size_t i = 0; i < number; i++) {
        plain[at + i] ^= mask[1 + i];
        iv[GCM_IV - number + i] ^= plain[at + i];
    }
    *payload = at + number;
    *payload_size = size - *payload - GCM_TAG;
    return gcm_open(&keys->packet, iv, plain, *payload, packet + *payload, size - *payload, plain + *payload);
}
