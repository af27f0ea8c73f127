/* flowsonar._native._core: the module, and framing. Only binding*.c know Python. Blocks are walked with the interpreter
   lock released. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

#include "binding_codecs.h"
#include "framing.h"
#include "merge.h"
#include "table.h"

/* -- framing ------------------------------------------------------------------------------------------------------ */

static PyObject *frames_result(struct frames *frames, size_t consumed, enum problem problem) {
    PyObject *result = NULL;
    if (problem == PROBLEM_MEMORY)
        PyErr_NoMemory();
    else
        result = Py_BuildValue("y#ni", frames->count ? (const char *)frames->entries : "",
                               (Py_ssize_t)(frames->count * FRAME_ENTRY_SIZE), (Py_ssize_t)consumed, (int)problem);
    free(frames->entries);
    return result;
}

/* Offsets in frame entries have 32 bits. */
static int check_size(const Py_buffer *buffer) {
    if ((uint64_t)buffer->len <= UINT32_MAX) return 0;
    PyErr_SetString(PyExc_ValueError, "data is 4 GiB or longer");
    return -1;
}

static int is_big_endian(const char *byteorder) {
    if (strcmp(byteorder, "<") == 0) return 0;
    if (strcmp(byteorder, ">") == 0) return 1;
    PyErr_SetString(PyExc_ValueError, "byteorder is neither '<' nor '>'");
    return -1;
}

static PyObject *core_index_pcap(PyObject *module, PyObject *args) {
    Py_buffer data;
    const char *byteorder;
    unsigned int fraction_ns, extra_header;
    unsigned short linktype, interface;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*sIIHH:index_pcap", &data, &byteorder, &fraction_ns, &extra_header, &linktype,
                          &interface))
        return NULL;
    int big_endian = is_big_endian(byteorder);
    if (big_endian >= 0 && check_size(&data) == 0) {
        struct pcap_format format = {big_endian, fraction_ns, extra_header, linktype, interface};
        struct frames frames = {0};
        enum problem problem;
        size_t consumed;
        Py_BEGIN_ALLOW_THREADS
        consumed = index_pcap(data.buf, (size_t)data.len, &format, &frames, &problem);
        Py_END_ALLOW_THREADS
        result = frames_result(&frames, consumed, problem);
    }
    PyBuffer_Release(&data);
    return result;
}

static PyObject *core_index_pcapng(PyObject *module, PyObject *args) {
    Py_buffer data, interfaces;
    const char *byteorder;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*sy*:index_pcapng", &data, &byteorder, &interfaces)) return NULL;
    int big_endian = is_big_endian(byteorder);
    if (interfaces.len % INTERFACE_SIZE) {
        PyErr_SetString(PyExc_ValueError, "interfaces is not a whole number of entries");
    } else if (big_endian >= 0 && check_size(&data) == 0) {
        struct frames frames = {0};
        enum problem problem;
        size_t consumed;
        Py_BEGIN_ALLOW_THREADS
        consumed = index_pcapng(data.buf, (size_t)data.len, big_endian, interfaces.buf,
                                (size_t)interfaces.len / INTERFACE_SIZE, &frames, &problem);
        Py_END_ALLOW_THREADS
        result = frames_result(&frames, consumed, problem);
    }
    PyBuffer_Release(&interfaces);
    PyBuffer_Release(&data);
    return result;
}

static PyObject *core_index_ring(PyObject *module, PyObject *args) {
    Py_buffer block;
    unsigned short linktype, interface;
    int skip_outgoing;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "w*HHp:index_ring", &block, &linktype, &interface, &skip_outgoing)) return NULL;
    if (check_size(&block) == 0) {
        struct frames frames = {0};
        bool done;
        Py_BEGIN_ALLOW_THREADS
        done = index_ring(block.buf, (size_t)block.len, linktype, interface, skip_outgoing, &frames);
        Py_END_ALLOW_THREADS
        if (done)
            result = PyBytes_FromStringAndSize((const char *)frames.entries,
                                               (Py_ssize_t)(frames.count * FRAME_ENTRY_SIZE));
        else
            PyErr_NoMemory();
        free(frames.entries);
    }
    PyBuffer_Release(&block);
    return result;
}

static PyObject *core_render_pcapng(PyObject *module, PyObject *args) {
    Py_buffer data, frames;
    PyObject *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*:render_pcapng", &data, &frames)) return NULL;
    if (frames.len % FRAME_ENTRY_SIZE) {
        PyErr_SetString(PyExc_ValueError, "frames is not a whole number of entries");
    } else if (check_size(&data) == 0) {
        size_t count = (size_t)frames.len / FRAME_ENTRY_SIZE;
        size_t size = render_pcapng(data.buf, (size_t)data.len, frames.buf, count, NULL);
        result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        if (result)
            render_pcapng(data.buf, (size_t)data.len, frames.buf, count, (uint8_t *)PyBytes_AsString(result));
    }
    PyBuffer_Release(&frames);
    PyBuffer_Release(&data);
    return result;
}

/* -- lines of several workers --------------------------------------------------------------------------------------- */

static PyObject *merged(struct merge_part *parts, size_t count, unsigned long long bound) {
    size_t size = merge_measure(parts, count, bound);
    PyObject *text = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size), *taken = PyList_New(0);
    for (size_t i = 0; text && taken && i < count; i++) {
        PyObject *pair = Py_BuildValue("nn", (Py_ssize_t)parts[i].lines, (Py_ssize_t)parts[i].bytes);
        if (!pair || PyList_Append(taken, pair)) Py_CLEAR(taken);
        Py_XDECREF(pair);
    }
    PyObject *result = text && taken ? PyTuple_Pack(2, text, taken) : NULL;
    if (result) merge_write(parts, count, (uint8_t *)PyBytes_AsString(text));
    Py_XDECREF(text);
    Py_XDECREF(taken);
    return result;
}

/* (((text, keys), ...), bound) to (lines up to the bound in order, [(lines, bytes) taken of each]) */
static PyObject *core_merge_lines(PyObject *module, PyObject *args) {
    Py_buffer buffers[MERGE_PARTS][2];
    struct merge_part parts[MERGE_PARTS];
    unsigned long long bound;
    PyObject *given, *result = NULL;
    size_t count = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!K:merge_lines", &PyTuple_Type, &given, &bound)) return NULL;
    if (PyTuple_Size(given) > MERGE_PARTS) {
        PyErr_SetString(PyExc_ValueError, "too many parts");
        return NULL;
    }
    for (; (Py_ssize_t)count < PyTuple_Size(given); count++) {
        Py_buffer *text = &buffers[count][0], *keys = &buffers[count][1];
        PyObject *pair = PyTuple_GetItem(given, (Py_ssize_t)count);
        if (!PyTuple_Check(pair)) {
            PyErr_SetString(PyExc_TypeError, "a part is not a pair");
            break;
        }
        if (!PyArg_ParseTuple(pair, "y*y*", text, keys)) break;
        parts[count] = (struct merge_part){
            .text = text->buf, .size = (size_t)text->len, .keys = keys->buf, .count = (size_t)keys->len / 8,
        };
    }
    if ((Py_ssize_t)count == PyTuple_Size(given)) result = merged(parts, count, bound);
    for (size_t i = 0; i < count; i++)
        for (int j = 0; j < 2; j++) PyBuffer_Release(&buffers[i][j]);
    return result;
}

/* -- module ------------------------------------------------------------------------------------------------------- */

static PyObject *core_table_memory(PyObject *module, PyObject *argument) {
    unsigned long capacity = PyLong_AsUnsignedLong(argument);
    (void)module;
    if (capacity == (unsigned long)-1 && PyErr_Occurred()) return NULL;
    if (capacity < 1 || capacity > 1ul << 24) {
        PyErr_SetString(PyExc_ValueError, "capacity is out of range");
        return NULL;
    }
    return PyLong_FromSize_t(table_memory((uint32_t)capacity));
}

static PyMethodDef core_methods[] = {
    {"index_pcap", core_index_pcap, METH_VARARGS, "See flowsonar._native.framing."},
    {"index_pcapng", core_index_pcapng, METH_VARARGS, "See flowsonar._native.framing."},
    {"index_ring", core_index_ring, METH_VARARGS, "See flowsonar._native.framing."},
    {"render_pcapng", core_render_pcapng, METH_VARARGS, "See flowsonar._native.framing."},
    {"merge_lines", core_merge_lines, METH_VARARGS, "See flowsonar.app.workers."},
    {"table_memory", core_table_memory, METH_O, "Bytes that a flow table of this capacity takes."},
    {NULL, NULL, 0, NULL},
};

static int core_exec(PyObject *module) {
    PyType_Spec *const specs[] = {&flow_table_spec, &window_spec};
    int failed = 0;
    for (size_t i = 0; !failed && i < sizeof specs / sizeof *specs; i++) {
        PyObject *type = PyType_FromModuleAndSpec(module, specs[i], NULL);
        if (!type) return -1;
        failed = PyModule_AddType(module, (PyTypeObject *)type);
        Py_DECREF(type);
    }
    if (!failed) failed = PyModule_AddFunctions(module, codecs_methods);
    if (!failed) failed = PyModule_AddIntConstant(module, "BUILD", CORE_BUILD);
    return failed;
}

static PyModuleDef_Slot core_slots[] = {{Py_mod_exec, (void *)core_exec}, {0, NULL}};

static struct PyModuleDef core_module = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "flowsonar._native._core",
    .m_doc = "Framing and flow table in C.",
    .m_size = 0,
    .m_methods = core_methods,
    .m_slots = core_slots,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&core_module); }
