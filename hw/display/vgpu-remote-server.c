/*
 * The connection to vgpu-remoted: one per device, a SOCK_SEQPACKET socket.
 *
 * Without `server=` the device has a server of its own. It is started with one
 * end of a socket pair (`--fd 3`), serves that, and ends when the device
 * closes its end: so it needs no address, and cannot outlive the VM. With
 * `server=unix:PATH` the device is one client of many.
 *
 * The connection is made when the device is, so that what is wrong is said at
 * start. If it ends later, all contexts are lost, and the next context makes
 * it again; at most one attempt a second, as a guest can ask for contexts in a
 * loop. A worker that it starts has a socket of its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "hw/display/vgpu-remote.h"

#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "system/system.h"
#include "trace/trace-hw_display_vgpu_remote.h"

#define PROGRAM   "vgpu-remoted"
#define CHILD_FD  3
#define RETRY_MS  1000

#define PACKETS_MAX 16 /* read in one go, so that nobody else waits long */

static bool is_private(const VgpuRemote *vr)
{
    return !vr->server || !vr->server[0];
}

/* --- the end of a connection --------------------------------------------- */

void vgpu_server_close(VgpuRemote *vr)
{
    if (vr->server_sock >= 0) {
        qemu_set_fd_handler(vr->server_sock, NULL, NULL, NULL);
        close(vr->server_sock);
        vr->server_sock = -1;
    }
}

static void server_lost(VgpuRemote *vr, const char *why)
{
    trace_vgpu_remote_server_lost(why);
    vgpu_report(vr, "the connection to vgpu-remoted is lost: %s", why);
    vgpu_server_close(vr);
    vgpu_contexts_lose_all(vr, why);
}

static void serve_welcome(VgpuRemote *vr, const struct proto_welcome *m)
{
    g_autofree char *why = NULL;

    if (m->status == 0) {
        vr->memory_max = m->memory_max;
        return;
    }
    if (m->version != VGPU_PROTOCOL_VERSION) {
        why = g_strdup_printf("it has protocol version %u, this device has %u: "
                              "install the same release of both", m->version,
                              VGPU_PROTOCOL_VERSION);
    } else {
        why = g_strdup_printf("it does not serve this VM: %s",
                              strerror(m->status));
    }
    server_lost(vr, why);
}

static void readable(void *opaque)
{
    VgpuRemote *vr = opaque;
    union proto_any m;
    int fds[PROTO_FDS_MAX];
    int got = proto_recv(vr->server_sock, &m, fds);

    if (got == -EAGAIN) {
        return;
    }
    if (got == 1 && m.type == PROTO_WELCOME) {
        serve_welcome(vr, &m.welcome);
        return;
    }
    for (int i = 0; i < PROTO_FDS_MAX; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    server_lost(vr, got == 0 ? "it has ended"
                             : got == 1 ? "it broke the protocol"
                                        : strerror(-got));
}

/* --- a server of one's own ----------------------------------------------- */

/* The program beside this one, if it is there. */
static char *find_sibling(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = self ? g_path_get_dirname(self) : NULL;
    g_autofree char *path = dir ? g_build_filename(dir, PROGRAM, NULL) : NULL;

    return path && access(path, X_OK) == 0 ? g_steal_pointer(&path) : NULL;
}

static char *find_program(Error **errp)
{
    const char *env = getenv("VGPU_REMOTED");
    char *path;

    if (env && env[0]) {
        if (access(env, X_OK) == 0) {
            return g_strdup(env);
        }
        error_setg_errno(errp, errno, "VGPU_REMOTED=%s: cannot be executed",
                         env);
        return NULL;
    }
    path = find_sibling();
    if (!path) {
        path = g_find_program_in_path(PROGRAM);
    }
    if (!path) {
        error_setg(errp, "there is no " PROGRAM " beside this program or in "
                   "$PATH: install it, name it by VGPU_REMOTED=PATH, or join one "
                   "that runs with server=unix:PATH");
    }
    return path;
}

static void reap(GPid pid, gint status, gpointer opaque)
{
    g_spawn_close_pid(pid);
}

/*
 * Start @argv, with nothing of ours but stderr and the socket; default signals; and
 * a process group of its own, as ^C is meant for the VM, which then says goodbye in
 * good order.
 */
static int spawn(const char *path, char *const argv[], int fd, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int err;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null",
                                     O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, fd, CHILD_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, CHILD_FD + 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP |
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    err = posix_spawn(pid, path, &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return err;
}

static int start_private(VgpuRemote *vr, Error **errp)
{
    g_autofree char *path = find_program(errp);
    g_autofree char *processors = g_strdup_printf("%u", vr->processors);
    char *argv[] = { (char *)PROGRAM, (char *)"--fd",
                     (char *)stringify(CHILD_FD), (char *)"--processors",
                     processors, NULL };
    int pair[2], err;
    pid_t pid;

    if (!path) {
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        error_setg_errno(errp, errno, "no socket for " PROGRAM);
        return -1;
    }
    err = spawn(path, argv, pair[1], &pid);
    close(pair[1]);
    if (err) {
        error_setg_errno(errp, err, "cannot start %s%s", path, err == EPERM ?
                         " (under -sandbox use server=unix:PATH)" : "");
        close(pair[0]);
        return -1;
    }
    trace_vgpu_remote_server_start(path, pid);
    g_child_watch_add(pid, reap, NULL);
    return pair[0];
}

/* --- somebody else's ----------------------------------------------------- */

static int join(VgpuRemote *vr, Error **errp)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    const char *path;
    int sock;

    if (!strstart(vr->server, "unix:", &path) || !path[0] ||
        strlen(path) >= sizeof(addr.sun_path)) {
        error_setg(errp, "server=%s: must be unix:PATH, the socket of a running "
                   PROGRAM " (at most %zu bytes), or empty for a private one",
                   vr->server, sizeof(addr.sun_path) - 1);
        return -1;
    }
    pstrcpy(addr.sun_path, sizeof(addr.sun_path), path);
    sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        error_setg(errp, "server=%s: cannot connect (%s): does " PROGRAM
                   " run there?", vr->server, strerror(errno));
        if (sock >= 0) {
            close(sock);
        }
        return -1;
    }
    return sock;
}

/* --- connecting ---------------------------------------------------------- */

static bool say_hello(int sock, Error **errp)
{
    struct proto_hello m = {
        .type = PROTO_HELLO,
        .version = VGPU_PROTOCOL_VERSION,
        .magic = PROTO_MAGIC,
        .role = PROTO_ROLE_DEVICE,
    };
    int err;

    if (qemu_get_vm_name()) {
        pstrcpy(m.name, sizeof(m.name), qemu_get_vm_name());
    } else {
        snprintf(m.name, sizeof(m.name), "qemu-%d", (int)getpid());
    }
    err = proto_send(sock, &m, NULL, 0);
    if (err) {
        error_setg_errno(errp, -err, PROGRAM " does not listen");
    }
    return err == 0;
}

bool vgpu_server_start(VgpuRemote *vr, Error **errp)
{
    int sock;

    vr->server_tried_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    sock = is_private(vr) ? start_private(vr, errp) : join(vr, errp);
    if (sock < 0) {
        return false;
    }
    g_unix_set_fd_nonblocking(sock, true, NULL);
    if (!say_hello(sock, errp)) {
        close(sock);
        return false;
    }
    trace_vgpu_remote_server_connected(sock);
    vr->server_sock = sock;
    qemu_set_fd_handler(sock, readable, NULL, vr);
    return true;
}

static bool start_again(VgpuRemote *vr, Error **errp)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    if (now - vr->server_tried_ms < RETRY_MS) {
        error_setg(errp, PROGRAM " has ended or could not be reached less than "
                   "%d ms ago", RETRY_MS);
        return false;
    }
    return vgpu_server_start(vr, errp);
}

static bool send_context(VgpuRemote *vr, struct proto_context_create *m,
                         const char *name, int worker, int doorbell,
                         Error **errp)
{
    int fds[] = { worker, doorbell };
    int err;

    if (vr->server_sock < 0 && !start_again(vr, errp)) {
        return false;
    }
    pstrcpy(m->name, sizeof(m->name), name);
    err = proto_send(vr->server_sock, m, fds, ARRAY_SIZE(fds));
    if (err) {
        error_setg_errno(errp, -err, PROGRAM " does not listen");
    }
    return err == 0;
}

bool vgpu_server_context(VgpuRemote *vr, VgpuContext *ctx, int worker,
                         int doorbell, Error **errp)
{
    struct proto_context_create m = {
        .type = ctx->venus ? PROTO_VENUS_CREATE : PROTO_CONTEXT_CREATE,
        .context = ctx->id,
    };

    return send_context(vr, &m, ctx->name, worker, doorbell, errp);
}

bool vgpu_server_virgl(VgpuRemote *vr, int worker, int doorbell, Error **errp)
{
    struct proto_context_create m = { .type = PROTO_VIRGL_CREATE };

    return send_context(vr, &m, "virgl", worker, doorbell, errp);
}

/* --- its workers --------------------------------------------------------- */

const char *vgpu_worker_read(const int *sock, union proto_any *m,
                             VgpuCreated *created, VgpuImported *imported,
                             void *opaque)
{
    const char *why = NULL;

    for (int i = 0; i < PACKETS_MAX && !why && *sock >= 0; i++) {
        int fds[PROTO_FDS_MAX];
        int got = proto_recv(*sock, m, fds);

        if (got == -EAGAIN) {
            break;
        } else if (got != 1) {
            m->type = 0;
            why = got == 0 ? "its worker has ended" : strerror(-got);
        } else if (m->type == PROTO_BLOB_CREATED || m->type == PROTO_EXPORTED) {
            why = created(opaque, m, fds[0]);
        } else if (m->type == PROTO_BLOB_IMPORTED && imported) {
            why = imported(opaque, &m->blob_imported);
        } else if (m->type == PROTO_LOST) {
            why = m->lost.text;
        } else {
            why = "its worker broke the protocol";
            if (fds[0] >= 0) {
                close(fds[0]);
            }
        }
    }
    return why;
}
