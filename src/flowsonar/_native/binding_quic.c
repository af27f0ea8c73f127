/* The QUIC codecs as functions of the module, for the tests. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "binding_codecs.h"
#include "gquic.h"
#include "quic.h"

static PyObject *bytes_of(const uint8_t *data, size_t size) {
    return PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
}

/* A copy of exactly the bytes, so that a sanitizer sees every read beyond them; free it. */
static uint8_t *exact_copy(const char *data, Py_ssize_t size) {
    uint8_t *copy = malloc(size ? (size_t)size : 1);
    if (copy && size) memcpy(copy, data, (size_t)size);
    if (!copy) PyErr_NoMemory();
    return copy;
}

PyObject *codec_aes(PyObject *module, PyObject *args) {
    const char *key, *block;
    Py_ssize_t key_size, block_size;
    uint8_t out[AES_BLOCK];
    struct aes aes;
    (void)module;
    if (!PyArg_ParseTuple(args, "y#y#:aes", &key, &key_size, &block, &block_size)) return NULL;
    if (key_size != AES_BLOCK || block_size != AES_BLOCK) return PyErr_Format(PyExc_ValueError, "16 bytes each");
    aes_begin(&aes, (const uint8_t *)key);
    aes_block(&aes, (const uint8_t *)block, out);
    return bytes_of(out, sizeof out);
}

PyObject *codec_gcm_open(PyObject *module, PyObject *args) {
    const char *key, *iv, *header, *sealed;
    Py_ssize_t key_size, iv_size, header_size, size;
    struct aes aes;
    (void)module;
    if (!PyArg_ParseTuple(args, "y#y#y#y#:gcm_open", &key, &key_size, &iv, &iv_size, &header, &header_size, &sealed,
                          &size))
        return NULL;
    if (key_size != AES_BLOCK || iv_size != GCM_IV) return PyErr_Format(PyExc_ValueError, "16 and 12 bytes");
    uint8_t *copy = exact_copy(sealed, size), *plain = malloc(size ? (size_t)size : 1);
    PyObject *result = NULL;
    if (copy && plain) {
        aes_begin(&aes, (const uint8_t *)key);
        if (gcm_open(&aes, (const uint8_t *)iv, (const uint8_t *)header, (size_t)header_size, copy, (size_t)size, plain))
            result = bytes_of(plain, (size_t)size - GCM_TAG);
        else
            result = Py_NewRef(Py_None);
    }
    free(copy);
    free(plain);
    return result;
}

static PyObject *packet_tuple(const struct quic_packet *packet) {
    return Py_BuildValue("iKNNNnnn", packet->kind, (unsigned long long)packet->version,
                         bytes_of(packet->destination, packet->destination_size),
                         bytes_of(packet->source, packet->source_size), bytes_of(packet->token, packet->token_size),
                         (Py_ssize_t)packet->start, (Py_ssize_t)packet->at, (Py_ssize_t)packet->end);
}

PyObject *codec_quic_looks(PyObject *module, PyObject *args) {
    const char *data;
    Py_ssize_t size;
    struct quic_packet packets[QUIC_PACKETS_MAX];
    (void)module;
    if (!PyArg_ParseTuple(args, "y#:quic_looks", &data, &size)) return NULL;
    uint8_t *copy = exact_copy(data, size);
    if (!copy) return NULL;
    size_t count = quic_read_packets(copy, (size_t)size, packets);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *packet = packet_tuple(&packets[i]);
        if (!packet || PyList_Append(list, packet) < 0) Py_CLEAR(list);
        Py_XDECREF(packet);
    }
    PyObject *result = Py_BuildValue("NnN", PyBool_FromLong(quic_is_long_header(copy, (size_t)size)),
                                     (Py_ssize_t)quic_negotiation(copy, (size_t)size), list);
    free(copy);
    return result;
}

/* Open every Initial of a datagram; false after an error. */
static bool open_all(struct quic_initials *initials, PyObject *datagram, PyObject *sides) {
    struct quic_packet packets[QUIC_PACKETS_MAX];
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(datagram, &data, &size) < 0) return false;
    uint8_t *copy = exact_copy(data, size);
    if (!copy) return false;
    bool good = true;
    size_t count = quic_read_packets(copy, (size_t)size, packets);
    for (size_t i = 0; good && i < count; i++) {
        if (packets[i].kind != QUIC_INITIAL) continue;
        PyObject *side = PyLong_FromLong(quic_open(initials, copy, &packets[i], 0));
        good = side && PyList_Append(sides, side) == 0;
        Py_XDECREF(side);
    }
    free(copy);
    return good;
}

PyObject *codec_quic_connection(PyObject *module, PyObject *args) {
    PyObject *datagrams, *sides = PyList_New(0), *result = NULL;
    struct quic_initials *initials = calloc(1, sizeof *initials);
    const uint8_t *client, *server;
    bool good = sides && initials && PyArg_ParseTuple(args, "O:quic_connection", &datagrams);
    (void)module;
    for (Py_ssize_t i = 0, count = good ? PySequence_Size(datagrams) : 0; good && i < count; i++) {
        PyObject *datagram = PySequence_GetItem(datagrams, i);
        good = datagram && open_all(initials, datagram, sides);
        Py_XDECREF(datagram);
    }
    if (good) {
        size_t client_size = quic_head(initials, 0, &client), server_size = quic_head(initials, 1, &server);
        result = Py_BuildValue("ONNN", sides, bytes_of(client, client_size), bytes_of(server, server_size),
                               bytes_of(initials->destination, initials->destination_size));
    } else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    Py_XDECREF(sides);
    free(initials);
    return result;
}

PyObject *codec_quic_pieces(PyObject *module, PyObject *args) {
    PyObject *parts, *taken = PyList_New(0), *result = NULL;
    struct quic_initials *initials = calloc(1, sizeof *initials);
    bool good = taken && initials && PyArg_ParseTuple(args, "O:quic_pieces", &parts);
    (void)module;
    for (Py_ssize_t i = 0, count = good ? PySequence_Size(parts) : 0; good && i < count; i++) {
        unsigned long long offset;
        const char *data;
        Py_ssize_t size;
        PyObject *part = PySequence_GetItem(parts, i), *done = NULL;
        good = part && PyArg_ParseTuple(part, "Ky#", &offset, &data, &size);
        if (good) {
            done = PyBool_FromLong(
                quic_pieces_add(&initials->crypto[0], offset, (const uint8_t *)data, (size_t)size));
            good = done && PyList_Append(taken, done) == 0;
        }
        Py_XDECREF(done);
        Py_XDECREF(part);
    }
    if (good) {
        const uint8_t *head;
        size_t size = quic_head(initials, 0, &head);
        result = Py_BuildValue("ON", taken, bytes_of(head, size));
    }
    Py_XDECREF(taken);
    free(initials);
    return result;
}

static PyObject *hello_tuple(const struct gquic_hello *hello) {
    static const char *const names[] = {
        [GQUIC_CHLO] = "CHLO", [GQUIC_REJ] = "REJ", [GQUIC_SHLO] = "SHLO", [GQUIC_SREJ] = "SREJ"};
    return Py_BuildValue("sNN", names[hello->kind], bytes_of(hello->name, hello->name_size),
                         bytes_of(hello->agent, hello->agent_size));
}

/* Is it a header that names its version; the header; the hello behind it; the bytes as a hello. */
PyObject *codec_gquic(PyObject *module, PyObject *args) {
    const char *data;
    Py_ssize_t size;
    struct gquic_header header;
    struct gquic_hello hello;
    (void)module;
    if (!PyArg_ParseTuple(args, "y#:gquic", &data, &size)) return NULL;
    uint8_t *copy = exact_copy(data, size);
    if (!copy) return NULL;
    bool good = gquic_read_header(copy, (size_t)size, &header);
    PyObject *read = good ? Py_BuildValue("NNNin", bytes_of(header.version, header.version ? 4 : 0),
                                          bytes_of(header.connection, 8), PyBool_FromLong(header.is_long),
                                          header.versions, (Py_ssize_t)header.at)
                          : PyBool_FromLong(0);
    good = good && gquic_find_hello(copy, (size_t)size, header.at, &hello);
    PyObject *found = good ? hello_tuple(&hello) : Py_NewRef(Py_None);
    good = gquic_read_hello(copy, (size_t)size, &hello);
    PyObject *bare = good ? hello_tuple(&hello) : PyBool_FromLong(0);
    PyObject *result = Py_BuildValue("NNNN", PyBool_FromLong(gquic_is_header(copy, (size_t)size)), read, found, bare);
    free(copy);
    return result;
}
