/*
 * Programs and servers that end: forks, exits, and what a program is told when
 * its worker or server is killed under it.
 *
 * Every program here is a child of the test, which itself never calls OpenCL. It
 * runs under vgpu-run for the ICD loader's sake, with servers of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CL/cl_ext.h>

#include "proto.h"

#define LIMIT_MS 2000 /* a lost program ends within this time */

static char dir[] = "/tmp/vgpu-life.XXXXXX";
static char sock_path[64], log_path[64];
static pid_t server;

/* --- processes --------------------------------------------------------------------- */

static void start_server(void)
{
    server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        unsetenv("OCL_ICD_VENDORS");
        execl(getenv("VGPU_REMOTED"), "vgpu-remoted", "--socket", sock_path,
              (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000 && access(sock_path, F_OK) < 0; i++) {
        usleep(5000);
    }
    assert_int_equal(access(sock_path, F_OK), 0);
    usleep(20000);
    setenv("VGPU_SERVER", sock_path, 1);
}

static void stop_server(void)
{
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
        server = 0;
    }
    unlink(sock_path);
}

/* The parent of process @pid; 0 if it is gone. */
static pid_t parent_of(pid_t pid)
{
    char path[64], line[512];
    pid_t parent = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "r");
    if (f && fgets(line, sizeof(line), f)) {
        char *end = strrchr(line, ')');

        if (end && end[2] != 'Z') {
            sscanf(end + 3, "%d", &parent);
        }
    }
    if (f) {
        fclose(f);
    }
    return parent;
}

/* Whether it is one: the server has children that clear up, too. */
static bool is_worker(pid_t pid)
{
    char path[64], name[32] = "";
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    f = fopen(path, "r");
    if (f) {
        if (!fgets(name, sizeof(name), f)) {
            name[0] = '\0';
        }
        fclose(f);
    }
    /* Just forked, they have the server's own name. */
    return strcmp(name, "vgpu-remoted\n") != 0 &&
           strcmp(name, "vgpu-init\n") != 0 &&
           strcmp(name, "vgpu-remover\n") != 0;
}

/* The workers of the server, the last made first; how many. */
static int workers(pid_t *pids, int room)
{
    struct dirent *entry;
    DIR *proc = opendir("/proc");
    int n = 0;

    while ((entry = readdir(proc))) {
        pid_t pid = atoi(entry->d_name);
        pid_t parent = pid ? parent_of(pid) : 0;

        if (parent && (parent == server || parent_of(parent) == server) &&
            pid != server && is_worker(pid)) {
            if (n < room) {
                pids[n] = pid;
            }
            n++;
        }
    }
    closedir(proc);
    return n;
}

static void expect_no_workers(void)
{
    for (int i = 0; i < 400 && workers(NULL, 0); i++) {
        usleep(5000);
    }
    assert_int_equal(workers(NULL, 0), 0);
}

/* A program; its stderr goes into the log. */
static pid_t run(int (*program)(int ready), int *ready)
{
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);

        dup2(log, 2);
        close(fds[0]);
        exit(program(fds[1]));
    }
    close(fds[1]);
    if (ready) {
        *ready = fds[0];
    } else {
        close(fds[0]);
    }
    return pid;
}

/* The program's exit status, 1000 if it did not end within @ms. */
static int ends_within(pid_t pid, uint64_t ms)
{
    uint64_t end = now_ms() + ms;
    int status;

    while (now_ms() < end) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            return WIFEXITED(status) ? WEXITSTATUS(status)
                                     : 500 + WTERMSIG(status);
        }
        usleep(2000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return 1000;
}

static void await_ready(int fd)
{
    char c;

    assert_int_equal(read(fd, &c, 1), 1);
    close(fd);
}

static void say_ready(int fd)
{
    if (write(fd, "r", 1) != 1) {
        exit(99);
    }
}

/* How often @text stands in the log. */
static int logged(const char *text)
{
    static char all[65536];
    FILE *f = fopen(log_path, "r");
    size_t n = f ? fread(all, 1, sizeof(all) - 1, f) : 0;
    int count = 0;

    if (f) {
        fclose(f);
    }
    all[n] = '\0';
    for (char *p = all; (p = strstr(p, text)); p++) {
        count++;
    }
    return count;
}

/* --- programs ------------------------------------------------------------------------ */

struct tools {
    cl_context context;
    cl_command_queue queue;
    cl_mem mem;
    cl_device_id device;
};

/* The error that stops it, or 0. */
static cl_int set_up(struct tools *t)
{
    cl_platform_id platform;
    cl_int err = clGetPlatformIDs(1, &platform, NULL);

    if (!err) {
        err = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &t->device, NULL);
    }
    if (!err) {
        t->context = clCreateContext(NULL, 1, &t->device, NULL, NULL, &err);
    }
    if (!err) {
        t->queue = clCreateCommandQueue(t->context, t->device, 0, &err);
    }
    if (!err) {
        t->mem = clCreateBuffer(t->context, 0, 1 << 20, NULL, &err);
    }
    return err;
}

/* Whether data still come back as they were sent. */
static cl_int use(struct tools *t, int value)
{
    static char data[1 << 20], got[1 << 20];
    cl_int err;

    memset(data, value, sizeof(data));
    err = clEnqueueWriteBuffer(t->queue, t->mem, CL_FALSE, 0, sizeof(data),
                               data, 0, NULL, NULL);
    if (!err) {
        err = clEnqueueReadBuffer(t->queue, t->mem, CL_TRUE, 0, sizeof(got),
                                  got, 0, NULL, NULL);
    }
    return err ? err : memcmp(data, got, sizeof(got)) != 0;
}

static int once(int ready)
{
    struct tools t;

    return set_up(&t) || use(&t, 5);
}

static cl_kernel kernel_in(struct tools *t, const char *source)
{
    cl_program p = clCreateProgramWithSource(t->context, 1, &source, NULL, NULL);
    cl_kernel k;

    if (clBuildProgram(p, 1, &t->device, NULL, NULL, NULL)) {
        return NULL;
    }
    k = clCreateKernel(p, "f", NULL);
    clSetKernelArg(k, 0, sizeof(t->mem), &t->mem);
    return k;
}

static int computes(int ready)
{
    struct tools t;
    const size_t n = 64;
    cl_kernel k;
    int got[64];

    if (set_up(&t) || use(&t, 0)) {
        return 1;
    }
    k = kernel_in(&t, "kernel void f(global int *a)"
                      " { a[get_global_id(0)] += get_global_id(0); }");
    if (!k || clEnqueueNDRangeKernel(t.queue, k, 1, NULL, &n, NULL, 0, NULL,
                                     NULL) ||
        clEnqueueReadBuffer(t.queue, t.mem, CL_TRUE, 0, sizeof(got), got, 0,
                            NULL, NULL)) {
        return 2;
    }
    return got[0] == 0 && got[63] == 63 ? 0 : 3;
}

/* A kernel that never ends runs, on all processors. */
static cl_int start_endless(struct tools *t)
{
    const size_t n = 1024, one = 1;
    cl_event begun;
    cl_kernel k;
    cl_int status = CL_QUEUED, err = set_up(t);

    if (err || use(t, 0)) {
        return 1;
    }
    k = kernel_in(t, "kernel void f(global volatile int *a)"
                     " { while (!*a) { } printf(\"never\"); }");
    if (!k || clEnqueueNDRangeKernel(t->queue, k, 1, NULL, &n, &one, 0, NULL,
                                     &begun)) {
        return 2;
    }
    clFlush(t->queue);
    while (status > CL_RUNNING) {
        usleep(1000);
        if (clGetEventInfo(begun, CL_EVENT_COMMAND_EXECUTION_STATUS,
                           sizeof(status), &status, NULL)) {
            return 3;
        }
    }
    return 0;
}

static int waits_for_the_endless(int ready)
{
    struct tools t;

    if (start_endless(&t)) {
        return 1;
    }
    say_ready(ready);
    return clFinish(t.queue) == CL_OUT_OF_RESOURCES ? 42 : 2;
}

static void *finish_in_thread(void *opaque)
{
    struct tools *t = opaque;

    clFinish(t->queue);
    return NULL;
}

static int has_a_thread_that_waits(int ready)
{
    static struct tools t;
    pthread_t thread;

    if (start_endless(&t) || pthread_create(&thread, NULL, finish_in_thread, &t)) {
        return 1;
    }
    usleep(20000);
    say_ready(ready);
    pause();
    return 2;
}

/* Ends by itself, with and without a thread that waits. */
static int leaves_it_running(int ready)
{
    static struct tools t;
    pthread_t thread;

    if (start_endless(&t)) {
        return 1;
    }
    say_ready(ready);
    clReleaseMemObject(t.mem);
    clReleaseCommandQueue(t.queue);
    clReleaseContext(t.context);
    return pthread_create(&thread, NULL, finish_in_thread, &t);
}

static int leaves_it_running_plainly(int ready)
{
    struct tools t;

    if (start_endless(&t)) {
        return 1;
    }
    say_ready(ready);
    return 0;
}

/* Works until it is told of an error, which is to be the right one; and stays. */
static int for_ever(int ready)
{
    struct tools t;
    cl_int err = set_up(&t);

    if (err) {
        return 1;
    }
    for (int i = 0; !err; i++) {
        err = use(&t, i);
        if (i == 10) {
            say_ready(ready);
        }
    }
    if (err != CL_OUT_OF_RESOURCES) {
        return 2;
    }
    clCreateBuffer(t.context, 0, 64, NULL, &err);
    return err != CL_OUT_OF_RESOURCES ||
           clFinish(t.queue) != CL_OUT_OF_RESOURCES ||
           clReleaseContext(t.context) != CL_SUCCESS ? 3 : 42;
}

/* Asleep in a call that nothing else would ever end. */
static int asleep(int ready)
{
    struct tools t;
    cl_event gate;

    if (set_up(&t)) {
        return 1;
    }
    gate = clCreateUserEvent(t.context, NULL);
    say_ready(ready);
    return clWaitForEvents(1, &gate) == CL_OUT_OF_RESOURCES ? 42 : 2;
}

/* Ends with commands in flight and nothing released. */
static int careless(int ready)
{
    struct tools t;
    static char data[1 << 20];
    cl_event gate;

    if (set_up(&t)) {
        return 1;
    }
    gate = clCreateUserEvent(t.context, NULL);
    clEnqueueWriteBuffer(t.queue, t.mem, CL_FALSE, 0, sizeof(data), data, 1,
                         &gate, NULL);
    clEnqueueReadBuffer(t.queue, t.mem, CL_FALSE, 0, sizeof(data), data, 0,
                        NULL, NULL);
    return 0;
}

/* Ends by a signal of its own, with a command running. */
static int aborts(int ready)
{
    struct rlimit none = { 0, 0 };
    struct tools t;

    setrlimit(RLIMIT_CORE, &none);
    if (set_up(&t)) {
        return 1;
    }
    use(&t, 1);
    clEnqueueCopyBuffer(t.queue, t.mem, t.mem, 0, 1 << 19, 1 << 19, 0, NULL,
                        NULL);
    abort();
}

/* Takes what there is, and releases nothing. */
static int leaks(int ready)
{
    struct tools t;

    if (set_up(&t)) {
        return 1;
    }
    for (int i = 0; i < 50; i++) {
        clCreateBuffer(t.context, i % 2 ? CL_MEM_ALLOC_HOST_PTR : 0, 1 << 16,
                       NULL, NULL);
        clCreateUserEvent(t.context, NULL);
        clRetainContext(t.context);
    }
    return use(&t, 2);
}

static int child_status(pid_t pid)
{
    int status;

    return waitpid(pid, &status, 0) == pid && WIFEXITED(status)
               ? WEXITSTATUS(status) : 77;
}

/* The child goes on with OpenCL by itself; neither disturbs the other. */
static int forks(int ready)
{
    struct tools t, own;
    pid_t pid;

    if (set_up(&t) || use(&t, 1)) {
        return 1;
    }
    pid = fork();
    if (pid == 0) {
        /* Its parent's objects are dead in it. */
        if (clFinish(t.queue) != CL_INVALID_COMMAND_QUEUE) {
            _exit(2);
        }
        /* The device is still that device. */
        own = t;
        own.context = clCreateContext(NULL, 1, &t.device, NULL, NULL, NULL);
        if (!own.context || set_up(&own) || use(&own, 2)) {
            _exit(3);
        }
        exit(0);
    }
    for (int i = 0; i < 20; i++) {
        if (use(&t, i)) {
            return 4;
        }
    }
    return child_status(pid) || use(&t, 3) ? 5 : 0;
}

/* A child that only ends, by exit() and by _exit(). */
static int forks_idly(int ready)
{
    struct tools t;

    if (set_up(&t)) {
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        pid_t pid = fork();

        if (pid == 0 && i) {
            exit(0);
        } else if (pid == 0) {
            _exit(0);
        }
        if (child_status(pid) || use(&t, i)) {
            return 2;
        }
    }
    return 0;
}

static int finds_nothing(int ready)
{
    cl_platform_id p;
    cl_uint n = 7;

    clGetPlatformIDs(1, &p, &n);
    /* Again: it is said once. */
    return clGetPlatformIDs(1, &p, &n) == CL_PLATFORM_NOT_FOUND_KHR && n == 0
               ? 0 : 1;
}

/* --- tests ------------------------------------------------------------------------------ */

static void programs_fork(void **state)
{
    assert_int_equal(ends_within(run(forks, NULL), 20000), 0);
    assert_int_equal(ends_within(run(forks_idly, NULL), 20000), 0);
    expect_no_workers();
}

static void careless_programs_leave_nothing(void **state)
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ends_within(run(careless, NULL), 20000), 0);
    }
    expect_no_workers();
}

static void killed_programs_leave_nothing(void **state)
{
    int ready;
    pid_t pid = run(for_ever, &ready);

    await_ready(ready);
    kill(pid, SIGKILL);
    assert_int_equal(ends_within(pid, LIMIT_MS), 500 + SIGKILL);
    expect_no_workers();
}

/* --- many programs --------------------------------------------------------------------- */

/* What the server has, by its own word and by the kernel's. */
struct held {
    uint32_t clients, contexts, fds;
    int processes;
    long data_kib; /* of the server's memory */
};

static long server_data_kib(void)
{
    char path[64], line[128];
    long kib = -1;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", server);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f)) {
        sscanf(line, "VmData: %ld", &kib);
    }
    if (f) {
        fclose(f);
    }
    return kib;
}

/* A client that stays: it asks for the counts, in which it is one itself. */
static int connect_for_status(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct proto_hello hello = { .type = PROTO_HELLO,
                                 .version = VGPU_PROTOCOL_VERSION,
                                 .magic = PROTO_MAGIC,
                                 .role = PROTO_ROLE_PROGRAM,
                                 .name = "life" };
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    int fds[PROTO_FDS_MAX];
    union proto_any m;

    strcpy(addr.sun_path, sock_path);
    assert_int_equal(connect(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(proto_send(sock, &hello, NULL, 0), 0);
    proto_recv(sock, &m, fds);
    assert_int_equal(m.type, PROTO_WELCOME);
    return sock;
}

static struct held ask(int sock)
{
    struct proto_status status = { .type = PROTO_STATUS };
    int fds[PROTO_FDS_MAX];
    union proto_any m;

    assert_int_equal(proto_send(sock, &status, NULL, 0), 0);
    proto_recv(sock, &m, fds);
    assert_int_equal(m.type, PROTO_STATUS_REPLY);
    return (struct held){ m.status_reply.clients, m.status_reply.contexts,
                          m.status_reply.fds, workers(NULL, 0),
                          server_data_kib() };
}

/* What is held when the last program's end has been seen; clearing up takes a moment. */
static struct held settled(int sock)
{
    struct held h = ask(sock);

    for (int i = 0; i < 1000 && (h.clients > 1 || h.contexts || h.processes);
         i++) {
        usleep(5000);
        h = ask(sock);
    }
    return h;
}

static void expect_nothing_left(struct held before, struct held after)
{
    assert_int_equal(after.clients, 1);
    assert_int_equal(after.contexts, 0);
    assert_int_equal(after.processes, 0);
    assert_int_equal(after.fds, before.fds);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed, to see it used */
    assert_in_range(after.data_kib, 0, before.data_kib + 132); /* malloc's step */
#endif
}

/* The @i-th program: how it is to end. */
static void run_one(int i)
{
    static const struct {
        int (*program)(int);
        int end;
    } ways[] = {
        { once, 0 },
        { careless, 0 },
        { aborts, 500 + SIGABRT },
        { leaks, 0 },
        { for_ever, 500 + SIGKILL },
        { asleep, 500 + SIGKILL }, /* at any moment, also of its start */
    };
    unsigned way = (unsigned)i % (sizeof(ways) / sizeof(ways[0]));
    int ready;
    pid_t pid = run(ways[way].program, &ready);

    if (ways[way].program == for_ever) {
        await_ready(ready);
        kill(pid, SIGKILL);
    } else if (ways[way].program == asleep) {
        usleep((unsigned)i * 977 % 40000);
        kill(pid, SIGKILL);
    }
    assert_int_equal(ends_within(pid, 20000), ways[way].end);
    if (ways[way].program != for_ever) {
        close(ready); /* not before: it may have said so, to nobody else */
    }
}

static void many_programs_leave_nothing(void **state)
{
    const char *number = getenv("VGPU_LIFE_PROGRAMS");
    int n = number ? atoi(number) : 100;
    int sock = connect_for_status();
    struct held before, after;

    for (int i = 0; i < n / 2; i++) {
        run_one(i); /* the server's heap gets as large as it needs */
    }
    before = settled(sock);
    for (int i = n / 2; i < n; i++) {
        run_one(i);
    }
    after = settled(sock);
    assert_int_equal(before.clients, 1);
    expect_nothing_left(before, after);
    close(sock);
}

/*
 * However its program ends: the worker is gone, and all that it had. Meanwhile others
 * compute, slowly.
 */
static void a_kernel_that_never_ends_ends_with_its_program(void **state)
{
    static const struct {
        int (*program)(int);
        int signal; /* 0: it ends by itself */
    } ways[] = {
        { waits_for_the_endless, SIGKILL },
        { waits_for_the_endless, SIGTERM },
        { waits_for_the_endless, SIGINT },
        { has_a_thread_that_waits, SIGKILL },
        { has_a_thread_that_waits, SIGINT },
        { leaves_it_running, 0 },
        { leaves_it_running_plainly, 0 },
    };
    int sock = connect_for_status();
    struct held before, after;

    assert_int_equal(ends_within(run(computes, NULL), 20000), 0);
    before = settled(sock);
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        int ready;
        pid_t pid = run(ways[i].program, &ready);

        await_ready(ready);
        if (i == 0) {
            assert_int_equal(ends_within(run(computes, NULL), 20000), 0);
        }
        if (ways[i].signal) {
            kill(pid, ways[i].signal);
        }
        assert_int_equal(ends_within(pid, 20000),
                         ways[i].signal ? 500 + ways[i].signal : 0);
        expect_no_workers();
    }
    assert_int_equal(ends_within(run(computes, NULL), 20000), 0);
    after = settled(sock);
    expect_nothing_left(before, after);
    close(sock);
}

static void kill_workers(void)
{
    pid_t pids[16];
    int n = workers(pids, 16);

    assert_in_range(n, 1, 16);
    for (int i = 0; i < n; i++) {
        kill(pids[i], SIGKILL);
    }
}

static void a_killed_worker_is_an_error(void **state)
{
    int (*const programs[])(int) = { for_ever, asleep };

    for (int i = 0; i < 2; i++) {
        int ready;
        pid_t pid = run(programs[i], &ready);

        await_ready(ready);
        usleep(50000);
        kill_workers();
        assert_int_equal(ends_within(pid, LIMIT_MS), 42);
        /* The next one does not notice. */
        assert_int_equal(ends_within(run(once, NULL), 20000), 0);
    }
    expect_no_workers();
}

static void a_killed_server_is_an_error(void **state)
{
    int (*const programs[])(int) = { for_ever, asleep };

    for (int i = 0; i < 2; i++) {
        int ready;
        pid_t pid = run(programs[i], &ready);

        await_ready(ready);
        usleep(50000);
        stop_server();
        assert_int_equal(ends_within(pid, LIMIT_MS), 42);
        start_server();
        assert_int_equal(ends_within(run(once, NULL), 20000), 0);
    }
}

static void without_a_server_there_is_no_platform(void **state)
{
    unlink(log_path);
    setenv("VGPU_SERVER", "/tmp/no-such-directory/socket", 1);
    assert_int_equal(ends_within(run(finds_nothing, NULL), LIMIT_MS), 0);
    assert_int_equal(logged("nobody answers at '/tmp/no-such-directory"), 1);
    setenv("VGPU_SERVER", sock_path, 1);
}

/* A server from the future: it says who it is, and hangs up. */
static pid_t start_other_version(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    pid_t pid;

    strcpy(addr.sun_path, path);
    assert_int_equal(bind(sock, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(sock, 4), 0);
    pid = fork();
    if (pid == 0) {
        struct proto_welcome welcome = {
            .type = PROTO_WELCOME,
            .version = 4711,
            .status = EPROTONOSUPPORT,
        };
        union proto_any m;
        int fds[PROTO_FDS_MAX], peer = accept(sock, NULL, NULL);

        proto_recv(peer, &m, fds);
        proto_send(peer, &welcome, NULL, 0);
        _exit(0);
    }
    close(sock);
    return pid;
}

static void another_version_is_named(void **state)
{
    char path[64], own[32];
    pid_t other;

    snprintf(path, sizeof(path), "%s/other", dir);
    snprintf(own, sizeof(own), "has %u", VGPU_PROTOCOL_VERSION);
    unlink(log_path);
    other = start_other_version(path);
    setenv("VGPU_SERVER", path, 1);
    assert_int_equal(ends_within(run(finds_nothing, NULL), LIMIT_MS), 0);
    assert_int_equal(logged("protocol version 4711"), 1);
    assert_int_equal(logged(own), 1);
    waitpid(other, NULL, 0);
    unlink(path);
    setenv("VGPU_SERVER", sock_path, 1);
}

static int up(void **state)
{
    if (!getenv("VGPU_REMOTED") || !mkdtemp(dir)) {
        return -1;
    }
    snprintf(sock_path, sizeof(sock_path), "%s/socket", dir);
    snprintf(log_path, sizeof(log_path), "%s/log", dir);
    start_server();
    return 0;
}

static int down(void **state)
{
    stop_server();
    unlink(log_path);
    rmdir(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_fork),
        cmocka_unit_test(careless_programs_leave_nothing),
        cmocka_unit_test(killed_programs_leave_nothing),
        cmocka_unit_test(many_programs_leave_nothing),
        cmocka_unit_test(a_kernel_that_never_ends_ends_with_its_program),
        cmocka_unit_test(a_killed_worker_is_an_error),
        cmocka_unit_test(a_killed_server_is_an_error),
        cmocka_unit_test(without_a_server_there_is_no_platform),
        cmocka_unit_test(another_version_is_named),
    };

    return cmocka_run_group_tests_name("life", tests, up, down);
}
