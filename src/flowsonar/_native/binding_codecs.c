#include "binding_codecs.h"

#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "sha256.h"
#include "tls.h"

/* Bytes that may be missing: None. */
static PyObject *bytes_or_none(const uint8_t *data, size_t size) {
    if (!data || !size) Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
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
static PyObject *codec_tls_looks(PyObject *module, PyObject *args) {
    Py_buffer data;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*:tls_looks", &data)) return NULL;
    uint8_t *copy = exact_copy(&data);
    size_t size = (size_t)data.len;
    if (copy)
        result = Py_BuildValue("NNN", PyBool_FromLong(tls_is_record(copy, size)),
                               PyBool_FromLong(tls_is_record_chain(copy, size)),
                               PyBool_FromLong(tls_is_sslv2_hello(copy, size)));
    free(copy);
    PyBuffer_Release(&data);
    return result;
}

PyMethodDef codecs_methods[] = {
    {"codec_sha256", codec_sha256, METH_VARARGS, "sha256(data): its digest"},
    {"codec_forbid", codec_forbid, METH_VARARGS, "forbid(features): do without them"},
    {"codec_tls_first_flight", codec_tls_first_flight, METH_VARARGS, "first_flight(data, final): see tls.h"},
    {"codec_tls_message", codec_tls_message, METH_VARARGS, "message(data, final, transport): see tls.h"},
    {"codec_tls_looks", codec_tls_looks, METH_VARARGS, "looks(data): record, chain, SSL 2 hello"},
    {NULL, NULL, 0, NULL},
};
