/* The fast lane's half of the Python class: feeding with rows written as lines, and what Python teaches. */
#include <string.h>

#include "binding.h"
#include "kept.h"
#include "lane.h"

enum { NODE_MAX = INT32_MAX };
#define NOWHERE UINT64_MAX /* among the lines */

/* -- settings ------------------------------------------------------------------------------------------------------ */

static int take_bytes(PyObject *object, const uint8_t **data, size_t *size) {
    char *bytes;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(object, &bytes, &length)) return -1;
    *data = (const uint8_t *)bytes;
    *size = (size_t)length;
    return 0;
}

/* ((program, instructions) * 6, rules, fields, bytes) */
static int take_tables(PyObject *given, struct patterns_tables *tables) {
    PyObject *program[PATTERNS_GROUPS], *rules, *fields, *bytes;
    unsigned int instructions[PATTERNS_GROUPS];
    if (!PyArg_ParseTuple(given, "(SI)(SI)(SI)(SI)(SI)(SI)SSS", &program[0], &instructions[0], &program[1],
                          &instructions[1], &program[2], &instructions[2], &program[3], &instructions[3], &program[4],
                          &instructions[4], &program[5], &instructions[5], &rules, &fields, &bytes))
        return -1;
    for (int i = 0; i < PATTERNS_GROUPS; i++) {
        tables->instructions[i] = instructions[i];
        if (take_bytes(program[i], &tables->program[i], &tables->program_size[i])) return -1;
    }
    return take_bytes(rules, &tables->rules, &tables->rules_size) ||
                   take_bytes(fields, &tables->fields, &tables->fields_size) ||
                   take_bytes(bytes, &tables->bytes, &tables->bytes_size)
               ? -1
               : 0;
}

int flow_lane_settings(PyObject *lanes, struct lane_settings *settings) {
    PyObject *tables[2], *served[2];
    if (!PyArg_ParseTuple(lanes, "O!O!SS", &PyTuple_Type, &tables[0], &PyTuple_Type, &tables[1], &served[0],
                          &served[1]))
        return -1;
    for (int i = 0; i < 2; i++) {
        size_t size;
        if (take_tables(tables[i], &settings->tables[i]) || take_bytes(served[i], &settings->served[i], &size))
            return -1;
        if (size != 8192) {
            PyErr_SetString(PyExc_ValueError, "served is not 8192 bytes");
            return -1;
        }
    }
    return 0;
}

/* -- feeding ------------------------------------------------------------------------------------------------------- */

static struct lanes *lanes_of(const FlowTable *self) {
    struct lanes *lanes = table_lanes(self->table);
    if (!lanes) PyErr_SetString(PyExc_RuntimeError, "this table has no fast lane");
    return lanes;
}

/* What a call gives: how far it came, events, nodes beside them (None where all are 0), lines, for each flow that
   ended in the slow lane where among the lines its record belongs (-1: nowhere, it is another share's), and where
   flows are shared out each record's place among those of all shares. */
struct taken {
    PyObject *events, *nodes, *places, *ordinals;
};

static int append(PyObject *list, uint64_t value) {
    PyObject *number = value == NOWHERE ? PyLong_FromLong(-1) : PyLong_FromUnsignedLongLong(value);
    int failed = number ? PyList_Append(list, number) : -1;
    Py_XDECREF(number);
    return failed;
}

static int take_event(const FlowTable *self, const struct event *event, struct taken *taken) {
    PyObject *object = flow_table_event(self, event);
    if (!object) return -1;
    int failed = PyList_Append(taken->events, object);
    Py_DECREF(object);
    if (failed || (!event->node && !taken->nodes)) return failed;
    Py_ssize_t count = PyList_Size(taken->events);
    if (!taken->nodes) taken->nodes = PyList_New(0);
    while (taken->nodes && PyList_Size(taken->nodes) < count) /* those before had none */
        if (append(taken->nodes, PyList_Size(taken->nodes) == count - 1 ? event->node : 0)) return -1;
    return taken->nodes ? 0 : -1;
}

/* Rows to text. False where there is no memory. */
static bool take_rows(FlowTable *self, const struct lanes *lanes, const struct row *row, size_t count,
                      struct taken *taken) {
    for (size_t i = 0; lane_shared(lanes) && i < count; i++)
        if (append(taken->ordinals, row[i].ordinal)) return false;
    for (size_t i = 0; i < count; i++)
        if (row[i].learned && known_hears(self, &row[i])) return false;
    return lines_write(self->lines, row, count);
}

/* Events to Python, rows to text, each in its order. */
static int take(FlowTable *self, struct lanes *lanes, struct taken *taken) {
    size_t events, rows, written = 0;
    const struct event *event = table_take(self->table, &events);
    const struct row *row = lane_rows(lanes, &rows);
    bool room = true;
    for (size_t i = 0; i < events && room; i++) {
        if (take_event(self, &event[i], taken)) return -1;
        if (event[i].kind != EVENT_CLOSED) continue;
        room = take_rows(self, lanes, row + written, event[i].rows - written, taken);
        written = event[i].rows;
        if (append(taken->places, event[i].lent ? NOWHERE : lines_size(self->lines))) return -1;
        if (lane_shared(lanes) && !event[i].lent && append(taken->ordinals, event[i].ordinal)) return -1;
    }
    if (room && take_rows(self, lanes, row + written, rows - written, taken)) return 0;
    PyErr_NoMemory();
    return -1;
}

static PyObject *taken_result(FlowTable *self, struct taken *taken, size_t done) {
    size_t size;
    const char *lines = lines_take(self->lines, &size);
    return Py_BuildValue("nOOy#OO", (Py_ssize_t)done, taken->events, taken->nodes ? taken->nodes : Py_None,
                         size ? lines : "", (Py_ssize_t)size, taken->places, taken->ordinals);
}

static bool taken_new(struct taken *taken) {
    taken->events = PyList_New(0);
    taken->places = PyList_New(0);
    taken->ordinals = PyList_New(0);
    taken->nodes = NULL;
    return taken->events && taken->places && taken->ordinals;
}

static void taken_free(struct taken *taken) {
    Py_XDECREF(taken->events);
    Py_XDECREF(taken->nodes);
    Py_XDECREF(taken->places);
    Py_XDECREF(taken->ordinals);
}

/* Feed from a frame on, until all are done or Python has to look first. */
static PyObject *feed_buffers(FlowTable *self, struct lanes *lanes, const Py_buffer *data, const Py_buffer *frames,
                              size_t from) {
    struct taken taken;
    size_t count = (size_t)frames->len / FRAME_SIZE, done = from;
    bool stopped = false, failed = !taken_new(&taken);
    while (!failed && !stopped && done < count) {
        Py_BEGIN_ALLOW_THREADS
        done = table_feed(self->table, data->buf, (size_t)data->len, frames->buf, count, done);
        Py_END_ALLOW_THREADS
        stopped = table_stopped(self->table);
        failed = take(self, lanes, &taken);
    }
    PyObject *result = failed ? NULL : taken_result(self, &taken, done);
    taken_free(&taken);
    return result;
}

PyObject *lane_py_feed(FlowTable *self, PyObject *args) {
    Py_buffer data, frames;
    Py_ssize_t from;
    PyObject *result = NULL;
    struct lanes *lanes = lanes_of(self);
    if (!lanes || !PyArg_ParseTuple(args, "y*y*n:feed_lanes", &data, &frames, &from)) return NULL;
    if (frames.len % FRAME_SIZE || from < 0) {
        PyErr_SetString(PyExc_ValueError, "frames is not a whole number of entries");
    } else if (!flow_table_enter(self)) {
        result = feed_buffers(self, lanes, &data, &frames, (size_t)from);
        self->busy = 0;
    }
    PyBuffer_Release(&frames);
    PyBuffer_Release(&data);
    return result;
}

/* Call something that says whether it is done, once, and give what came of it. */
static PyObject *step(FlowTable *self, const uint8_t *address, uint64_t now_ns) {
    struct lanes *lanes = lanes_of(self);
    if (!lanes || flow_table_enter(self)) return NULL;
    struct taken taken;
    bool done = false;
    PyObject *result = NULL;
    if (taken_new(&taken)) {
        Py_BEGIN_ALLOW_THREADS
        if (address)
            done = lane_watch(self->table, address);
        else
            done = now_ns ? table_expire(self->table, now_ns) : table_finish(self->table);
        Py_END_ALLOW_THREADS
        if (!take(self, lanes, &taken)) result = taken_result(self, &taken, done);
    }
    self->busy = 0;
    taken_free(&taken);
    return result;
}

PyObject *lane_py_finish(FlowTable *self, PyObject *unused) {
    (void)unused;
    return step(self, NULL, 0);
}

PyObject *lane_py_expire(FlowTable *self, PyObject *argument) {
    unsigned long long now_ns = PyLong_AsUnsignedLongLong(argument);
    if (now_ns == (unsigned long long)-1 && PyErr_Occurred()) return NULL;
    return step(self, NULL, now_ns ? now_ns : 1);
}

PyObject *lane_py_watch(FlowTable *self, PyObject *argument) {
    uint8_t address[16] = {0};
    const uint8_t *given;
    size_t size;
    if (take_bytes(argument, &given, &size)) return NULL;
    if (size != 4 && size != 16) {
        PyErr_SetString(PyExc_ValueError, "an address has 4 or 16 bytes");
        return NULL;
    }
    memcpy(address, given, size);
    return step(self, address, 0);
}

/* -- teaching ------------------------------------------------------------------------------------------------------ */

PyObject *lane_py_learn(FlowTable *self, PyObject *args) {
    unsigned int node, verdict;
    unsigned short flags;
    struct lanes *lanes = lanes_of(self);
    if (!lanes || !PyArg_ParseTuple(args, "IHI:learn", &node, &flags, &verdict)) return NULL;
    if (flow_table_enter(self)) return NULL;
    bool done = node <= NODE_MAX && verdict <= lines_verdicts(self->lines) && lane_learn(lanes, node, flags, verdict);
    self->busy = 0;
    if (done) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "no such node or verdict");
    return NULL;
}

PyObject *lane_py_verdict(FlowTable *self, PyObject *argument) {
    const uint8_t *text;
    size_t size;
    if (!lanes_of(self) || take_bytes(argument, &text, &size) || flow_table_enter(self)) return NULL;
    uint32_t number = lines_verdict(self->lines, text, size);
    self->busy = 0;
    return number ? PyLong_FromUnsignedLong(number) : PyErr_NoMemory();
}

PyObject *lane_py_interfaces(FlowTable *self, PyObject *argument) {
    enum { MOST = 4096 }; /* more have no name in the fast lane's records; pcapng files have a handful */
    const uint8_t *texts[MOST];
    size_t sizes[MOST], count = 0;
    Py_ssize_t given = PyTuple_Size(argument);
    if (given < 0 || !lanes_of(self)) return NULL;
    for (; count < MOST && (Py_ssize_t)count < given; count++)
        if (take_bytes(PyTuple_GetItem(argument, (Py_ssize_t)count), &texts[count], &sizes[count])) return NULL;
    if (flow_table_enter(self)) return NULL;
    bool done = lines_interfaces(self->lines, texts, sizes, count);
    self->busy = 0;
    if (done) Py_RETURN_NONE;
    return PyErr_NoMemory();
}

PyObject *lane_py_whole(FlowTable *self, PyObject *unused) {
    (void)unused;
    if (!lanes_of(self) || flow_table_enter(self)) return NULL;
    lines_whole(self->lines);
    self->busy = 0;
    Py_RETURN_NONE;
}

PyObject *lane_py_doubt(FlowTable *self, PyObject *unused) {
    struct lanes *lanes = lanes_of(self);
    (void)unused;
    if (!lanes || flow_table_enter(self)) return NULL;
    lane_doubt(lanes);
    self->busy = 0;
    Py_RETURN_NONE;
}

PyObject *lane_py_share(FlowTable *self, PyObject *args) {
    unsigned int share, shares;
    int slow;
    struct lanes *lanes = lanes_of(self);
    if (!lanes || !PyArg_ParseTuple(args, "IIp:share", &share, &shares, &slow)) return NULL;
    if (lane_share(lanes, share, shares, slow)) Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "no such share");
    return NULL;
}

PyObject *lane_py_counts(FlowTable *self, PyObject *unused) {
    struct lanes *lanes = lanes_of(self);
    (void)unused;
    if (!lanes) return NULL;
    struct lane_counts counts = lane_counts(lanes);
    return Py_BuildValue("{s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K}", "lane_flows", (unsigned long long)counts.flows, "lane_left",
                         (unsigned long long)counts.left, "lane_no_room", (unsigned long long)counts.no_room,
                         "lane_hosts_full", (unsigned long long)counts.hosts_full, "lane_learned",
                         (unsigned long long)counts.learned, "lane_lent", (unsigned long long)counts.lent,
                         "lane_closes", (unsigned long long)counts.closes, "lane_steps",
                         (unsigned long long)counts.steps);
}

PyObject *lane_py_keep(FlowTable *self, PyObject *unused) {
    struct lanes *lanes = lanes_of(self);
    (void)unused;
    if (!lanes || flow_table_enter(self)) return NULL;
    size_t size = kept_write(lane_shapes(lanes), self->lines, lane_patterns(lanes), NULL);
    PyObject *kept = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    uint8_t *out = kept ? (uint8_t *)PyBytes_AsString(kept) : NULL;
    if (kept && kept_write(lane_shapes(lanes), self->lines, lane_patterns(lanes), out) != size) Py_CLEAR(kept);
    self->busy = 0;
    return kept ? kept : PyErr_NoMemory();
}

PyObject *lane_py_recall(FlowTable *self, PyObject *argument) {
    const uint8_t *data;
    size_t size;
    struct lanes *lanes = lanes_of(self);
    if (!lanes || take_bytes(argument, &data, &size) || flow_table_enter(self)) return NULL;
    bool good = kept_read(lane_shapes(lanes), self->lines, lane_patterns(lanes), data, size);
    self->busy = 0;
    return PyBool_FromLong(good);
}

/* The numbers of the rules that hold, of those that may hold each less than zero (-1 for the first), or None where only
   Python can tell. */
PyObject *lane_py_holding(FlowTable *self, PyObject *args) {
    int udp, names;
    unsigned short ports[2];
    Py_buffer data;
    struct holding holding;
    struct lanes *lanes = lanes_of(self);
    if (!lanes || !PyArg_ParseTuple(args, "py*HHp:holding", &udp, &data, &ports[0], &ports[1], &names)) return NULL;
    bool entered = !flow_table_enter(self);
    bool sure = entered && lane_holding(lanes, udp, data.buf, (size_t)data.len, ports, names, &holding);
    if (entered) self->busy = 0;
    PyBuffer_Release(&data);
    if (!entered) return NULL;
    if (!sure) Py_RETURN_NONE;
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < holding.count; i++) {
        PyObject *number = PyLong_FromLong(holding.unsure[i] ? -1 - (long)holding.rules[i] : (long)holding.rules[i]);
        if (!number || PyList_Append(list, number)) Py_CLEAR(list);
        Py_XDECREF(number);
    }
    return list;
}
