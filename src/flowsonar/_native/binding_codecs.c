#include "binding_codecs.h"

#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "dns.h"
#include "dtls.h"
#include "http.h"
#include "randomness.h"
#include "sha1.h"
#include "sha256.h"
#include "tls.h"

/* Bytes that may be missing: None. */
static PyObject *bytes_or_none(const uint8_t *data, size_t size) {
    if (!data || !size) Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
}

static PyObject *codec_sha1(PyObject *module, PyObject *args) {
    Py_buffer data;
    uint8_t digest[SHA1_SIZE];
    (void)module;
    if (!PyArg_ParseTuple(args, "y*:sha1", &data)) return NULL;
    bool fits = data.len <= SHA1_ONE_BLOCK;
    if (fits) sha1_short(data.buf, (size_t)data.len, digest);
    PyBuffer_Release(&data);
    if (fits) return PyBytes_FromStringAndSize((const char *)digest, SHA1_SIZE);
    PyErr_SetString(PyExc_ValueError, "more than one block");
    return NULL;
}

static PyObject *codec_sha256(PyObject *module, PyObject *args) {
    Py_buffer data;
    uint8_t digest[SHA256_SIZE];
    struct sha256 hash;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*:sha256", &data)) return NULL;
    sha256_begin(&hash);
    sha256_add(&hash, data.buf, (size_t)data.len);
    sha256_end(&hash, digest);
    PyBuffer_Release(&data);
    return PyBytes_FromStringAndSize((const char *)digest, SHA256_SIZE);
}

/* Do as if the processor could not do these: bits of enum cpu_feature. */
static PyObject *codec_forbid(PyObject *module, PyObject *args) {
    unsigned features;
    (void)module;
    if (!PyArg_ParseTuple(args, "I:forbid", &features)) return NULL;
    cpu_forbid(features);
    Py_RETURN_NONE;
}

static PyObject *alpn_list(const struct tls_hello *hello) {
    PyObject *list = PyList_New(hello->alpn_count);
    for (uint8_t i = 0; list && i < hello->alpn_count; i++) {
        PyObject *name = PyBytes_FromStringAndSize((const char *)hello->alpn[i].data, hello->alpn[i].size);
        if (!name || PyList_SetItem(list, i, name) < 0) Py_CLEAR(list);
    }
    return list;
}

/* None: more bytes are needed; False: malformed; else what was read. */
static PyObject *tls_result(enum tls_first found, const struct tls_hello *hello) {
    switch (found) {
    case TLS_MORE: Py_RETURN_NONE;
    case TLS_MALFORMED: Py_RETURN_FALSE;
    case TLS_ALERT: return Py_BuildValue("sii", "alert", hello->alert_level, hello->alert);
    case TLS_SERVER_HELLO:
        return Py_BuildValue("siiNN", "server", hello->version, hello->cipher, alpn_list(hello),
                             PyBool_FromLong(hello->retry));
    case TLS_CLIENT_HELLO: break;
    }
    return Py_BuildValue("siNNNNNs", "client", hello->version, bytes_or_none(hello->name, hello->name_size),
                         alpn_list(hello), PyBool_FromLong(hello->alpn_more), PyBool_FromLong(hello->ech),
                         PyBool_FromLong(hello->complete), hello->ja4);
}

/* A copy of exactly the bytes, so that a sanitizer sees every read beyond them; free it. */
static uint8_t *exact_copy(const Py_buffer *data) {
    uint8_t *copy = malloc(data->len ? (size_t)data->len : 1);
    if (copy && data->len) memcpy(copy, data->buf, (size_t)data->len);
    if (!copy) PyErr_NoMemory();
    return copy;
}

/* Call `read` with such a copy. */
static PyObject *read_bytes(PyObject *args, PyObject *(*read)(const uint8_t *data, size_t size)) {
    Py_buffer data;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*:codec", &data)) return NULL;
    uint8_t *copy = exact_copy(&data);
    if (copy) result = read(copy, (size_t)data.len);
    free(copy);
    PyBuffer_Release(&data);
    return result;
}

static PyObject *codec_tls_first_flight(PyObject *module, PyObject *args) {
    Py_buffer data;
    int final;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*p:tls_first_flight", &data, &final)) return NULL;
    uint8_t *copy = exact_copy(&data);
    struct tls_hello *hello = malloc(sizeof *hello);
    if (copy && hello) result = tls_result(tls_read_first_flight(copy, (size_t)data.len, final, hello), hello);
    free(hello);
    free(copy);
    PyBuffer_Release(&data);
    return result;
}

static PyObject *codec_tls_message(PyObject *module, PyObject *args) {
    Py_buffer data;
    int final, transport;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*pC:tls_message", &data, &final, &transport)) return NULL;
    uint8_t *copy = exact_copy(&data);
    struct tls_hello *hello = malloc(sizeof *hello);
    if (copy && hello)
        result = tls_result(tls_read_message(copy, (size_t)data.len, final, (char)transport, hello), hello);
    free(hello);
    free(copy);
    PyBuffer_Release(&data);
    return result;
}

/* Is it a record, a chain of records, a hello in SSL 2 framing? */
static PyObject *dtls_hello(const uint8_t *data, size_t size) {
    struct tls_hello *hello = malloc(sizeof *hello);
    if (!hello) return PyErr_NoMemory();
    enum tls_first found = dtls_read_hello(data, size, hello);
    bool media = found == TLS_CLIENT_HELLO && hello->use_srtp;
    PyObject *result = Py_BuildValue("NN", tls_result(found, hello), PyBool_FromLong(media));
    free(hello);
    return result;
}

static PyObject *codec_dtls_hello(PyObject *module, PyObject *args) {
    (void)module;
    return read_bytes(args, dtls_hello);
}

static PyObject *tls_looks(const uint8_t *data, size_t size) {
    return Py_BuildValue("NNN", PyBool_FromLong(tls_is_record(data, size)),
                         PyBool_FromLong(tls_is_record_chain(data, size)),
                         PyBool_FromLong(tls_is_sslv2_hello(data, size)));
}

static PyObject *codec_tls_looks(PyObject *module, PyObject *args) {
    (void)module;
    return read_bytes(args, tls_looks);
}

/* -- DNS ---------------------------------------------------------------------------------------------------------- */

/* Where the question ends; the message behind TCP's length. */
static PyObject *dns_looks(const uint8_t *data, size_t size) {
    const uint8_t *message = NULL;
    size_t length = dns_tcp_message(data, size, &message);
    return Py_BuildValue("nN", (Py_ssize_t)dns_question_end(data, size), bytes_or_none(message, length));
}

static PyObject *dns_addresses(const uint8_t *data, size_t size, const struct dns_message *message) {
    PyObject *list = PyList_New(message->addresses_count);
    for (uint8_t i = 0; list && i < message->addresses_count; i++) {
        const struct dns_address *address = &message->addresses[i];
        char name[DNS_NAME_MAX];
        uint8_t name_size = 0;
        size_t end;
        dns_name(data, size, address->name_at, name, &name_size, &end);
        PyObject *pair = Py_BuildValue("y#y#", name, (Py_ssize_t)name_size, (const char *)address->address,
                                       (Py_ssize_t)address->size);
        if (!pair || PyList_SetItem(list, i, pair) < 0) Py_CLEAR(list);
    }
    return list;
}

static PyObject *dns_whole(const uint8_t *data, size_t size) {
    struct dns_message message;
    if (!dns_read_message(data, size, &message)) Py_RETURN_FALSE;
    PyObject *question = message.asks ? Py_BuildValue("y#ii", message.name, (Py_ssize_t)message.name_size,
                                                      message.type, message.klass)
                                      : Py_BuildValue("");
    return Py_BuildValue("iNiNNNN", message.id, PyBool_FromLong(message.response), message.rcode, question,
                         dns_addresses(data, size, &message), PyBool_FromLong(message.addresses_more),
                         PyBool_FromLong(message.complete));
}

static PyObject *codec_dns_looks(PyObject *module, PyObject *args) {
    (void)module;
    return read_bytes(args, dns_looks);
}

static PyObject *codec_dns_message(PyObject *module, PyObject *args) {
    (void)module;
    return read_bytes(args, dns_whole);
}

static PyObject *codec_dns_agrees(PyObject *module, PyObject *args) {
    Py_buffer query, response;
    Py_ssize_t end;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*n:dns_agrees", &query, &response, &end)) return NULL;
    bool agrees = dns_agrees(query.buf, (size_t)query.len, response.buf, (size_t)response.len, (size_t)end);
    PyBuffer_Release(&query);
    PyBuffer_Release(&response);
    return PyBool_FromLong(agrees);
}

/* -- HTTP --------------------------------------------------------------------------------------------------------- */

static PyObject *text_or_none(const struct http_text *text) { return bytes_or_none(text->data, text->size); }

/* Is it a request, a response; which host? */
static PyObject *http_looks(const uint8_t *data, size_t size) {
    const uint8_t *host = NULL;
    size_t length = http_host_of(data, size, &host);
    return Py_BuildValue("NNN", PyBool_FromLong(http_is_request(data, size)),
                         PyBool_FromLong(http_is_response(data, size)), bytes_or_none(host, length));
}

static PyObject *http_request(const uint8_t *data, size_t size) {
    struct http_request request;
    if (!http_read_request(data, size, &request)) Py_RETURN_FALSE;
    return Py_BuildValue("NNNNN", text_or_none(&request.method), text_or_none(&request.target),
                         text_or_none(&request.version), text_or_none(&request.host),
                         text_or_none(&request.user_agent));
}

static PyObject *http_response(const uint8_t *data, size_t size) {
    struct http_response response;
    if (!http_read_response(data, size, &response)) Py_RETURN_FALSE;
    return Py_BuildValue("NiN", text_or_none(&response.version), response.status, text_or_none(&response.server));
}

static PyObject *codec_http_looks(PyObject *module, PyObject *args) {
    (void)module;
    return read_bytes(args, http_looks);
}

static PyObject *codec_http_request(PyObject *module, PyObject *args) {
    (void)module;
    return read_bytes(args, http_request);
}

static PyObject *codec_http_response(PyObject *module, PyObject *args) {
    (void)module;
    return read_bytes(args, http_response);
}

static PyObject *is_random(const uint8_t *data, size_t size) { return PyBool_FromLong(looks_random(data, size)); }

static PyObject *codec_random(PyObject *module, PyObject *args) {
    (void)module;
    return read_bytes(args, is_random);
}

PyMethodDef codecs_methods[] = {
    {"codec_random", codec_random, METH_VARARGS, "random(data): whether it looks random"},
    {"codec_sha1", codec_sha1, METH_VARARGS, "sha1(data): of at most SHA1_ONE_BLOCK bytes"},
    {"codec_sha256", codec_sha256, METH_VARARGS, "sha256(data): its digest"},
    {"codec_forbid", codec_forbid, METH_VARARGS, "forbid(features): do without them"},
    {"codec_tls_first_flight", codec_tls_first_flight, METH_VARARGS, "first_flight(data, final): see tls.h"},
    {"codec_tls_message", codec_tls_message, METH_VARARGS, "message(data, final, transport): see tls.h"},
    {"codec_dtls_hello", codec_dtls_hello, METH_VARARGS, "dtls_hello(data): see dtls.h; whether media is offered"},
    {"codec_tls_looks", codec_tls_looks, METH_VARARGS, "looks(data): record, chain, SSL 2 hello"},
    {"codec_dns_looks", codec_dns_looks, METH_VARARGS, "looks(data): end of the question, message behind TCP's length"},
    {"codec_dns_message", codec_dns_message, METH_VARARGS, "message(data): see dns.h"},
    {"codec_dns_agrees", codec_dns_agrees, METH_VARARGS, "agrees(query, response, end): see dns.h"},
    {"codec_http_looks", codec_http_looks, METH_VARARGS, "looks(data): request, response, host"},
    {"codec_http_request", codec_http_request, METH_VARARGS, "request(data): see http.h"},
    {"codec_http_response", codec_http_response, METH_VARARGS, "response(data): see http.h"},
    {"codec_aes", codec_aes, METH_VARARGS, "aes(key, block): the block encrypted"},
    {"codec_gcm_open", codec_gcm_open, METH_VARARGS, "gcm_open(key, iv, header, sealed): None where the tag is wrong"},
    {"codec_quic_looks", codec_quic_looks, METH_VARARGS, "looks(data): long header, versions offered, packets"},
    {"codec_quic_connection", codec_quic_connection, METH_VARARGS, "connection(datagrams): sides and handshake bytes"},
    {"codec_quic_pieces", codec_quic_pieces, METH_VARARGS, "pieces([(offset, data)]): taken or not, and the head"},
    {"codec_gquic", codec_gquic, METH_VARARGS, "gquic(data): see gquic.h"},
    {NULL, NULL, 0, NULL},
};
