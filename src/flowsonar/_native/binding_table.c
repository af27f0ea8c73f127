/* The flow table as a Python class. */
#include <string.h>

#include "binding.h"

/* Take the next item of a tuple that is being filled; gives up at the first failure. */
static int put(PyObject *tuple, Py_ssize_t at, PyObject *item) {
    return item ? PyTuple_SetItem(tuple, at, item) : -1;
}

static int put_u64(PyObject *tuple, Py_ssize_t at, uint64_t value) {
    return put(tuple, at, PyLong_FromUnsignedLongLong(value));
}

static int put_bytes(PyObject *tuple, Py_ssize_t at, const uint8_t *data, size_t size) {
    return put(tuple, at, PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size));
}

static int fill_opened(PyObject *tuple, const struct event *event) {
    return put_u64(tuple, 2, event->opened.protocol) ||
           put_bytes(tuple, 3, event->opened.initiator, event->opened.address_size) ||
           put_u64(tuple, 4, event->opened.initiator_port) ||
           put_bytes(tuple, 5, event->opened.responder, event->opened.address_size) ||
           put_u64(tuple, 6, event->opened.responder_port) || put_u64(tuple, 7, event->opened.vlan) ||
           put_u64(tuple, 8, event->opened.interface) || put(tuple, 9, PyBool_FromLong(event->opened.midstream)) ||
           put_bytes(tuple, 10, event->opened.outer, (size_t)event->opened.hops * HOP_BYTES);
}

static int fill_established(PyObject *tuple, const struct event *event) {
    return put_u64(tuple, 2, event->established.handshake_ns);
}

static int fill_payload(PyObject *tuple, const struct event *event) {
    return put_u64(tuple, 2, event->payload.direction) || put_u64(tuple, 3, event->payload.index) ||
           put_u64(tuple, 4, event->payload.offset) ||
           put_bytes(tuple, 5, event->payload.data, event->payload.size) ||
           put_u64(tuple, 6, event->payload.wire_length) || put_u64(tuple, 7, event->payload.handshake_ns) ||
           put_u64(tuple, 8, event->payload.acknowledges);
}

static int fill_closed(PyObject *tuple, const struct event *event) {
    return put_u64(tuple, 2, event->closed.reason) || put_u64(tuple, 3, event->closed.first_ns) ||
           put_u64(tuple, 4, event->closed.last_ns) || put_u64(tuple, 5, event->closed.packets[0]) ||
           put_u64(tuple, 6, event->closed.packets[1]) || put_u64(tuple, 7, event->closed.bytes[0]) ||
           put_u64(tuple, 8, event->closed.bytes[1]) || put_u64(tuple, 9, event->closed.tcp_flags[0]) ||
           put_u64(tuple, 10, event->closed.tcp_flags[1]) || put_u64(tuple, 11, event->closed.handshake_ns);
}

/* The named tuples are made in place, without their Python-level constructor. */
PyObject *flow_table_event(const FlowTable *self, const struct event *event) {
    static const Py_ssize_t sizes[] = {
        [EVENT_OPENED] = 11, [EVENT_ESTABLISHED] = 3, [EVENT_PAYLOAD] = 9, [EVENT_CLOSED] = 12};
    static int (*const fill[])(PyObject *, const struct event *) = {
        [EVENT_OPENED] = fill_opened,
        [EVENT_ESTABLISHED] = fill_established,
        [EVENT_PAYLOAD] = fill_payload,
        [EVENT_CLOSED] = fill_closed,
    };
    PyObject *tuple = PyType_GenericAlloc((PyTypeObject *)self->classes[event->kind], sizes[event->kind]);
    if (!tuple) return NULL;
    if (put_u64(tuple, 0, event->flow) || put_u64(tuple, 1, event->time_ns) || fill[event->kind](tuple, event)) {
        Py_DECREF(tuple);
        return NULL;
    }
    return tuple;
}

static int take_events(FlowTable *self, PyObject *list) {
    size_t count;
    const struct event *events = table_take(self->table, &count);
    for (size_t i = 0; i < count; i++) {
        PyObject *object = flow_table_event(self, &events[i]);
        if (!object) return -1;
        int failed = PyList_Append(list, object);
        Py_DECREF(object);
        if (failed) return -1;
    }
    return 0;
}

int flow_table_enter(FlowTable *self) {
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "the flow table is in use by another thread");
        return -1;
    }
    self->busy = 1;
    return 0;
}

static int feed_buffers(FlowTable *self, const Py_buffer *data, const Py_buffer *frames, PyObject *list) {
    size_t count = (size_t)frames->len / FRAME_SIZE, done = 0;
    while (done < count) {
        Py_BEGIN_ALLOW_THREADS
        done = table_feed(self->table, data->buf, (size_t)data->len, frames->buf, count, done);
        Py_END_ALLOW_THREADS
        if (take_events(self, list)) return -1;
    }
    return 0;
}

static PyObject *table_py_feed(FlowTable *self, PyObject *block) {
    PyObject *data = PySequence_GetItem(block, 0), *frames = data ? PySequence_GetItem(block, 1) : NULL, *list = NULL;
    Py_buffer data_buffer, frames_buffer;
    if (!frames || PyObject_GetBuffer(data, &data_buffer, PyBUF_SIMPLE)) goto done;
    if (PyObject_GetBuffer(frames, &frames_buffer, PyBUF_SIMPLE)) goto release_data;
    if (frames_buffer.len % FRAME_SIZE) {
        PyErr_SetString(PyExc_ValueError, "frames is not a whole number of entries");
        goto release_frames;
    }
    if (flow_table_enter(self)) goto release_frames;
    list = PyList_New(0);
    if (list && feed_buffers(self, &data_buffer, &frames_buffer, list)) Py_CLEAR(list);
    self->busy = 0;
release_frames:
    PyBuffer_Release(&frames_buffer);
release_data:
    PyBuffer_Release(&data_buffer);
done:
    Py_XDECREF(frames);
    Py_XDECREF(data);
    return list;
}

/* Time of 0 is none, so that with `finish` the time is not used. */
static PyObject *table_sweep(FlowTable *self, uint64_t now_ns, bool finish) {
    if (flow_table_enter(self)) return NULL;
    PyObject *list = PyList_New(0);
    bool done = false;
    while (list && !done) {
        Py_BEGIN_ALLOW_THREADS
        done = finish ? table_finish(self->table) : table_expire(self->table, now_ns);
        Py_END_ALLOW_THREADS
        if (take_events(self, list)) Py_CLEAR(list);
    }
    self->busy = 0;
    return list;
}

static PyObject *table_py_expire(FlowTable *self, PyObject *argument) {
    unsigned long long now_ns = PyLong_AsUnsignedLongLong(argument);
    if (now_ns == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    return table_sweep(self, now_ns, false);
}

static PyObject *table_py_finish(FlowTable *self, PyObject *unused) {
    (void)unused;
    return table_sweep(self, 0, true);
}

static PyObject *change(FlowTable *self, PyObject *argument, void (*function)(struct table *, uint64_t)) {
    unsigned long long flow = PyLong_AsUnsignedLongLong(argument);
    if (flow == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    if (flow_table_enter(self)) return NULL;
    function(self->table, flow);
    self->busy = 0;
    Py_RETURN_NONE;
}

static PyObject *table_py_follow(FlowTable *self, PyObject *argument) { return change(self, argument, table_follow); }

static PyObject *table_py_release(FlowTable *self, PyObject *argument) {
    return change(self, argument, table_release);
}

static PyObject *table_py_bytes_of(FlowTable *self, PyObject *argument) {
    unsigned long long flow = PyLong_AsUnsignedLongLong(argument);
    if (flow == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    if (flow_table_enter(self)) return NULL;
    uint64_t bytes = table_bytes_of(self->table, flow);
    self->busy = 0;
    return PyLong_FromUnsignedLongLong(bytes);
}

static PyObject *table_py_counters(FlowTable *self, PyObject *unused) {
    static const char *const names[] = {
#define FLOWSONAR_NAME(name) #name,
        FLOWSONAR_COUNTERS(FLOWSONAR_NAME)
#undef FLOWSONAR_NAME
    };
    (void)unused;
    PyObject *counters = PyDict_New();
    for (int i = 0; counters && i < COUNTERS; i++) {
        PyObject *value = PyLong_FromUnsignedLongLong(table_counter(self->table, (enum counter)i));
        if (!value || PyDict_SetItemString(counters, names[i], value)) Py_CLEAR(counters);
        Py_XDECREF(value);
    }
    return counters;
}

static Py_ssize_t table_py_length(PyObject *self) { return (Py_ssize_t)table_size(((FlowTable *)self)->table); }

static int take_prefixes(PyObject *follow, struct table_settings *settings) {
    Py_ssize_t count = PyTuple_Size(follow);
    if (count < 0) return -1;
    if (count > FOLLOW_PREFIXES) {
        PyErr_SetString(PyExc_ValueError, "too many prefixes to follow");
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        char *prefix;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(follow, i), &prefix, &size)) return -1;
        if (size < 1 || size > FOLLOW_PREFIX_BYTES) {
            PyErr_SetString(PyExc_ValueError, "a prefix to follow is empty or too long");
            return -1;
        }
        settings->prefix_size[i] = (uint8_t)size;
        memcpy(settings->prefix[i], prefix, (size_t)size);
    }
    settings->prefixes = (uint32_t)count;
    return 0;
}

static int check_settings(const struct table_settings *settings, Py_ssize_t seed_size, PyObject *const *classes) {
    const char *wrong = NULL;
    if (settings->capacity < 1 || settings->capacity > 1u << 24) wrong = "capacity is out of range";
    if (settings->idle_ns > UINT64_C(1) << 57 || settings->active_ns > UINT64_C(1) << 57 ||
        settings->half_open_ns > UINT64_C(1) << 57)
        wrong = "timeout too long";
    if (settings->followed_packets < 1 || settings->followed_packets > UINT16_MAX) wrong = "followed_packets";
    if (settings->followed_datagrams < 1 || settings->followed_datagrams > UINT16_MAX) wrong = "followed_datagrams";
    if (seed_size != 16) wrong = "seed is not 16 bytes";
    for (int i = 0; i < EVENT_KINDS; i++)
        if (!PyType_Check(classes[i]) || !PyType_IsSubtype((PyTypeObject *)classes[i], &PyTuple_Type))
            wrong = "an event class is not a tuple";
    if (wrong) PyErr_SetString(PyExc_ValueError, wrong);
    return wrong ? -1 : 0;
}

static PyObject *table_py_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"capacity", "idle_ns", "active_ns", "half_open_ns", "follow",
                            "seed",     "events",  "budget",    "lanes",        NULL};
    struct table_settings settings = {0};
    unsigned long long idle_ns, active_ns, half_open_ns;
    unsigned int capacity, budget[6];
    const char *seed;
    Py_ssize_t seed_size;
    PyObject *follow, *lanes = Py_None, *classes[EVENT_KINDS];
    struct lane_settings lane_settings;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "IKKKO!y#(OOOO)(IIIIII)|O:FlowTable", names, &capacity, &idle_ns,
                                     &active_ns, &half_open_ns, &PyTuple_Type, &follow, &seed, &seed_size,
                                     &classes[EVENT_OPENED], &classes[EVENT_ESTABLISHED], &classes[EVENT_PAYLOAD],
                                     &classes[EVENT_CLOSED], &budget[0], &budget[1], &budget[2], &budget[3],
                                     &budget[4], &budget[5], &lanes))
        return NULL;
    settings.capacity = capacity;
    settings.idle_ns = idle_ns;
    settings.active_ns = active_ns;
    settings.half_open_ns = half_open_ns;
    settings.budget_tcp = budget[0];
    settings.budget_udp = budget[1];
    settings.payload_bytes = budget[2];
    settings.followed_packets = budget[3];
    settings.followed_bytes = budget[4];
    settings.followed_datagrams = budget[5];
    if (check_settings(&settings, seed_size, classes) || take_prefixes(follow, &settings)) return NULL;
    memcpy(settings.seed, seed, sizeof settings.seed);
    if (lanes != Py_None) {
        if (flow_lane_settings(lanes, &lane_settings)) return NULL;
        settings.lanes = &lane_settings;
    }
    FlowTable *self = (FlowTable *)PyType_GenericAlloc(type, 0);
    if (!self) return NULL;
    for (int i = 0; i < EVENT_KINDS; i++) self->classes[i] = Py_NewRef(classes[i]);
    self->table = table_new(&settings);
    if (settings.lanes) self->lines = lines_new();
    if (!self->table || (settings.lanes && !self->lines)) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void table_py_free(PyObject *object) {
    FlowTable *self = (FlowTable *)object;
    PyTypeObject *type = Py_TYPE(object);
    table_free(self->table);
    lines_free(self->lines);
    Py_XDECREF(self->heard);
    for (int i = 0; i < EVENT_KINDS; i++) Py_XDECREF(self->classes[i]);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

#define METHOD(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef table_methods[] = {
    {"feed", METHOD(table_py_feed), METH_O, "Count a block's frames; the events, in order."},
    {"expire", METHOD(table_py_expire), METH_O, "Close what is idle at this time."},
    {"finish", METHOD(table_py_finish), METH_NOARGS, "Close everything."},
    {"follow", METHOD(table_py_follow), METH_O, "Report all short payloads of a flow."},
    {"release", METHOD(table_py_release), METH_O, "Report no more payload of a flow."},
    {"bytes_of", METHOD(table_py_bytes_of), METH_O, "Bytes of a flow so far."},
    {"counters", METHOD(table_py_counters), METH_NOARGS, "Sums since the beginning."},
    {"feed_lanes", METHOD(lane_py_feed), METH_VARARGS, "Feed from a frame on: how far, events, nodes, lines."},
    {"finish_lanes", METHOD(lane_py_finish), METH_NOARGS, "Close some or all: whether all, events, nodes, lines."},
    {"expire_lanes", METHOD(lane_py_expire), METH_O, "Close what is idle, some or all; gives what finish_lanes gives."},
    {"live", METHOD(known_py_live), METH_VARARGS, "Tell of labels as they change, by this clock (ns); a verdict's life (s)."},
    {"add_known", METHOD(known_py_add), METH_VARARGS, "A kind of knowledge: mark, three verdicts; its number."},
    {"know", METHOD(known_py_know), METH_VARARGS, "What is known of an endpoint from now on, and until when."},
    {"teach", METHOD(known_py_teach), METH_VARARGS, "What flows with a verdict prove their responder to be."},
    {"ask", METHOD(known_py_ask), METH_VARARGS, "The networks whose endpoints may be asked; once live."},
    {"leave", METHOD(known_py_leave), METH_VARARGS, "An endpoint is not asked until a time (s)."},
    {"settle", METHOD(known_py_settle), METH_O, "Flows with this verdict are not asked about."},
    {"heard", METHOD(known_py_heard), METH_NOARGS, "What responders proved to be since the last call."},
    {"watch", METHOD(lane_py_watch), METH_O, "Flows of a host take the slow lane; gives what finish_lanes gives."},
    {"learn", METHOD(lane_py_learn), METH_VARARGS, "What a node means: flags and a verdict's number."},
    {"add_verdict", METHOD(lane_py_verdict), METH_O, "Keep a verdict's text with holes; its number."},
    {"set_interfaces", METHOD(lane_py_interfaces), METH_O, "Members of lines that name the interface."},
    {"write_whole", METHOD(lane_py_whole), METH_NOARGS, "Lines have all that a record is made of."},
    {"doubt", METHOD(lane_py_doubt), METH_NOARGS, "TCP flows that nobody knows need Python from now on."},
    {"keep", METHOD(lane_py_keep), METH_NOARGS, "All that was learned and may be of use to another table."},
    {"recall", METHOD(lane_py_recall), METH_O, "Take what another table kept; whether it was well-formed."},
    {"holding", METHOD(lane_py_holding), METH_VARARGS, "Rules that hold for some bytes; None where Python decides."},
    {"share", METHOD(lane_py_share), METH_VARARGS, "Take flows of one share of several, all in the slow lane or not."},
    {"lane_counts", METHOD(lane_py_counts), METH_NOARGS, "Sums since the beginning."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot table_slots[] = {
    {Py_tp_new, (void *)table_py_new},           {Py_tp_dealloc, (void *)table_py_free},
    {Py_tp_methods, table_methods},              {Py_sq_length, (void *)table_py_length},
    {Py_tp_doc, (void *)"The flow table in C; see flowsonar.flows.table.FlowTable."}, {0, NULL},
};

PyType_Spec flow_table_spec = {
    .name = "flowsonar._native._core.FlowTable",
    .basicsize = sizeof(FlowTable),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = table_slots,
};
