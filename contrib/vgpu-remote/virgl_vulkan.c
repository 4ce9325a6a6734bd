/*
 * Whether guests have Vulkan here: virglrenderer's Venus, on drivers whose memory a guest
 * may map. That is looked at in this order, and the first that is missing is what is said:
 *
 *   1. virglrenderer is built with Venus, in the form that has been kept since its 1.0.
 *      What 0.10 speaks no driver of a guest does that Debian has
 *   2. its render server runs, here, and makes a context
 *   3. there is a Vulkan loader, a driver, and a GPU
 *   4. the driver's memory can be had as a file that nobody can shrink, and lies in it
 *      by whole pages: the device maps nothing else for a guest. Of Mesa's rasterizer it
 *      is so; of a GPU's driver it is not: that gives a dma-buf, or nothing to map
 *
 * A driver may do anything when it is loaded. So nothing that draws asks for this, but
 * the worker that the device starts to ask what there is, and lets go.
 *
 * SPDX-License-Identifier: MIT
 */
#define VIRGL_RENDERER_UNSTABLE_APIS
#include "virgl_worker.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <virglrenderer.h>
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include "proto.h"
#include "venus_server.h"
#include "venus_worker.h"

#define NONE "no Vulkan (Venus) for guests: "

#define DEVICES_MAX 16u
#define TRIED_BYTES 65536u

/* A device, while its memory is tried. */
struct trial {
    PFN_vkGetInstanceProcAddr get;
    VkInstance instance;
    VkPhysicalDevice physical;
    PFN_vkGetDeviceProcAddr get_device;
    VkDevice device;
};

#define OF_INSTANCE(_t, _name) ((PFN_##_name)(_t)->get((_t)->instance, #_name))
#define OF_DEVICE(_t, _name) ((PFN_##_name)(_t)->get_device((_t)->device, #_name))

/* --- memory ---------------------------------------------------------------- */

/* A type that can be mapped; as many as there are: none. */
static uint32_t find_type(const struct trial *t)
{
    VkPhysicalDeviceMemoryProperties p;
    uint32_t i = 0;

    OF_INSTANCE(t, vkGetPhysicalDeviceMemoryProperties)(t->physical, &p);
    while (i < p.memoryTypeCount && !(p.memoryTypes[i].propertyFlags &
                                      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)) {
        i++;
    }
    return i;
}

static bool check_file(int fd, const void *at)
{
    uint64_t offset;
    bool ok = venus_memory_place(at, fd, &offset) == 0;

    venus_memory_seal(fd);
    ok = ok && proto_check_blob(fd, offset + TRIED_BYTES) == 0;
    close(fd);
    return ok;
}

static bool share(const struct trial *t, VkDeviceMemory memory)
{
    VkMemoryGetFdInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR,
        .memory = memory,
        .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT,
    };
    PFN_vkGetMemoryFdKHR export = OF_DEVICE(t, vkGetMemoryFdKHR);
    void *at;
    int fd;

    return export && export(t->device, &info, &fd) == VK_SUCCESS &&
           OF_DEVICE(t, vkMapMemory)(t->device, memory, 0, VK_WHOLE_SIZE, 0,
                                     &at) == VK_SUCCESS && check_file(fd, at);
}

static bool allocate_and_share(const struct trial *t)
{
    VkExportMemoryAllocateInfo export = {
        .sType = VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO,
        .handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT,
    };
    VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = &export,
        .allocationSize = TRIED_BYTES,
        .memoryTypeIndex = find_type(t),
    };
    VkDeviceMemory memory;
    bool ok;

    if (info.memoryTypeIndex == VK_MAX_MEMORY_TYPES ||
        OF_DEVICE(t, vkAllocateMemory)(t->device, &info, NULL, &memory) !=
            VK_SUCCESS) {
        return false;
    }
    ok = share(t, memory);
    OF_DEVICE(t, vkFreeMemory)(t->device, memory, NULL);
    return ok;
}

/* Then virglrenderer takes that, and nothing else. */
static bool gives_dma_bufs(const struct trial *t)
{
    const VkPhysicalDeviceExternalBufferInfo info = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO,
        .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT,
        .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT,
    };
    VkExternalBufferProperties p = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES,
    };

    OF_INSTANCE(t, vkGetPhysicalDeviceExternalBufferProperties)(t->physical,
                                                                &info, &p);
    return p.externalMemoryProperties.externalMemoryFeatures &
           VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT;
}

static bool can_share(struct trial *t)
{
    static const char *const extension = VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME;
    const float priority = 1;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = 1,
        .ppEnabledExtensionNames = &extension,
    };
    bool ok;

    if (gives_dma_bufs(t) || OF_INSTANCE(t, vkCreateDevice)(
                                 t->physical, &info, NULL, &t->device) !=
                                 VK_SUCCESS) {
        return false;
    }
    t->get_device = OF_INSTANCE(t, vkGetDeviceProcAddr);
    ok = allocate_and_share(t);
    OF_DEVICE(t, vkDestroyDevice)(t->device, NULL);
    return ok;
}

/* --- devices --------------------------------------------------------------- */

static void say(char *why, const char *what, const char *name)
{
    snprintf(why, VIRGL_TEXT_MAX, what, name);
}

/* A guest sees them all, so all have to do. */
static bool try_devices(struct trial *t, char *name, char *why)
{
    VkPhysicalDevice devices[DEVICES_MAX];
    VkPhysicalDeviceProperties p;
    uint32_t n = DEVICES_MAX;
    VkResult result =
        OF_INSTANCE(t, vkEnumeratePhysicalDevices)(t->instance, &n, devices);

    if ((result != VK_SUCCESS && result != VK_INCOMPLETE) || n == 0) {
        say(why, NONE "this host's driver for it finds no GPU%s", "");
        return false;
    }
    for (uint32_t i = n; i-- > 0;) {
        t->physical = devices[i];
        OF_INSTANCE(t, vkGetPhysicalDeviceProperties)(t->physical, &p);
        snprintf(name, VIRGL_TEXT_MAX / 4, "%.60s", p.deviceName);
        if (!can_share(t)) {
            say(why, NONE "this host's driver (%s) has no memory that could be "
                "handed to a guest as sealed memory", name);
            return false;
        }
    }
    return true;
}

static bool try_drivers(char *name, char *why)
{
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .apiVersion = VK_API_VERSION_1_1,
    };
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &application,
    };
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    struct trial t = { 0 };
    PFN_vkCreateInstance create = NULL;
    bool ok;

    if (library) {
        t.get = (PFN_vkGetInstanceProcAddr)dlsym(library, "vkGetInstanceProcAddr");
        create = t.get ? OF_INSTANCE(&t, vkCreateInstance) : NULL;
    }
    if (!create) {
        say(why, NONE "this host has no Vulkan loader: install %s, say",
            "libvulkan1");
        return false;
    }
    if (create(&info, NULL, &t.instance) != VK_SUCCESS) {
        say(why, NONE "this host has no driver for it: install %s, say",
            "mesa-vulkan-drivers");
        return false;
    }
    ok = try_devices(&t, name, why);
    OF_INSTANCE(&t, vkDestroyInstance)(t.instance, NULL);
    return ok;
}

/* --- virglrenderer --------------------------------------------------------- */

static void retire(void *session, uint32_t context, uint32_t timeline, uint64_t seq)
{
}

/* Of Venus' caps: the form of its messages, and what it is made after. */
static bool is_early(const uint8_t *caps)
{
    uint32_t words[2];

    memcpy(words, caps, sizeof(words));
    return words[0] == 0 && words[1] != 0;
}

/* virglrenderer 0.10 has caps without a server, too. */
static bool is_early_version(uint8_t *caps)
{
    static struct virgl_renderer_callbacks callbacks = {
        .version = 3,
        .write_context_fence = retire,
    };
    bool early = virgl_renderer_init(caps, VIRGL_RENDERER_VENUS |
                                     VIRGL_RENDERER_NO_VIRGL, &callbacks) == 0;

    virgl_renderer_fill_caps(VENUS_CAPSET_ID, 0, caps);
    early = early && is_early(caps);
    virgl_renderer_cleanup(caps);
    return early;
}

uint32_t virgl_vulkan_look(struct session *s, uint8_t *caps, uint32_t *version,
                           char *why)
{
    char name[VIRGL_TEXT_MAX / 4];
    const char *what;
    uint32_t size = 0;

    virgl_renderer_get_cap_set(VENUS_CAPSET_ID, version, &size);
    if (size < 2 * sizeof(uint32_t) || size > VENUS_CAPS_MAX) {
        say(why, NONE "this virglrenderer is built without it%s", "");
        return 0;
    }
    virgl_renderer_cleanup(s);
    if (is_early_version(caps)) {
        say(why, NONE "this virglrenderer has an early form of it, wire format 0, "
            "which guests' drivers do not speak; %s or later is needed", "1.0");
        return 0;
    }
    what = venus_server_start(s, retire);
    if (what) {
        say(why, NONE "of virglrenderer's render server %s: is virgl-server "
            "installed?", what);
        return 0;
    }
    if (!try_drivers(name, why)) {
        return 0;
    }
    virgl_renderer_fill_caps(VENUS_CAPSET_ID, *version, caps);
    say(why, "Vulkan (Venus) for guests by %s", name);
    return size;
}
