/*
 * A driver that the host's Vulkan loader takes for one: it has as many devices as
 * $FAKE_VULKAN says, and can do nothing. With "crash" it ends the process instead.
 * Vulkan's headers are not needed for so little.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef void any_fn(void);

/* What the loader gives out it marks, and writes over. */
static uintptr_t instance = 0x01CDC0DE, devices[2] = { 0x01CDC0DE, 0x01CDC0DE };

static int32_t create_instance(const void *info, const void *allocator, void **made)
{
    if (strcmp(getenv("FAKE_VULKAN"), "crash") == 0) {
        abort();
    }
    *made = &instance;
    return 0;
}

static int32_t enumerate_devices(void *from, uint32_t *n, void **out)
{
    uint32_t have = (uint32_t)atoi(getenv("FAKE_VULKAN"));

    if (!out) {
        *n = have;
        return 0;
    }
    *n = *n < have ? *n : have;
    for (uint32_t i = 0; i < *n; i++) {
        out[i] = &devices[i];
    }
    return *n < have ? 5 : 0;
}

static void describe(void *device, void *properties)
{
    memset(properties, 0, 256);
    memcpy((char *)properties + 20, "a fake \"GPU\"", 13);
}

static int32_t list_nothing(const char *layer, uint32_t *n, void *out)
{
    *n = 0;
    return 0;
}

static int32_t list_nothing_of(void *device, const char *layer, uint32_t *n, void *out)
{
    *n = 0;
    return 0;
}

static int32_t do_nothing(void)
{
    return 0;
}

EXPORT any_fn *vk_icdGetInstanceProcAddr(void *from, const char *name)
{
    static const struct {
        const char *name;
        any_fn *call;
    } calls[] = {
        { "vkCreateInstance", (any_fn *)create_instance },
        { "vkEnumeratePhysicalDevices", (any_fn *)enumerate_devices },
        { "vkGetPhysicalDeviceProperties", (any_fn *)describe },
        { "vkEnumerateInstanceExtensionProperties", (any_fn *)list_nothing },
        { "vkEnumerateDeviceExtensionProperties", (any_fn *)list_nothing_of },
        { "vkEnumerateInstanceVersion", NULL },
        { "vk_icdNegotiateLoaderICDInterfaceVersion", NULL },
    };

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (strcmp(name, calls[i].name) == 0) {
            return calls[i].call;
        }
    }
    return (any_fn *)do_nothing;
}

EXPORT int32_t vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version)
{
    *version = *version < 3 ? *version : 3;
    return 0;
}
