/*
 * Whether a queue is idle: one queue is remembered, the one that was waited for
 * last. That is what programs do that compute, wait, and then read and write.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cl.h"

static uint64_t count = 1; /* leader only */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t idle_id, idle_at; /* under lock */

uint64_t queue_busy(void)
{
    return ++count;
}

uint64_t queue_count(void)
{
    return count;
}

void queue_set_idle(uint64_t id, uint64_t at)
{
    pthread_mutex_lock(&lock);
    idle_id = id;
    idle_at = at;
    pthread_mutex_unlock(&lock);
}

bool queue_was_idle(uint64_t id, uint64_t at)
{
    bool idle;

    pthread_mutex_lock(&lock);
    idle = idle_id == id && idle_at == at;
    pthread_mutex_unlock(&lock);
    return idle;
}

bool queue_is_idle(uint64_t id)
{
    return queue_was_idle(id, count);
}

/* --- what queues and contexts are ----------------------------------------------- */

static bool direct_is_on(void)
{
    const char *perf = getenv("VGPU_PERF");

    return !perf || !strstr(perf, "no_direct");
}

bool context_is_direct(cl_context context)
{
    cl_device_id devices[64];
    size_t size = 0;
    cl_device_type type, all = CL_DEVICE_TYPE_CPU;

    if (!direct_is_on() ||
        clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof(devices), devices,
                         &size) != CL_SUCCESS) {
        return false;
    }
    for (size_t i = 0; i < size / sizeof(devices[0]); i++) {
        type = 0;
        clGetDeviceInfo(devices[i], CL_DEVICE_TYPE, sizeof(type), &type, NULL);
        all &= type;
    }
    return all;
}

bool queue_keeps_order(cl_command_queue queue)
{
    cl_command_queue_properties flags = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;

    clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof(flags), &flags,
                          NULL);
    return !(flags & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
}

void *queue_function(cl_command_queue queue, const char *name)
{
    cl_device_id device = NULL;
    cl_platform_id platform = NULL;

    clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof(device), &device,
                          NULL);
    clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof(platform), &platform,
                    NULL);
    return clGetExtensionFunctionAddressForPlatform(platform, name);
}
