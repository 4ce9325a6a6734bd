/*
 * What OpenCL calls cost on whatever device the ICD loader finds first: call
 * rate, launches, transfers, mappings. Prints one JSON object, a key per figure.
 *
 * A figure is the median of many runs of a fixed amount of work, as many as fit into
 * a time, after a part of that time that is not counted: what counts is the steady
 * state, not the first page faults, nor what the figure before left behind. Every result that can be checked is checked: a figure
 * of a failing call would be worthless, so any error ends the program.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <CL/cl.h>

#define MIB (1024.0 * 1024.0)

enum {
    LAUNCHES = 1000, /* calls in a run */
    RUNS_MIN = 9,
    RUNS_MAX = 1001,
    THREADS = 8,
    MS_MAX = 60000,
    IDLE_MAX = 3600, /* s */
};

static cl_context context;
static cl_device_id device;
static cl_command_queue queue;
static cl_program program;
static cl_kernel kernel;
static cl_mem cell; /* the buffer that the kernel counts in */
static cl_mem other; /* another, to change the argument to */
static long ms = 300; /* for which a figure is measured */
static const char *only; /* figures whose name contains this */
static bool first = true;

static void die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fprintf(stderr, "vgpu-bench: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    exit(1);
}

static void check(cl_int err, const char *what)
{
    if (err != CL_SUCCESS) {
        die("%s failed with error %d", what, err);
    }
}

static double clock_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_figure(const char *name, const char *unit, double value)
{
    printf("%s\n  \"%s\": {\"value\": %.6g, \"unit\": \"%s\"}",
           first ? "" : ",", name, value, unit);
    fflush(stdout);
    first = false;
}

/* What a figure measures: one run; `opaque` is the figure's own. */
typedef void run_fn(void *opaque);

/* Runs that are not counted: a third of the time of those that are. */
static void warm_up(run_fn *fn, void *opaque)
{
    double end = now_us() + (double)ms * 1e3 / 3;

    do {
        fn(opaque);
    } while (now_us() < end);
}

/* Median time of one run of @fn, in microseconds; 0 if it is not asked for. */
static double median_us(const char *name, run_fn *fn, void *opaque)
{
    double t[RUNS_MAX], start, end;
    int n = 0;

    if (only && !strstr(name, only)) {
        return 0;
    }
    warm_up(fn, opaque);
    end = now_us() + (double)ms * 1e3;
    do {
        start = now_us();
        fn(opaque);
        t[n++] = now_us() - start;
    } while (n < RUNS_MIN || (n < RUNS_MAX && start < end));
    qsort(t, n, sizeof(t[0]), compare);
    return t[n / 2];
}

/* A figure in microseconds per call, of @calls calls a run. */
static void figure_us(const char *name, run_fn *fn, void *opaque, int calls)
{
    double us = median_us(name, fn, opaque);

    if (us > 0) {
        print_figure(name, "us", us / calls);
    }
}

/* A figure in calls per second, of @calls calls a run. */
static void figure_rate(const char *name, run_fn *fn, void *opaque, int calls)
{
    double us = median_us(name, fn, opaque);

    if (us > 0) {
        print_figure(name, "1/s", calls / us * 1e6);
    }
}

/* A figure in MiB per second, of @bytes bytes a run. */
static void figure_mib(const char *name, run_fn *fn, void *opaque,
                       double bytes)
{
    double us = median_us(name, fn, opaque);

    if (us > 0) {
        print_figure(name, "MiB/s", bytes / MIB / us * 1e6);
    }
}

/*
 * How much of the time that @fn takes this thread is on a processor, in per cent.
 * Near 100 the program's own instructions are the limit, nothing behind them.
 */
static void figure_share(const char *name, run_fn *fn)
{
    double start, busy;

    if (only && !strstr(name, only)) {
        return;
    }
    warm_up(fn, NULL);
    start = now_us();
    busy = clock_us(CLOCK_THREAD_CPUTIME_ID);
    do {
        fn(NULL);
    } while (now_us() < start + (double)ms * 1e3);
    busy = clock_us(CLOCK_THREAD_CPUTIME_ID) - busy;
    print_figure(name, "%", 100 * busy / (now_us() - start));
}

/* --- calls ------------------------------------------------------------ */

static void set_args(void *opaque)
{
    for (int i = 0; i < LAUNCHES; i += 2) {
        check(clSetKernelArg(kernel, 0, sizeof(cell), &other), "clSetKernelArg");
        check(clSetKernelArg(kernel, 0, sizeof(cell), &cell), "clSetKernelArg");
    }
}

static void get_infos(void *opaque)
{
    cl_uint units;

    for (int i = 0; i < LAUNCHES; i++) {
        check(clGetDeviceInfo(device, CL_DEVICE_MAX_COMPUTE_UNITS,
                              sizeof(units), &units, NULL), "clGetDeviceInfo");
    }
}

static void create_buffers(void *opaque)
{
    for (int i = 0; i < LAUNCHES; i++) {
        cl_int err;
        cl_mem mem = clCreateBuffer(context, CL_MEM_READ_WRITE, 4096, NULL,
                                    &err);

        check(err, "clCreateBuffer");
        check(clReleaseMemObject(mem), "clReleaseMemObject");
    }
}

/* --- launches --------------------------------------------------------- */

static void launch(void)
{
    size_t one = 1;

    check(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL,
                                 NULL), "clEnqueueNDRangeKernel");
}

static void launch_many(void *opaque)
{
    for (int i = 0; i < LAUNCHES; i++) {
        launch();
    }
    check(clFinish(queue), "clFinish");
}

static void launch_many_with_args(void *opaque)
{
    for (int i = 0; i < LAUNCHES; i += 2) {
        check(clSetKernelArg(kernel, 0, sizeof(cell), &other), "clSetKernelArg");
        launch();
        check(clSetKernelArg(kernel, 0, sizeof(cell), &cell), "clSetKernelArg");
        launch();
    }
    check(clFinish(queue), "clFinish");
}

static void launch_finish(void *opaque)
{
    for (int i = 0; i < LAUNCHES / 10; i++) {
        launch();
        check(clFinish(queue), "clFinish");
    }
}

static void read_cell(void *opaque)
{
    cl_int value;

    for (int i = 0; i < LAUNCHES / 10; i++) {
        check(clEnqueueReadBuffer(queue, cell, CL_TRUE, 0, sizeof(value),
                                  &value, 0, NULL, NULL), "clEnqueueReadBuffer");
    }
}

static void write_cells(void *opaque)
{
    static const cl_int zero;

    for (int i = 0; i < LAUNCHES; i++) {
        check(clEnqueueWriteBuffer(queue, cell, CL_FALSE, 4, sizeof(zero),
                                   &zero, 0, NULL, NULL),
              "clEnqueueWriteBuffer");
    }
    check(clFinish(queue), "clFinish");
}

/* The kernel adds one to the cell: a launch that was not made shows here. */
static void check_launches(void)
{
    cl_int zero = 0, count;

    check(clEnqueueWriteBuffer(queue, cell, CL_TRUE, 0, sizeof(zero), &zero, 0,
                               NULL, NULL), "clEnqueueWriteBuffer");
    launch_many(NULL);
    check(clEnqueueReadBuffer(queue, cell, CL_TRUE, 0, sizeof(count), &count,
                              0, NULL, NULL), "clEnqueueReadBuffer");
    if (count != LAUNCHES) {
        die("%d launches counted %d", LAUNCHES, count);
    }
}

/* --- threads ---------------------------------------------------------- */

/* One of several threads, each with all that it needs of its own. */
struct launcher {
    pthread_t id;
    cl_command_queue queue;
    cl_kernel kernel;
    cl_mem cell;
};

static void *launch_alone(void *opaque)
{
    struct launcher *l = opaque;
    size_t one = 1;

    for (int i = 0; i < LAUNCHES; i++) {
        check(clEnqueueNDRangeKernel(l->queue, l->kernel, 1, NULL, &one, NULL,
                                     0, NULL, NULL), "clEnqueueNDRangeKernel");
    }
    check(clFinish(l->queue), "clFinish");
    return NULL;
}

static void launch_in_threads(void *opaque)
{
    struct launcher *l = opaque;

    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&l[i].id, NULL, launch_alone, &l[i]) != 0) {
            die("no thread can be made");
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(l[i].id, NULL);
    }
}

static void launcher_init(struct launcher *l)
{
    cl_int err;

    l->queue = clCreateCommandQueueWithProperties(context, device, NULL, &err);
    check(err, "clCreateCommandQueueWithProperties");
    l->cell = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, &err);
    check(err, "clCreateBuffer");
    l->kernel = clCreateKernel(program, "count", &err);
    check(err, "clCreateKernel");
    check(clSetKernelArg(l->kernel, 0, sizeof(l->cell), &l->cell),
          "clSetKernelArg");
}

static void launcher_finish(struct launcher *l)
{
    check(clReleaseKernel(l->kernel), "clReleaseKernel");
    check(clReleaseMemObject(l->cell), "clReleaseMemObject");
    check(clReleaseCommandQueue(l->queue), "clReleaseCommandQueue");
}

static void threads(void)
{
    struct launcher launchers[THREADS];

    for (int i = 0; i < THREADS; i++) {
        launcher_init(&launchers[i]);
    }
    figure_rate("launch, 8 threads", launch_in_threads, launchers,
                THREADS * LAUNCHES);
    for (int i = 0; i < THREADS; i++) {
        launcher_finish(&launchers[i]);
    }
}

/* --- transfers -------------------------------------------------------- */

struct transfer {
    cl_mem mem;
    unsigned char *data;
    size_t size;
    int repeat;
};

static void write_buffer(void *opaque)
{
    struct transfer *t = opaque;

    for (int i = 0; i < t->repeat; i++) {
        check(clEnqueueWriteBuffer(queue, t->mem, CL_TRUE, 0, t->size, t->data,
                                   0, NULL, NULL), "clEnqueueWriteBuffer");
    }
}

static void read_buffer(void *opaque)
{
    struct transfer *t = opaque;

    for (int i = 0; i < t->repeat; i++) {
        check(clEnqueueReadBuffer(queue, t->mem, CL_TRUE, 0, t->size, t->data,
                                  0, NULL, NULL), "clEnqueueReadBuffer");
    }
}

static void fill_pattern(unsigned char *p, size_t n)
{
    uint32_t x = 2463534242u;

    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        p[i] = x;
    }
}

static void transfers(size_t size, const char *label)
{
    struct transfer t = { .size = size };
    unsigned char *want = malloc(size);
    char name[64];
    cl_int err;

    t.data = malloc(size);
    if (!want || !t.data) {
        die("no memory for %zu bytes", size);
    }
    fill_pattern(want, size);
    memcpy(t.data, want, size);
    t.repeat = size >= (4u << 20) ? 1 : (int)((4u << 20) / size);
    if (t.repeat > 64) {
        t.repeat = 64;
    }
    t.mem = clCreateBuffer(context, CL_MEM_READ_WRITE, size, NULL, &err);
    check(err, "clCreateBuffer");
    snprintf(name, sizeof(name), "write %s", label);
    figure_mib(name, write_buffer, &t, (double)size * t.repeat);
    write_buffer(&t);
    memset(t.data, 0, size);
    snprintf(name, sizeof(name), "read %s", label);
    figure_mib(name, read_buffer, &t, (double)size * t.repeat);
    read_buffer(&t);
    if (memcmp(t.data, want, size) != 0) {
        die("%s came back changed", label);
    }
    check(clReleaseMemObject(t.mem), "clReleaseMemObject");
    free(t.data);
    free(want);
}

static void map_unmap(void *opaque)
{
    struct transfer *t = opaque;
    cl_int err;
    void *p = clEnqueueMapBuffer(queue, t->mem, CL_TRUE,
                                 CL_MAP_READ | CL_MAP_WRITE, 0, t->size, 0,
                                 NULL, NULL, &err);

    check(err, "clEnqueueMapBuffer");
    check(clEnqueueUnmapMemObject(queue, t->mem, p, 0, NULL, NULL),
          "clEnqueueUnmapMemObject");
    check(clFinish(queue), "clFinish");
}

static void mappings(size_t size, const char *label)
{
    struct transfer t = { .size = size };
    char name[64];
    cl_int err;

    t.mem = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR,
                           size, NULL, &err);
    check(err, "clCreateBuffer");
    snprintf(name, sizeof(name), "map + unmap %s", label);
    figure_us(name, map_unmap, &t, 1);
    check(clReleaseMemObject(t.mem), "clReleaseMemObject");
}

/* --- set-up ----------------------------------------------------------- */

static void build_kernel(void)
{
    static const char *source =
        "kernel void count(global int *cell) { cell[0] += 1; }";
    cl_int err;

    program = clCreateProgramWithSource(context, 1, &source, NULL, &err);
    check(err, "clCreateProgramWithSource");
    check(clBuildProgram(program, 1, &device, "", NULL, NULL),
          "clBuildProgram");
    kernel = clCreateKernel(program, "count", &err);
    check(err, "clCreateKernel");
}

static void set_up(void)
{
    cl_platform_id platform;
    char name[256] = "";
    cl_int err;

    err = clGetPlatformIDs(1, &platform, NULL);
    if (err != CL_SUCCESS) {
        die("no OpenCL platform (error %d): install an ICD, or run under "
            "vgpu-run", err);
    }
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL),
          "clGetDeviceIDs");
    check(clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof(name), name, NULL),
          "clGetDeviceInfo");
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &err);
    check(err, "clCreateContext");
    queue = clCreateCommandQueueWithProperties(context, device, NULL, &err);
    check(err, "clCreateCommandQueueWithProperties");
    build_kernel();
    other = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, &err);
    check(err, "clCreateBuffer");
    cell = clCreateBuffer(context, CL_MEM_READ_WRITE, 64, NULL, &err);
    check(err, "clCreateBuffer");
    check(clSetKernelArg(kernel, 0, sizeof(cell), &cell), "clSetKernelArg");
    fprintf(stderr, "vgpu-bench: %s\n", name);
}

static void usage(void)
{
    printf("usage: vgpu-bench [--ms N] [--only TEXT] [--max-mib N]\n"
           "\n"
           "Measures OpenCL calls on the first device and prints JSON.\n"
           "\n"
           "  --ms N        milliseconds for each figure, 1..%d (default 300)\n"
           "  --only TEXT   only figures whose name contains TEXT\n"
           "  --max-mib N   largest transfer in MiB (default 256)\n"
           "  --idle N      measure nothing: launch once, and sleep N seconds\n",
           MS_MAX);
}

static long number(const char *option, const char *value, long max)
{
    char *end;
    long n = value ? strtol(value, &end, 10) : 0;

    if (!value || *end || n < 1 || n > max) {
        die("%s wants a number from 1 to %ld, not '%s'", option, max,
            value ? value : "");
    }
    return n;
}

int main(int argc, char **argv)
{
    static const struct { size_t size; const char *label; } sizes[] = {
        { 4u << 10, "4 KiB" },  { 64u << 10, "64 KiB" },
        { 1u << 20, "1 MiB" },  { 16u << 20, "16 MiB" },
        { 64u << 20, "64 MiB" }, { 256u << 20, "256 MiB" },
    };
    long max_mib = 256, idle = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            usage();
            return 0;
        } else if (strcmp(argv[i], "--ms") == 0) {
            ms = number(argv[i], argv[i + 1], MS_MAX);
            i++;
        } else if (strcmp(argv[i], "--only") == 0 && argv[i + 1]) {
            only = argv[++i];
        } else if (strcmp(argv[i], "--max-mib") == 0) {
            max_mib = number(argv[i], argv[i + 1], 1024);
            i++;
        } else if (strcmp(argv[i], "--idle") == 0) {
            idle = number(argv[i], argv[i + 1], IDLE_MAX);
            i++;
        } else {
            die("unknown option '%s': see --help", argv[i]);
        }
    }
    set_up();
    check_launches();
    if (idle) {
        printf("idle\n");
        fflush(stdout);
        sleep((unsigned)idle);
        return 0;
    }
    printf("{");
    figure_us("clSetKernelArg", set_args, NULL, LAUNCHES);
    figure_us("clGetDeviceInfo", get_infos, NULL, LAUNCHES);
    figure_us("create + release buffer", create_buffers, NULL, LAUNCHES);
    figure_rate("launch", launch_many, NULL, LAUNCHES);
    figure_share("launch, the program's own time", launch_many);
    figure_rate("set argument + launch", launch_many_with_args, NULL, LAUNCHES);
    threads();
    figure_us("launch + finish", launch_finish, NULL, LAUNCHES / 10);
    figure_us("read 4 bytes", read_cell, NULL, LAUNCHES / 10);
    figure_rate("write 4 bytes, asynchronous", write_cells, NULL, LAUNCHES);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i].size <= (size_t)max_mib << 20) {
            transfers(sizes[i].size, sizes[i].label);
        }
    }
    if (max_mib >= 64) {
        mappings(64u << 20, "64 MiB");
    }
    printf("\n}\n");
    return 0;
}
