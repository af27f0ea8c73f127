/* What the binding files share. */
#ifndef FLOWSONAR_BINDING_H
#define FLOWSONAR_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lines.h"
#include "lane.h"
#include "table.h"

enum {
    EVENT_KINDS = EVENT_CLOSED + 1,
    CORE_BUILD = 5, /* `BUILD` in _native/__init__.py, which says when it goes up */
};

typedef struct {
    PyObject ob_base;
    /* NULL until __new__ is done. */
    struct table *table;
    /* Lines of the flows that end in the fast lane; NULL where there is none. */
    struct lines *lines;
    /* The classes Opened, Established, Payload and Closed, by enum event_kind: subclasses of tuple. */
    PyObject *classes[EVENT_KINDS];
    /* What responders proved to be since Python took it last, a list; NULL for nothing. */
    PyObject *heard;
    /* Set while a call is inside; it may have released the interpreter lock. */
    int busy;
} FlowTable;

extern PyType_Spec flow_table_spec;

/* binding_window.c */
extern PyType_Spec window_spec;

/* binding_table.c */
int flow_table_enter(FlowTable *self);
PyObject *flow_table_event(const FlowTable *self, const struct event *event);

/* binding_lane.c */
PyObject *lane_py_feed(FlowTable *self, PyObject *args);
PyObject *lane_py_finish(FlowTable *self, PyObject *unused);
PyObject *lane_py_expire(FlowTable *self, PyObject *now_ns);
PyObject *lane_py_watch(FlowTable *self, PyObject *address);
PyObject *lane_py_learn(FlowTable *self, PyObject *args);
PyObject *lane_py_verdict(FlowTable *self, PyObject *text);
PyObject *lane_py_interfaces(FlowTable *self, PyObject *texts);
PyObject *lane_py_whole(FlowTable *self, PyObject *unused);
PyObject *lane_py_doubt(FlowTable *self, PyObject *unused);
PyObject *lane_py_share(FlowTable *self, PyObject *args);
PyObject *lane_py_counts(FlowTable *self, PyObject *unused);
PyObject *lane_py_keep(FlowTable *self, PyObject *unused);
PyObject *lane_py_recall(FlowTable *self, PyObject *kept);
PyObject *lane_py_holding(FlowTable *self, PyObject *args);
/* binding_known.c */
PyObject *known_py_live(FlowTable *self, PyObject *args);
PyObject *known_py_add(FlowTable *self, PyObject *args);
PyObject *known_py_know(FlowTable *self, PyObject *args);
PyObject *known_py_ask(FlowTable *self, PyObject *args);
PyObject *known_py_leave(FlowTable *self, PyObject *args);
PyObject *known_py_settle(FlowTable *self, PyObject *verdict);
PyObject *known_py_teach(FlowTable *self, PyObject *args);
PyObject *known_py_heard(FlowTable *self, PyObject *unused);
int known_hears(FlowTable *self, const struct row *row);

/* binding_lane.c */
/* What the keyword `lanes` gives, valid as long as the tuple; -1 and an exception where it is not well-formed. */
int flow_lane_settings(PyObject *lanes, struct lane_settings *settings);

#endif
