/*
 * Prints the platforms and devices that a program finds, one a line. With
 * --no-vendors the ICD loader is told that there are none.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl.h>

static void print_devices(cl_platform_id platform)
{
    cl_device_id devices[16];
    char name[256] = "";
    cl_uint n = 0;

    clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 16, devices, &n);
    for (cl_uint i = 0; i < n && i < 16; i++) {
        clGetDeviceInfo(devices[i], CL_DEVICE_NAME, sizeof(name), name, NULL);
        printf("device: %s\n", name);
    }
}

int main(int argc, char **argv)
{
    cl_platform_id platforms[16];
    char name[256] = "";
    cl_uint n = 0;

    if (argc > 1 && strcmp(argv[1], "--no-vendors") == 0) {
        setenv("OCL_ICD_VENDORS", "/nonexistent/", 1);
    }
    clGetPlatformIDs(16, platforms, &n);
    for (cl_uint i = 0; i < n && i < 16; i++) {
        clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof(name), name,
                          NULL);
        printf("platform: %s\n", name);
        print_devices(platforms[i]);
    }
    return n == 0;
}
