/*
 * Events, and the threads that call a program's callbacks.
 *
 * A callback needs somebody who waits. For each event that has one, a thread
 * of ours waits on the host; threads are made when there are more such events than
 * idle threads, up to a number, and the first is made when a program registers its
 * first callback. The last one waits for none: it asks for those that the others have
 * not taken up, so that no event waits for another's. A callback for an intermediate
 * status is called when the command has completed: "equal to or past the status", as
 * the specification puts it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "command.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "opencl_call.h"

#define THREADS_MAX 24
#define ASK_NS      500000 /* from asking in vain to asking again, at first */
#define ASK_DOUBLES 5u     /* how often that doubles: up to 16 ms */

struct watch {
    struct watch *next;
    cl_event event; /* held */
    cl_int type;
    void(CL_CALLBACK *fn)(cl_event event, cl_int status, void *user_data);
    void *user_data;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t some_work = PTHREAD_COND_INITIALIZER;
static struct watch *first, **last = &first; /* under lock */
static unsigned threads, idle;               /* under lock */

/* In a child of fork() there are no threads, and no event of its parent's. */
static void forget_threads(void)
{
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&some_work, NULL);
    first = NULL;
    last = &first;
    threads = idle = 0;
}

__attribute__((constructor)) static void watch_fork(void)
{
    pthread_atfork(NULL, NULL, forget_threads);
}

/* --- waiting ------------------------------------------------------------------ */

static bool is_final(cl_int status)
{
    return status <= CL_COMPLETE;
}

/* The event's status; asks the host unless it is known to be final. */
static cl_int event_status(cl_event event, cl_int *status)
{
    size_t size;
    cl_int err;

    *status = atomic_load_explicit(&event->status, memory_order_acquire);
    if (is_final(*status)) {
        return CL_SUCCESS;
    }
    err = call_clGetEventInfo(event->obj.session, event->obj.id,
                              CL_EVENT_COMMAND_EXECUTION_STATUS,
                              sizeof(*status), status, &size);
    if (err == CL_SUCCESS && is_final(*status)) {
        command_waited(event->obj.session);
        atomic_store_explicit(&event->status, *status, memory_order_release);
    }
    return err;
}

/* Before asking again, after @vain times in vain. */
static void doze(unsigned vain)
{
    unsigned doubles = vain < ASK_DOUBLES ? vain : ASK_DOUBLES;

    nanosleep(&(struct timespec){ .tv_nsec = ASK_NS << doubles }, NULL);
}

/* The host, not being told to wait, has to be told to begin. */
cl_int event_ask_until_over(cl_uint n, const cl_event *list)
{
    cl_int status, err = CL_SUCCESS, result = CL_SUCCESS;

    for (cl_uint i = 0; err == CL_SUCCESS && i < n; i++) {
        if (list[i]->queue) {
            call_clFlush(list[i]->obj.session, list[i]->queue->obj.id);
        }
        for (unsigned vain = 0;; vain++) {
            err = event_status(list[i], &status);
            if (err != CL_SUCCESS || is_final(status)) {
                break;
            }
            doze(vain);
        }
        if (err == CL_SUCCESS && status < 0) {
            result = CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
        }
    }
    return err != CL_SUCCESS ? err : result;
}

CL_API_ENTRY cl_int CL_API_CALL clWaitForEvents(cl_uint num_events,
                                                const cl_event *event_list)
{
    uint64_t few[16], *ids = few;
    struct session *s;
    cl_uint waits = 0;
    cl_int err = CL_SUCCESS;

    if (!num_events || !event_list) {
        return CL_INVALID_VALUE;
    }
    for (cl_uint i = 0; i < num_events; i++) {
        if (!cl_live(event_list[i], OPENCL_cl_event)) {
            return CL_INVALID_EVENT;
        }
        if (event_list[i]->context != event_list[0]->context) {
            return CL_INVALID_CONTEXT;
        }
    }
    s = event_list[0]->obj.session;
    if (num_events > 16) {
        ids = malloc(num_events * sizeof(ids[0]));
        if (!ids) {
            return CL_OUT_OF_HOST_MEMORY;
        }
    }
    for (cl_uint i = 0; i < num_events; i++) {
        if (event_list[i]->status != CL_COMPLETE) {
            ids[waits++] = event_list[i]->obj.id;
        }
    }
    if (waits && long_wait_begin(s)) {
        err = call_clWaitForEvents(s, waits, ids);
        long_wait_end(s);
    } else if (waits) {
        err = event_ask_until_over(num_events, event_list);
    }
    for (cl_uint i = 0; err == CL_SUCCESS && i < num_events; i++) {
        atomic_store_explicit(&event_list[i]->status, CL_COMPLETE,
                              memory_order_release);
    }
    if (ids != few) {
        free(ids);
    }
    command_waited(s);
    return err;
}

/* Its successor as it was in OpenCL 1.0, with that time's codes. */
CL_API_ENTRY cl_int CL_API_CALL clEnqueueWaitForEvents(
    cl_command_queue queue, cl_uint num_events, const cl_event *event_list)
{
    struct command c;
    cl_int err = command_begin(&c, queue, num_events, event_list,
                               CL_COMMAND_BARRIER, NULL);

    if (err == CL_INVALID_EVENT_WAIT_LIST) {
        return num_events && event_list ? CL_INVALID_EVENT : CL_INVALID_VALUE;
    }
    if (err != CL_SUCCESS) {
        return err;
    }
    err = num_events ? call_clEnqueueBarrierWithWaitList(
                           c.session, c.queue_id, c.waits, c.ids, 0)
                     : CL_INVALID_VALUE;
    return command_end(&c, err);
}

/* --- callbacks ---------------------------------------------------------------- */

static void run(struct watch *w)
{
    cl_event event = w->event;
    cl_int status, err;

    err = clWaitForEvents(1, &event);
    if (err != CL_SUCCESS && event_status(event, &status) != CL_SUCCESS) {
        status = err;
    } else if (err == CL_SUCCESS) {
        /* The one that was registered for, or the error. */
        status = w->type;
    }
    w->fn(event, status, w->user_data);
    cl_object_unhold(event);
    free(w);
}

/* Called with the lock: the first that waits for a thread, or NULL. */
static struct watch *take(void)
{
    struct watch *w = first;

    if (w) {
        first = w->next;
        last = first ? last : &first;
    }
    return w;
}

/* Called with the lock. */
static void put(struct watch *w)
{
    w->next = NULL;
    *last = w;
    last = &w->next;
    pthread_cond_signal(&some_work);
}

static void *callback_thread(void *unused)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        struct watch *w = take();

        if (!w) {
            idle++;
            pthread_cond_wait(&some_work, &lock);
            idle--;
            continue;
        }
        pthread_mutex_unlock(&lock);
        run(w);
        pthread_mutex_lock(&lock);
    }
    return NULL;
}

/* Called with the lock: how many wait for a thread. */
static unsigned queued(void)
{
    unsigned n = 0;

    for (struct watch *w = first; w; w = w->next) {
        n++;
    }
    return n;
}

static bool is_over(cl_event event)
{
    cl_int status;

    return event_status(event, &status) != CL_SUCCESS || is_final(status);
}

/* Called with the lock: once through what is queued. Whether any of it was over. */
static bool ask_all(void)
{
    bool any = false;

    for (unsigned n = queued(); n && first; n--) {
        struct watch *w = take();
        bool over;

        pthread_mutex_unlock(&lock);
        over = is_over(w->event);
        if (over) {
            run(w);
        }
        pthread_mutex_lock(&lock);
        if (!over) {
            put(w);
        }
        any |= over;
    }
    return any;
}

static void *asking_thread(void *unused)
{
    unsigned vain = 0;

    pthread_mutex_lock(&lock);
    for (;;) {
        if (!first) {
            pthread_cond_wait(&some_work, &lock);
            vain = 0;
            continue;
        }
        vain = ask_all() ? 0 : vain + 1;
        pthread_mutex_unlock(&lock);
        doze(vain);
        pthread_mutex_lock(&lock);
    }
    return NULL;
}

/* Called with the lock. A program's signals are for its own threads. */
static bool add_thread(void)
{
    sigset_t all, before;
    pthread_t id;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&id, NULL, threads < THREADS_MAX - 1
                                        ? callback_thread : asking_thread,
                         NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        return false;
    }
    pthread_detach(id);
    threads++;
    return true;
}

static cl_int watch(struct watch *w)
{
    cl_int err = CL_SUCCESS;

    pthread_mutex_lock(&lock);
    if (idle <= queued() && threads < THREADS_MAX && !add_thread() &&
        !threads) {
        err = CL_OUT_OF_RESOURCES;
    } else {
        put(w);
    }
    pthread_mutex_unlock(&lock);
    return err;
}

CL_API_ENTRY cl_int CL_API_CALL clSetEventCallback(
    cl_event event, cl_int command_exec_callback_type,
    void(CL_CALLBACK *pfn_notify)(cl_event event, cl_int status,
                                  void *user_data),
    void *user_data)
{
    struct watch *w;
    cl_int err;

    if (!cl_live(event, OPENCL_cl_event)) {
        return CL_INVALID_EVENT;
    }
    if (!pfn_notify || (command_exec_callback_type != CL_SUBMITTED &&
                        command_exec_callback_type != CL_RUNNING &&
                        command_exec_callback_type != CL_COMPLETE)) {
        return CL_INVALID_VALUE;
    }
    w = malloc(sizeof(*w));
    if (!w) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    *w = (struct watch){ NULL, event, command_exec_callback_type, pfn_notify,
                         user_data };
    cl_object_hold(event);
    err = watch(w);
    if (err != CL_SUCCESS) {
        cl_object_unhold(event);
        free(w);
    }
    return err;
}

/* --- the rest ------------------------------------------------------------------ */

CL_API_ENTRY cl_event CL_API_CALL clCreateUserEvent(cl_context context,
                                                    cl_int *errcode_ret)
{
    struct session *s = session_get();
    cl_event event;
    cl_int err;

    if (!cl_live(context, OPENCL_cl_context)) {
        return cl_return(NULL, CL_INVALID_CONTEXT, errcode_ret);
    }
    event = cl_object_create(s, OPENCL_cl_event);
    if (!event) {
        return cl_return(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    }
    event->context = context;
    event->command = CL_COMMAND_USER;
    event->status = CL_SUBMITTED;
    cl_object_hold(context);
    event->obj.id = session_new_id(s);
    err = event->obj.id ? call_clCreateUserEvent(s, context->obj.id,
                                                 event->obj.id)
                        : CL_OUT_OF_HOST_MEMORY;
    if (err != CL_SUCCESS) {
        cl_object_undo(event);
    }
    return cl_return(event, err, errcode_ret);
}

CL_API_ENTRY cl_int CL_API_CALL clSetUserEventStatus(cl_event event,
                                                     cl_int execution_status)
{
    cl_int submitted = CL_SUBMITTED, err;

    if (!cl_live(event, OPENCL_cl_event) || event->queue) {
        return CL_INVALID_EVENT;
    }
    if (!is_final(execution_status)) {
        return CL_INVALID_VALUE;
    }
    if (!atomic_compare_exchange_strong(&event->status, &submitted,
                                        execution_status)) {
        return CL_INVALID_OPERATION;
    }
    err = call_clSetUserEventStatus(event->obj.session, event->obj.id,
                                    execution_status);
    if (err != CL_SUCCESS) {
        event->status = CL_SUBMITTED;
    }
    return err;
}

CL_API_ENTRY cl_int CL_API_CALL clRetainEvent(cl_event event)
{
    if (!cl_live(event, OPENCL_cl_event)) {
        return CL_INVALID_EVENT;
    }
    cl_object_retain(event);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clReleaseEvent(cl_event event)
{
    if (!cl_live(event, OPENCL_cl_event) || !cl_object_release(event)) {
        return CL_INVALID_EVENT;
    }
    return CL_SUCCESS;
}

void event_finish(void *object)
{
    cl_event event = object;

    cl_object_unhold(event->queue ? (void *)event->queue
                                  : (void *)event->context);
}

CL_API_ENTRY cl_int CL_API_CALL clGetEventInfo(cl_event event,
                                               cl_event_info param_name,
                                               size_t param_value_size,
                                               void *param_value,
                                               size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    cl_int status, err;

    if (!cl_live(event, OPENCL_cl_event)) {
        return CL_INVALID_EVENT;
    }
    switch (param_name) {
    case CL_EVENT_COMMAND_QUEUE:
        return info_value(&out, cl_command_queue, event->queue);
    case CL_EVENT_CONTEXT:
        return info_value(&out, cl_context, event->context);
    case CL_EVENT_COMMAND_TYPE:
        return info_value(&out, cl_command_type, event->command);
    case CL_EVENT_REFERENCE_COUNT:
        return info_value(&out, cl_uint, cl_object_refs(event));
    case CL_EVENT_COMMAND_EXECUTION_STATUS:
        err = event_status(event, &status);
        return err != CL_SUCCESS ? err : info_value(&out, cl_int, status);
    default:
        return CL_INVALID_VALUE;
    }
}

CL_API_ENTRY cl_int CL_API_CALL clGetEventProfilingInfo(
    cl_event event, cl_profiling_info param_name, size_t param_value_size,
    void *param_value, size_t *param_value_size_ret)
{
    struct info_out out = { param_value_size, param_value,
                            param_value_size_ret };
    cl_ulong value = 0;
    size_t size;
    cl_int err;

    if (!cl_live(event, OPENCL_cl_event)) {
        return CL_INVALID_EVENT;
    }
    if (!event->queue || !(event->queue->flags & CL_QUEUE_PROFILING_ENABLE)) {
        return CL_PROFILING_INFO_NOT_AVAILABLE;
    }
    err = call_clGetEventProfilingInfo(event->obj.session, event->obj.id,
                                       param_name, sizeof(value), &value,
                                       &size);
    return err != CL_SUCCESS ? err : info_bytes(&out, &value, sizeof(value));
}
