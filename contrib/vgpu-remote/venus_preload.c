/*
 * In virglrenderer's render server: what it has a driver allocate is charged.
 *
 * The server calls Vulkan by the loader's functions, which it takes from whatever in its
 * process has them. This is a library of its own, which comes first there: the worker
 * that starts the server has it preloaded (venus_server.c). It hands on all calls, and
 *
 * - asks the worker for the bytes before a driver makes memory, so that a guest that wants
 *   too much hears it from vkAllocateMemory, as on any GPU;
 * - shows the budget as the size of the heaps.
 *
 * A request of no bytes, which is not answered, says that it is there.
 *
 * The server forks a process for its one context, which does the work. The socket to
 * the worker is that one's alone: when it ends, however that is, the worker hears it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "venus_server.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#include "budget.h"
#include "vgpu.h"

#define BUCKETS 1024u

/* What a driver takes for each, beside the memory; and what fits into a file. */
#define OVERHEAD 8192u
#define ALLOCATION_MAX (VGPU_BLOB_SIZE_MAX - OVERHEAD)

struct charge {
    struct charge *next;
    VkDeviceMemory memory;
    uint64_t bytes;
};

static struct budget budget; /* of no bytes, unless it is told */

/* Under lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct charge *buckets[BUCKETS];

/* The loader's own. */
#define LOADER(_name) ((PFN_##_name)dlsym(RTLD_NEXT, #_name))

/* --- what it costs ---------------------------------------------------------- */

static struct charge **find(VkDeviceMemory memory)
{
    struct charge **at = &buckets[(uintptr_t)memory / 64 % BUCKETS];

    while (*at && (*at)->memory != memory) {
        at = &(*at)->next;
    }
    return at;
}

static VkResult VKAPI_CALL allocate(VkDevice device,
                                    const VkMemoryAllocateInfo *info,
                                    const VkAllocationCallbacks *callbacks,
                                    VkDeviceMemory *memory)
{
    struct charge *c = malloc(sizeof(*c)), **at;
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;

    if (!c || info->allocationSize > ALLOCATION_MAX) {
        goto free;
    }
    c->bytes = info->allocationSize + OVERHEAD;
    if (!budget_charge(&budget, c->bytes)) {
        goto free;
    }
    result = LOADER(vkAllocateMemory)(device, info, callbacks, memory);
    if (result != VK_SUCCESS) {
        goto release;
    }
    c->memory = *memory;
    pthread_mutex_lock(&lock);
    at = find(*memory);
    c->next = *at; /* NULL */
    *at = c;
    pthread_mutex_unlock(&lock);
    return VK_SUCCESS;

release:
    budget_release(&budget, c->bytes);
free:
    free(c);
    return result;
}

static void VKAPI_CALL release(VkDevice device, VkDeviceMemory memory,
                               const VkAllocationCallbacks *callbacks)
{
    struct charge *c, **at;

    /* Taken out first: another one may get that handle at once. */
    pthread_mutex_lock(&lock);
    at = find(memory);
    c = *at;
    if (c) {
        *at = c->next;
    }
    pthread_mutex_unlock(&lock);
    LOADER(vkFreeMemory)(device, memory, callbacks);
    if (c) {
        budget_release(&budget, c->bytes);
        free(c);
    }
}

/* --- in the loader's place -------------------------------------------------- */

#define OURS __attribute__((visibility("default"))) VKAPI_ATTR

OURS PFN_vkVoidFunction VKAPI_CALL vkGetDeviceProcAddr(VkDevice device,
                                                       const char *name)
{
    PFN_vkVoidFunction theirs = LOADER(vkGetDeviceProcAddr)(device, name);

    if (theirs && strcmp(name, "vkAllocateMemory") == 0) {
        return (PFN_vkVoidFunction)allocate;
    }
    if (theirs && strcmp(name, "vkFreeMemory") == 0) {
        return (PFN_vkVoidFunction)release;
    }
    return theirs;
}

static void clamp(VkPhysicalDeviceMemoryProperties *p)
{
    for (uint32_t i = 0; i < p->memoryHeapCount; i++) {
        if (p->memoryHeaps[i].size > budget.max) {
            p->memoryHeaps[i].size = budget.max;
        }
    }
}

OURS void VKAPI_CALL vkGetPhysicalDeviceMemoryProperties(
    VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties *p)
{
    LOADER(vkGetPhysicalDeviceMemoryProperties)(device, p);
    clamp(p);
}

OURS void VKAPI_CALL vkGetPhysicalDeviceMemoryProperties2(
    VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2 *p)
{
    LOADER(vkGetPhysicalDeviceMemoryProperties2)(device, p);
    clamp(&p->memoryProperties);
}

/* --- the start -------------------------------------------------------------- */

static void leave_it_to_the_child(void)
{
    if (budget.server >= 0) {
        close(budget.server);
        budget.server = -1;
    }
}

__attribute__((constructor)) static void begin(void)
{
    const char *told = getenv(VENUS_BUDGET);
    unsigned long long max;
    int fd;

    budget_init(&budget, -1, 0);
    if (told && sscanf(told, "%d %llu", &fd, &max) == 2) {
        budget_init(&budget, fd, max);
        budget.busy_max = budget.spare_max; /* nobody trims it here */
        send(fd, &(int64_t){ 0 }, sizeof(int64_t), MSG_NOSIGNAL);
        pthread_atfork(NULL, leave_it_to_the_child, NULL);
    }
    unsetenv("LD_PRELOAD");
    unsetenv(VENUS_BUDGET);
}
