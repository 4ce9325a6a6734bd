/*
 * Memory of the host's Vulkan as a guest gets it: a part of a file.
 *
 * Mesa's software rasterizer exports a memfd, sealed, whose first page is its own. Where
 * in a file memory lies is nothing that Vulkan tells; but what is mapped from it
 * the kernel does, in /proc/self/maps.
 *
 * SPDX-License-Identifier: MIT
 */
#include "venus_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Find the mapping that @at is in. Returns the file, or 0. */
static ino_t look_up(const void *at, uint64_t *offset)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    ino_t file = 0;

    while (maps && !file && fgets(line, sizeof(line), maps)) {
        uint64_t begin, end, from, inode;

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %" SCNu64,
                   &begin, &end, &from, &inode) == 4 &&
            (uintptr_t)at >= begin && (uintptr_t)at < end) {
            file = inode;
            *offset = from + (uintptr_t)at - begin;
        }
    }
    if (maps) {
        fclose(maps);
    }
    return file;
}

int venus_memory_place(const void *at, int fd, uint64_t *offset)
{
    ino_t file = look_up(at, offset);
    struct stat st;

    return file && fstat(fd, &st) == 0 && st.st_ino == file &&
           *offset % (uint64_t)sysconf(_SC_PAGESIZE) == 0 ? 0 : -ENOTSUP;
}

void venus_memory_seal(int fd)
{
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}
