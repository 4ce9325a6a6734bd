/*
 * A program that loads OpenCL, computes, and unloads it, again and again; with a
 * callback each time, so that there is a thread which must not lose its code.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include <CL/cl.h>

#define ROUNDS 3

static _Atomic int called;

static void CL_CALLBACK count(cl_event event, cl_int status, void *unused)
{
    called++;
}

/* The functions that are used here, by their own names. */
#define LOAD(name) __typeof__(name) *p_##name = dlsym(library, #name)

static int use(void *library)
{
    LOAD(clGetPlatformIDs);
    LOAD(clGetDeviceIDs);
    LOAD(clCreateContext);
    LOAD(clCreateUserEvent);
    LOAD(clSetEventCallback);
    LOAD(clSetUserEventStatus);
    cl_platform_id platform;
    cl_device_id device;
    cl_context context;
    cl_event event;
    int before = called;

    if (p_clGetPlatformIDs(1, &platform, NULL) ||
        p_clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL)) {
        return 1;
    }
    context = p_clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    event = context ? p_clCreateUserEvent(context, NULL) : NULL;
    if (!event || p_clSetEventCallback(event, CL_COMPLETE, count, NULL) ||
        p_clSetUserEventStatus(event, CL_COMPLETE)) {
        return 2;
    }
    for (int i = 0; i < 5000 && called == before; i++) {
        usleep(1000);
    }
    return called == before + 1 ? 0 : 3; /* nothing is released */
}

int main(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        void *library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
        int err = library ? use(library) : 4;

        if (err) {
            fprintf(stderr, "round %d: %d\n", i, err);
            return err;
        }
        dlclose(library);
    }
    return 0;
}
