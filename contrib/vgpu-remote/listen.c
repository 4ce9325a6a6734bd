/*
 * The listening socket, and what to do with one that lies in its place.
 *
 * SPDX-License-Identifier: MIT
 */
#include "listen.h"

#include <errno.h>
#include <stdio.h>
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

/* Listen at @addr, for this user alone. */
static int listen_private(int fd, const struct sockaddr_un *addr)
{
    mode_t mask = umask(0177);
    int ret = bind(fd, (const struct sockaddr *)addr, sizeof(*addr));

    umask(mask);
    return ret < 0 ? ret : listen(fd, BACKLOG);
}

/* Give the socket @from the name @path, where no other server answers. */
static int move_to(const char *from, const struct sockaddr_un *to)
{
    const char *path = to->sun_path;
    struct stat st;

    if (link(from, path) == 0) {
        return unlink(from);
    }
    if (errno != EEXIST) {
        return -1;
    }
    if (is_served(to)) {
        unlink(from);
        die("another server listens at '%s' already", path);
    }
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        unlink(from);
        die("'%s' is there and is no socket; choose another path", path);
    }
    return rename(from, path);
}

int listen_at(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX }, own = addr;
    const size_t most = sizeof(addr.sun_path) - sizeof(".4194304");
    int fd = new_socket();

    if (fd < 0) {
        die("cannot make a socket: %s", strerror(errno));
    }
    if (strlen(path) > most) {
        die("the socket's path '%s' is %zu bytes long; at most %zu are possible",
            path, strlen(path), most);
    }
    strcpy(addr.sun_path, path);
    /* By another name until it listens: whoever sees the socket may connect. */
    snprintf(own.sun_path, sizeof(own.sun_path), "%s.%d", path, getpid());
    unlink(own.sun_path);
    if (listen_private(fd, &own) < 0 || lstat(own.sun_path, &made) < 0 ||
        move_to(own.sun_path, &addr) < 0) {
        int err = errno;

        unlink(own.sun_path);
        die("cannot listen at '%s': %s", path, strerror(err));
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
