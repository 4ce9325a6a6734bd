/*
 * Between a render server and Vulkan: memory is charged before it is made. And where
 * exported memory lies in its file. On the host's own drivers; skipped without any.
 *
 * The tests run in a process that has the library preloaded, as a render server has;
 * the one that starts it is the worker that is asked.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#include "budget.h"
#include "proto.h"
#include "venus_server.h"
#include "venus_worker.h"

#define MIB (1u << 20)

/* --- a device, and what virglrenderer would call on it ------------------------ */

static VkInstance instance;
static VkPhysicalDevice physical;
static VkDevice device;

#define OF_DEVICE(_name) ((PFN_##_name)vkGetDeviceProcAddr(device, #_name))

static int open_device(void **state)
{
    static const char *const extension = VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME;
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .apiVersion = VK_API_VERSION_1_1,
    };
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &application,
    };
    const float priority = 1;
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    const VkDeviceCreateInfo wanted = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = 1,
        .ppEnabledExtensionNames = &extension,
    };
    uint32_t n = 1;

    if (vkCreateInstance(&info, NULL, &instance) != VK_SUCCESS ||
        vkEnumeratePhysicalDevices(instance, &n, &physical) < 0 || n == 0 ||
        vkCreateDevice(physical, &wanted, NULL, &device) != VK_SUCCESS) {
        print_message("this host has no Vulkan driver that exports memory\n");
        device = NULL;
    }
    return 0;
}

static int close_device(void **state)
{
    if (device) {
        OF_DEVICE(vkDestroyDevice)(device, NULL);
        vkDestroyInstance(instance, NULL);
    }
    return 0;
}

static VkResult allocate(VkDeviceSize size, VkDeviceMemory *memory)
{
    const VkExportMemoryAllocateInfo export = {
        .sType = VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO,
        .handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT,
    };
    const VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = &export,
        .allocationSize = size,
    };

    return OF_DEVICE(vkAllocateMemory)(device, &info, NULL, memory);
}

static void release(VkDeviceMemory memory)
{
    OF_DEVICE(vkFreeMemory)(device, memory, NULL);
}

#define NEEDS_DEVICE() \
    do { \
        if (!device) { \
            skip(); \
        } \
    } while (0)

/* --- tests -------------------------------------------------------------------- */

static void memory_is_charged_and_given_back(void **state)
{
    VkDeviceMemory one, other;

    NEEDS_DEVICE();
    assert_int_equal(allocate(40 * MIB, &one), VK_SUCCESS);
    assert_int_equal(allocate(40 * MIB, &other), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    release(one);
    assert_int_equal(allocate(40 * MIB, &other), VK_SUCCESS);
    release(other);
    release(VK_NULL_HANDLE);
}

static void more_than_a_file_may_have_is_refused(void **state)
{
    VkDeviceMemory memory;

    NEEDS_DEVICE();
    assert_int_equal(allocate(UINT64_MAX, &memory), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    assert_int_equal(allocate(VGPU_BLOB_SIZE_MAX, &memory),
                     VK_ERROR_OUT_OF_DEVICE_MEMORY);
}

static void heaps_are_no_larger_than_the_budget(void **state)
{
    VkPhysicalDeviceMemoryProperties p;

    NEEDS_DEVICE();
    vkGetPhysicalDeviceMemoryProperties(physical, &p);
    assert_in_range(p.memoryHeapCount, 1, VK_MAX_MEMORY_HEAPS);
    for (uint32_t i = 0; i < p.memoryHeapCount; i++) {
        assert_in_range(p.memoryHeaps[i].size, 1, 64 * MIB);
    }
}

/* What the driver sees is what is mapped from its file there. */
static void exported_memory_is_found_in_its_file(void **state)
{
    static const VkDeviceSize sizes[] = { 1, 4096, 4097, 100000, 8 * MIB };

    NEEDS_DEVICE();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = (sizes[i] + 4095) / 4096 * 4096;
        VkMemoryGetFdInfoKHR info = {
            .sType = VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR,
            .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT,
        };
        uint8_t *theirs, *ours;
        uint64_t offset;
        int fd;

        assert_int_equal(allocate(sizes[i], &info.memory), VK_SUCCESS);
        assert_int_equal(OF_DEVICE(vkGetMemoryFdKHR)(device, &info, &fd),
                         VK_SUCCESS);
        assert_int_equal(OF_DEVICE(vkMapMemory)(device, info.memory, 0,
                                                VK_WHOLE_SIZE, 0,
                                                (void **)&theirs), VK_SUCCESS);
        assert_int_equal(venus_memory_place(theirs, fd, &offset), 0);
        venus_memory_seal(fd);
        assert_int_equal(proto_check_blob(fd, offset + size), 0);
        ours = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                    (off_t)offset);
        assert_true(ours != MAP_FAILED);
        ours[0] = 0x5a;
        assert_int_equal(theirs[0], 0x5a);
        theirs[sizes[i] - 1] = 0xa5;
        assert_int_equal(ours[sizes[i] - 1], 0xa5);
        munmap(ours, size);
        close(fd);
        release(info.memory);
    }
}

static void memory_of_another_file_is_not_found(void **state)
{
    uint64_t offset;
    int fd = memfd_create("other", 0);
    char *map = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);

    assert_int_equal(venus_memory_place(&offset, fd, &offset), -ENOTSUP);
    assert_int_equal(venus_memory_place(map + 4096, fd, &offset), 0);
    assert_int_equal(offset, 4096);
    assert_int_equal(venus_memory_place(map + 64, fd, &offset), -ENOTSUP);
    munmap(map, 8192);
    close(fd);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_charged_and_given_back),
        cmocka_unit_test(more_than_a_file_may_have_is_refused),
        cmocka_unit_test(heaps_are_no_larger_than_the_budget),
        cmocka_unit_test(exported_memory_is_found_in_its_file),
        cmocka_unit_test(memory_of_another_file_is_not_found),
    };

    return cmocka_run_group_tests(tests, open_device, close_device);
}

/* --- the worker -------------------------------------------------------------- */

static void start_tests(char *self, int sock)
{
    char text[64];

    snprintf(text, sizeof(text), "%d %u", sock, 64 * MIB);
    setenv(VENUS_BUDGET, text, 1);
    setenv("LD_PRELOAD", getenv("VGPU_VENUS_PRELOAD"), 1);
    execl(self, self, "tests", NULL);
    perror(self);
    _exit(1);
}

int main(int argc, char **argv)
{
    struct budget_account account = { .max = 64 * MIB };
    uint64_t held = 0, most = 0;
    int pair[2], status = 0;
    int64_t hello = -1;

    if (argc > 1) {
        return run_all();
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0) {
        return 1;
    }
    if (fork() == 0) {
        close(pair[0]);
        start_tests(argv[0], pair[1]);
    }
    close(pair[1]);
    if (recv(pair[0], &hello, sizeof(hello), 0) != sizeof(hello) || hello) {
        fprintf(stderr, "the library does not say that it is there\n");
        return 1;
    }
    while (poll(&(struct pollfd){ pair[0], POLLIN, 0 }, 1, -1) == 1 &&
           budget_serve(pair[0], &account, &held)) {
        most = held > most ? held : most;
    }
    wait(&status);
    /* What is left is what may lie idle. */
    if (held > 64 * MIB / 1024 || (most && most < 40 * MIB)) {
        fprintf(stderr, "%llu bytes are left, %llu were charged\n",
                (unsigned long long)held, (unsigned long long)most);
        return 1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
