/* The codecs as functions of the module, for the tests that compare them with protocols/. */
#ifndef FLOWSONAR_BINDING_CODECS_H
#define FLOWSONAR_BINDING_CODECS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyMethodDef codecs_methods[];

#endif
