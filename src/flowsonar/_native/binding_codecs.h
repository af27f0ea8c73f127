/* The codecs as functions of the module, for the tests that compare them with protocols/. */
#ifndef FLOWSONAR_BINDING_CODECS_H
#define FLOWSONAR_BINDING_CODECS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyMethodDef codecs_methods[];

PyObject *codec_aes(PyObject *module, PyObject *args);
PyObject *codec_gcm_open(PyObject *module, PyObject *args);
PyObject *codec_quic_looks(PyObject *module, PyObject *args);
PyObject *codec_quic_connection(PyObject *module, PyObject *args);
PyObject *codec_quic_pieces(PyObject *module, PyObject *args);
PyObject *codec_gquic(PyObject *module, PyObject *args);

#endif
