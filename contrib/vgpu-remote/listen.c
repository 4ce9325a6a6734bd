/*
 * The listening socket, and what to do with one that lies in its place.
 *
 * SPDX-License-Identifier: MIT
 */
#include "listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#define BACKLOG 64

/* The inode that listen_at() made, so that no other server's is removed. */
static struct stat made;

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Whether a server answers at @addr. */
static bool is_served(const struct sockaddr_un *addr)
{
    int fd = new_socket();
    bool served = fd >= 0 && (connect(fd, (const struct sockaddr *)addr,
                                      sizeof(*addr)) == 0 ||
                              errno == EAGAIN);

    if (fd >= 0) {
        close(fd);
    }
    return served;
}

static int bind_private(int fd, const struct sockaddr_un *addr)
{
    mode_t mask = umask(0177);
    int ret = bind(fd, (const struct sockaddr *)addr, sizeof(*addr));

    umask(mask);
    return ret;
}

int listen_at(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct stat st;
    int fd = new_socket();

    if (fd < 0) {
        die("cannot make a socket: %s", strerror(errno));
    }
    if (strlen(path) >= sizeof(addr.sun_path)) {
        die("the socket's path '%s' is %zu bytes long; at most %zu are possible",
            path, strlen(path), sizeof(addr.sun_path) - 1);
    }
    strcpy(addr.sun_path, path);
    if (bind_private(fd, &addr) < 0 && errno == EADDRINUSE) {
        if (is_served(&addr)) {
            die("another server listens at '%s' already", path);
        }
        if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
            die("'%s' is there and is no socket; choose another path", path);
        }
        unlink(path);
        if (bind_private(fd, &addr) < 0) {
            die("cannot listen at '%s': %s", path, strerror(errno));
        }
    } else if (lstat(path, &st) < 0) {
        die("cannot listen at '%s': %s", path, strerror(errno));
    }
    if (listen(fd, BACKLOG) < 0 || lstat(path, &made) < 0) {
        die("cannot listen at '%s': %s", path, strerror(errno));
    }
    return fd;
}

void listen_stop(int fd, const char *path)
{
    struct stat st;

    if (fd < 0) {
        return;
    }
    close(fd);
    if (lstat(path, &st) == 0 && st.st_ino == made.st_ino &&
        st.st_dev == made.st_dev) {
        unlink(path);
    }
}
