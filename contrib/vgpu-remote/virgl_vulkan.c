/*
 * Why a guest has no Vulkan. virglrenderer may have Venus, which is Vulkan for
 * guests, and the host drivers for it; that is looked at in this order, and the first
 * that is missing is what is said. What is missing last is ours: its blobs are memory
 * of the driver's, and nothing here hands that to a guest.
 *
 * A driver may do anything when it is loaded. So nothing that draws asks for this, but
 * the worker that the device starts to ask what there is, and lets go.
 *
 * SPDX-License-Identifier: MIT
 */
#include "virgl_worker.h"

#include <dlfcn.h>
#include <stdio.h>
#include <virglrenderer.h>

#define NONE "no Vulkan (Venus) for guests: "
#define VENUS_CAPSET_ID 4

/* Of Vulkan, as much as is asked here: its headers are not on every machine. */
typedef void any_fn(void);
typedef any_fn *get_fn(void *instance, const char *name);

struct instance_info {
    uint32_t type; /* 1 */
    const void *next;
    uint32_t flags;
    const void *application;
    uint32_t n_layers;
    const char *const *layers;
    uint32_t n_extensions;
    const char *const *extensions;
};

typedef int32_t create_fn(const struct instance_info *info, const void *allocator,
                          void **instance);
typedef void destroy_fn(void *instance, const void *allocator);
typedef int32_t enumerate_fn(void *instance, uint32_t *n, void **devices);
typedef void properties_fn(void *device, void *properties);

/* VkPhysicalDeviceProperties, and what later versions may add. */
union properties {
    struct {
        uint32_t versions_and_ids[5];
        char name[256];
    };
    uint64_t room[512];
};

/* Returns how many devices the drivers have; @name gets that of the first. */
static uint32_t count_devices(get_fn *get, void *instance, char *name, size_t size)
{
    enumerate_fn *enumerate =
        (enumerate_fn *)get(instance, "vkEnumeratePhysicalDevices");
    properties_fn *describe =
        (properties_fn *)get(instance, "vkGetPhysicalDeviceProperties");
    static union properties p;
    uint32_t n = 1;
    void *device;

    /* 5: there are more. */
    if (!enumerate || !describe || (enumerate(instance, &n, &device) & ~5) || !n) {
        return 0;
    }
    describe(device, &p);
    snprintf(name, size, "%.60s", p.name);
    return n;
}

/* Returns NULL, and the name of a device; or what is missing. */
static const char *look_for_device(char *name, size_t size)
{
    const struct instance_info info = { .type = 1 };
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    get_fn *get = library ? (get_fn *)dlsym(library, "vkGetInstanceProcAddr") : NULL;
    create_fn *create = get ? (create_fn *)get(NULL, "vkCreateInstance") : NULL;
    destroy_fn *destroy;
    void *instance;
    uint32_t n;

    if (!create) {
        return "this host has no Vulkan loader: install libvulkan1, say";
    }
    if (create(&info, NULL, &instance) != 0) {
        return "this host has no driver for it: install mesa-vulkan-drivers, say";
    }
    n = count_devices(get, instance, name, size);
    destroy = (destroy_fn *)get(instance, "vkDestroyInstance");
    if (destroy) {
        destroy(instance, NULL);
    }
    return n ? NULL : "this host's driver for it finds no GPU";
}

void virgl_vulkan_why(char *why)
{
    uint32_t version = 0, size = 0;
    const char *missing;
    char name[64];

    virgl_renderer_get_cap_set(VENUS_CAPSET_ID, &version, &size);
    missing = size == 0 ? "this virglrenderer is built without it"
                        : look_for_device(name, sizeof(name));
    if (missing) {
        snprintf(why, VIRGL_TEXT_MAX, NONE "%s", missing);
    } else {
        snprintf(why, VIRGL_TEXT_MAX, NONE "virglrenderer and this host (%s) have "
                 "it, but vgpu-remote does not serve it yet", name);
    }
}
