/* flowsonar._native._core: the module, and framing. Only binding*.c know Python. Blocks are walked with the interpreter
   lock released. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

#include "binding_codecs.h"
#include "framing.h"
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
    {"table_memory", core_table_memory, METH_O, "Bytes that a flow table of this capacity takes."},
    {NULL, NULL, 0, NULL},
};

static int core_exec(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &flow_table_spec, NULL);
    if (!type) return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    if (!failed) failed = PyModule_AddFunctions(module, codecs_methods);
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
