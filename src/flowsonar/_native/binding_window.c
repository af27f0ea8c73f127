#include "binding.h"
#include "window.h"

typedef struct {
    PyObject ob_base;
    struct window window;
} Window;

static PyObject *window_py_new(PyTypeObject *type, PyObject *args, PyObject *named) {
    int descriptor;
    unsigned long long offset;
    Py_ssize_t size;
    bool opened;
    if (named && PyDict_Size(named)) {
        PyErr_SetString(PyExc_TypeError, "Window takes no names");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "iKn:Window", &descriptor, &offset, &size)) return NULL;
    if (size < 1 || offset > INT64_MAX - (unsigned long long)size) {
        PyErr_SetString(PyExc_ValueError, "offset or size is out of range");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Window *self = (Window *)allocate(type, 0);
    if (!self) return NULL;
    Py_BEGIN_ALLOW_THREADS
    opened = window_open(&self->window, descriptor, offset, (size_t)size);
    Py_END_ALLOW_THREADS
    if (opened) return (PyObject *)self;
    Py_DECREF(self);
    PyErr_SetString(PyExc_OSError, "the file cannot be mapped");
    return NULL;
}

static void window_py_free(PyObject *object) {
    Window *self = (Window *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    window_close(&self->window);
    release(self);
    Py_DECREF(type);
}

static int window_py_buffer(PyObject *object, Py_buffer *view, int flags) {
    Window *self = (Window *)object;
    return PyBuffer_FillInfo(view, object, (void *)(uintptr_t)self->window.data, (Py_ssize_t)self->window.size, 1, flags);
}

static PyObject *window_py_lost(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(window_lost(&((Window *)object)->window));
}

static PyMethodDef window_methods[] = {
    {"lost", window_py_lost, METH_NOARGS, "Whether some of it reads as zeros because the file became shorter."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot window_slots[] = {
    {Py_tp_new, (void *)window_py_new},      {Py_tp_dealloc, (void *)window_py_free},
    {Py_tp_methods, window_methods},         {Py_bf_getbuffer, (void *)window_py_buffer},
    {Py_tp_doc, (void *)"Window(descriptor, offset, size): a part of a file as bytes; raises OSError."}, {0, NULL},
};

PyType_Spec window_spec = {
    .name = "flowsonar._native._core.Window",
    .basicsize = sizeof(Window),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = window_slots,
};
