/* Hellos of DTLS. protocols/dtls.py is the specification. */
#ifndef FLOWSONAR_DTLS_H
#define FLOWSONAR_DTLS_H

#include "tls.h"

enum { DTLS_NAME_SIZE = 5 };

/* Whether a datagram may begin with a ClientHello or ServerHello, by its first bytes. */
bool dtls_is_like_hello(const uint8_t *data, size_t size);

/* Read the hello that a datagram begins with, as far as it goes: TLS_CLIENT_HELLO, TLS_SERVER_HELLO or TLS_MALFORMED,
   which all else is. Versions are DTLS's own; places point into `hello->joined`. */
enum tls_first dtls_read_hello(const uint8_t *data, size_t size, struct tls_hello *hello);

/* `1.2`; a number that is none of DTLS's as hexadecimal. */
void dtls_version_name(uint16_t version, char name[DTLS_NAME_SIZE]);

#endif
