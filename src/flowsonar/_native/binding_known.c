/* What Python tells the fast lane of endpoints, live, and what it hears from there. */
#include <string.h>

#include "askable.h"
#include "binding.h"
#include "known.h"
#include "lane.h"

static struct known *known_of(const FlowTable *self) {
    struct lanes *lanes = table_lanes(self->table);
    struct known *known = lanes ? lane_known(lanes) : NULL;
    if (!known) PyErr_SetString(PyExc_RuntimeError, "this table is not live");
    return known;
}

PyObject *known_py_live(FlowTable *self, PyObject *args) {
    unsigned long long clock_ns;
    unsigned int life_s;
    struct lanes *lanes = table_lanes(self->table);
    if (!PyArg_ParseTuple(args, "KI:live", &clock_ns, &life_s)) return NULL;
    if (!lanes) {
        PyErr_SetString(PyExc_RuntimeError, "this table has no fast lane");
        return NULL;
    }
    if (flow_table_enter(self)) return NULL;
    bool done = lane_live(lanes, clock_ns, life_s);
    self->busy = 0;
    if (done) Py_RETURN_NONE;
    return PyErr_NoMemory();
}

PyObject *known_py_add(FlowTable *self, PyObject *args) {
    struct known_kind kind;
    const char *mark;
    Py_ssize_t size;
    unsigned int *verdicts = kind.verdicts;
    struct known *known = known_of(self);
    if (!known || !PyArg_ParseTuple(args, "y#III:add_known", &mark, &size, &verdicts[0], &verdicts[1], &verdicts[2]))
        return NULL;
    bool good = size == KNOWN_MARK;
    for (int i = 0; i < KNOWN_VIEWS; i++) good = good && verdicts[i] <= lines_verdicts(self->lines);
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "not a mark, or no such verdict");
        return NULL;
    }
    memcpy(kind.mark, mark, KNOWN_MARK);
    if (flow_table_enter(self)) return NULL;
    uint32_t number = known_add(known, &kind);
    self->busy = 0;
    return number ? PyLong_FromUnsignedLong(number) : PyErr_NoMemory();
}

/* False and an exception where the address is none. */
static bool take_endpoint(struct known_endpoint *endpoint, const char *address, Py_ssize_t size, unsigned short port,
                          unsigned char protocol) {
    if (size != 4 && size != 16) {
        PyErr_SetString(PyExc_ValueError, "an address has 4 or 16 bytes");
        return false;
    }
    *endpoint = (struct known_endpoint){.port = port, .protocol = protocol, .version = size == 4 ? 4 : 6};
    memcpy(endpoint->address, address, (size_t)size);
    return true;
}

PyObject *known_py_leave(FlowTable *self, PyObject *args) {
    struct known_endpoint endpoint;
    const char *address;
    Py_ssize_t size;
    unsigned short port;
    unsigned char protocol;
    unsigned int until_s;
    struct known *known = known_of(self);
    if (!known || !PyArg_ParseTuple(args, "y#HbI:leave", &address, &size, &port, &protocol, &until_s)) return NULL;
    if (!take_endpoint(&endpoint, address, size, port, protocol) || flow_table_enter(self)) return NULL;
    known_leave(known, &endpoint, until_s);
    self->busy = 0;
    Py_RETURN_NONE;
}

PyObject *known_py_know(FlowTable *self, PyObject *args) {
    struct known_endpoint endpoint;
    const char *address;
    Py_ssize_t size;
    unsigned short port;
    unsigned char protocol;
    unsigned int number, until_s, renew_s;
    struct known *known = known_of(self);
    if (!known ||
        !PyArg_ParseTuple(args, "y#HbIII:know", &address, &size, &port, &protocol, &number, &until_s, &renew_s))
        return NULL;
    if (number && number != KNOWN_UNSURE && !known_kind(known, number)) {
        PyErr_SetString(PyExc_ValueError, "an address has 4 or 16 bytes, and a number is one that add_known gave");
        return NULL;
    }
    if (!take_endpoint(&endpoint, address, size, port, protocol) || flow_table_enter(self)) return NULL;
    known_put(known, &endpoint, number, until_s, renew_s);
    self->busy = 0;
    Py_RETURN_NONE;
}

PyObject *known_py_ask(FlowTable *self, PyObject *args) {
    const char *entries;
    Py_ssize_t size;
    if (!known_of(self) || !PyArg_ParseTuple(args, "y#:ask", &entries, &size)) return NULL;
    struct askable *askable = NULL;
    if (size % ASKABLE_ENTRY == 0) askable = askable_new((const uint8_t *)entries, (size_t)size / ASKABLE_ENTRY);
    if (!askable) {
        PyErr_SetString(PyExc_ValueError, "not networks, or too many");
        return NULL;
    }
    if (flow_table_enter(self)) {
        askable_free(askable);
        return NULL;
    }
    lane_ask(table_lanes(self->table), askable);
    self->busy = 0;
    Py_RETURN_NONE;
}

PyObject *known_py_settle(FlowTable *self, PyObject *argument) {
    unsigned long verdict = PyLong_AsUnsignedLong(argument);
    struct known *known = known_of(self);
    if (!known || (verdict == (unsigned long)-1 && PyErr_Occurred())) return NULL;
    if (!verdict || verdict > lines_verdicts(self->lines)) {
        PyErr_SetString(PyExc_ValueError, "no such verdict");
        return NULL;
    }
    if (flow_table_enter(self)) return NULL;
    bool done = known_settle(known, (uint32_t)verdict);
    self->busy = 0;
    if (done) Py_RETURN_NONE;
    return PyErr_NoMemory();
}

PyObject *known_py_teach(FlowTable *self, PyObject *args) {
    unsigned int verdict, number;
    struct known *known = known_of(self);
    if (!known || !PyArg_ParseTuple(args, "II:teach", &verdict, &number)) return NULL;
    if (!verdict || verdict > lines_verdicts(self->lines) || (number && !known_kind(known, number))) {
        PyErr_SetString(PyExc_ValueError, "no such verdict or number");
        return NULL;
    }
    if (flow_table_enter(self)) return NULL;
    bool done = known_teach(known, verdict, number);
    self->busy = 0;
    if (done) Py_RETURN_NONE;
    return PyErr_NoMemory();
}

/* (address, port, protocol, verdict, the responder's words where they were the last) */
int known_hears(FlowTable *self, const struct row *row) {
    if (!self->heard) self->heard = PyList_New(0);
    if (!self->heard) return -1;
    const char *said = row->said ? (const char *)row->said : "";
    PyObject *one = Py_BuildValue("y#HBIy#", (const char *)row->responder, (Py_ssize_t)row->address_size,
                                  row->responder_port, row->protocol, row->verdict, said, (Py_ssize_t)row->said_size);
    int failed = one ? PyList_Append(self->heard, one) : -1;
    Py_XDECREF(one);
    return failed;
}

PyObject *known_py_heard(FlowTable *self, PyObject *unused) {
    (void)unused;
    PyObject *heard = self->heard;
    self->heard = NULL;
    return heard ? heard : PyList_New(0);
}
