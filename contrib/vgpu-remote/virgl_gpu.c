/*
 * Which GPU draws for a guest. EGL lists those that it has; one is named by its render
 * node, as elsewhere in QEMU, by its device file, or by a link to either.
 * virglrenderer gets the node. To draw without a GPU Mesa is told by its own variable,
 * and what it then does is looked at: another vendor's EGL does not know that.
 *
 * SPDX-License-Identifier: MIT
 */
#include "virgl_worker.h"

#include <epoxy/egl.h>
#include <epoxy/gl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* libepoxy's headers may be older than that. */
#ifndef EGL_DRM_RENDER_NODE_FILE_EXT
#define EGL_DRM_RENDER_NODE_FILE_EXT 0x3377
#endif

#define GPUS_MAX 16
#define SOFTWARE "software"

/* One of an EGL device's strings, if it has that extension. */
static const char *string_of(EGLDeviceEXT device, const char *extension,
                             EGLint name)
{
    const char *all = eglQueryDeviceStringEXT(device, EGL_EXTENSIONS);

    return all && epoxy_extension_in_string(all, extension)
               ? eglQueryDeviceStringEXT(device, name) : NULL;
}

static const char *node_of(EGLDeviceEXT device)
{
    return string_of(device, "EGL_EXT_device_drm_render_node",
                     EGL_DRM_RENDER_NODE_FILE_EXT);
}

static const char *card_of(EGLDeviceEXT device)
{
    return string_of(device, "EGL_EXT_device_drm", EGL_DRM_DEVICE_FILE_EXT);
}

static bool is_software(EGLDeviceEXT device)
{
    return string_of(device, "EGL_MESA_device_software", EGL_EXTENSIONS);
}

/* What is opened to use it; NULL: nothing. */
static const char *file_of(EGLDeviceEXT device)
{
    const char *node = node_of(device);

    return node ? node : card_of(device);
}

/* What a user would call it; NULL: nothing. */
static const char *name_of(EGLDeviceEXT device)
{
    const char *file = file_of(device);

    return file ? file : is_software(device) ? SOFTWARE : NULL;
}

static bool is_same_file(const char *one, const char *other)
{
    struct stat a, b;

    return one && stat(one, &a) == 0 && stat(other, &b) == 0 &&
           S_ISCHR(a.st_mode) && S_ISCHR(b.st_mode) && a.st_rdev == b.st_rdev;
}

static EGLint list(EGLDeviceEXT *devices)
{
    EGLint n = 0;

    if (!epoxy_has_egl_extension(EGL_NO_DISPLAY, "EGL_EXT_device_enumeration") ||
        !epoxy_has_egl_extension(EGL_NO_DISPLAY, "EGL_EXT_device_query") ||
        !eglQueryDevicesEXT(GPUS_MAX, devices, &n)) {
        return 0;
    }
    return n;
}

static void say_what_there_is(const char *gpu, const EGLDeviceEXT *devices,
                              EGLint n, char *why)
{
    int used = snprintf(why, VIRGL_TEXT_MAX, "there is no GPU %s; there is", gpu);
    const char *separator = " ";

    for (EGLint i = 0; i < n; i++) {
        const char *name = name_of(devices[i]);

        if (name && used < VIRGL_TEXT_MAX) {
            used += snprintf(why + used, (size_t)(VIRGL_TEXT_MAX - used), "%s%s",
                             separator, name);
            separator = ", ";
        }
    }
    if (separator[0] == ' ' && used < VIRGL_TEXT_MAX) {
        snprintf(why + used, (size_t)(VIRGL_TEXT_MAX - used),
                 " none that EGL can tell of");
    }
}

/* Whether it only has pictures, in which Mesa draws without it (see virgl_export.c). */
static bool is_dumb(EGLDeviceEXT device)
{
    EGLDisplay display = eglGetPlatformDisplayEXT(EGL_PLATFORM_DEVICE_EXT, device,
                                                  NULL);
    /* libepoxy would look for it in the display that is current. */
    const char *(*driver_of)(EGLDisplay) = NULL;
    const char *driver = NULL;
    bool is;

    if (!display || !eglInitialize(display, NULL, NULL)) {
        return false;
    }
    if (epoxy_has_egl_extension(display, "EGL_MESA_query_driver")) {
        driver_of = (const char *(*)(EGLDisplay))eglGetProcAddress(
            "eglGetDisplayDriverName");
    }
    if (driver_of) {
        driver = driver_of(display);
    }
    is = driver && strcmp(driver, "kms_swrast") == 0;
    eglTerminate(display);
    return is;
}

/* A GPU's render node, whatever it was named by; of others the device, if that was named. */
static bool open_node(EGLDeviceEXT device, const char *gpu, int *fd, char *why)
{
    const char *file = file_of(device);

    if (is_same_file(card_of(device), gpu) && is_dumb(device)) {
        file = card_of(device);
    }
    *fd = open(file, O_RDWR | O_CLOEXEC);
    if (*fd < 0) {
        snprintf(why, VIRGL_TEXT_MAX, "the GPU %s cannot be used: %s", gpu,
                 strerror(errno));
    }
    return *fd >= 0;
}

/* Whether EGL, told to draw without a GPU, does. */
static bool force_software(char *why)
{
    EGLDisplay display;
    EGLAttrib device = 0;

    setenv("LIBGL_ALWAYS_SOFTWARE", "1", 1);
    display = eglGetPlatformDisplayEXT(EGL_PLATFORM_SURFACELESS_MESA,
                                       EGL_DEFAULT_DISPLAY, NULL);
    if (display && eglInitialize(display, NULL, NULL)) {
        eglQueryDisplayAttribEXT(display, EGL_DEVICE_EXT, &device);
        if (device && !is_software((EGLDeviceEXT)device)) {
            device = 0;
        }
        eglTerminate(display);
    }
    if (!device) {
        snprintf(why, VIRGL_TEXT_MAX, "this host's EGL does not draw without a GPU: "
                 "install libgl1-mesa-dri, say");
    }
    return device;
}

bool virgl_gpu_choose(const char *gpu, int *fd, char *why)
{
    EGLDeviceEXT devices[GPUS_MAX];
    bool software = strcmp(gpu, SOFTWARE) == 0;
    EGLint n;

    *fd = -1;
    if (!gpu[0]) {
        return true;
    }
    n = list(devices);
    for (EGLint i = 0; i < n; i++) {
        if (software && is_software(devices[i])) {
            return force_software(why);
        }
        if (!software && (is_same_file(node_of(devices[i]), gpu) ||
                          is_same_file(card_of(devices[i]), gpu))) {
            return open_node(devices[i], gpu, fd, why);
        }
    }
    say_what_there_is(gpu, devices, n, why);
    return false;
}
