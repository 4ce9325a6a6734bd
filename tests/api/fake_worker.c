/*
 * The worker's session, as far as decoders need it: a table that has every
 * object whose id follows sample_id(), and one blob.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <setjmp.h>

#include "opencl_serve.h"
#include "wire_fake.h"

struct fake fake;
uint8_t fake_blob[FAKE_BLOB_SIZE];
unsigned failures;

static jmp_buf lost; /* where session_fail() goes */

bool fake_called(const char *name)
{
    if (!strncmp(name, "clRelease", 9) && strcmp(name, fake.making)) {
        return false; /* of what was retained while another call blocked */
    }
    fake.calls++;
    fake.last = name;
    return !fake.hostile;
}

static enum wire_status serve_or_lose(struct request *r)
{
    return setjmp(lost) ? WIRE_LOST : opencl_serve(r);
}

/* In memory of exactly its size, so that ASan sees any read beyond it. */
enum wire_status fake_serve(uint16_t call, const void *payload, size_t n,
                            bool answered, void *reply, size_t *reply_size)
{
    struct request r = { .header.call = call, .header.slot = answered };
    void *copy = aligned_alloc(16, n ? (n + 15) & ~(size_t)15 : 16);
    uint8_t *exact = (uint8_t *)copy + (((n + 15) & ~(size_t)15) - n);
    enum wire_status status;

    /* Ends where the block ends; payloads are whole items, so it is aligned. */
    if (n) {
        memcpy(exact, payload, n);
    }
    wire_in_init(&r.in, exact, n);
    wire_out_init(&r.out, reply, answered ? 4096 : 0);
    status = serve_or_lose(&r);
    if (status == WIRE_OK && answered) {
        EXPECT(!r.out.bad);
    }
    *reply_size = answered ? r.out.p - (uint8_t *)reply : 0;
    free(copy);
    return status;
}

/* --- the session -------------------------------------------------------------- */

struct handles *session_handles(struct session *s)
{
    return NULL;
}

void *session_span(struct request *r, const struct wire_span *span)
{
    uint64_t blob = span->blob & ~WIRE_SPAN_TRACKED;

    if (blob != FAKE_BLOB || span->offset > FAKE_BLOB_SIZE ||
        span->size > FAKE_BLOB_SIZE - span->offset) {
        return NULL;
    }
    return fake_blob + span->offset;
}

void session_block_begin(struct request *r)
{
    r->blocked = true;
}

_Noreturn void session_fail(struct session *s, enum ring_fatal why,
                            const char *fmt, ...)
{
    longjmp(lost, 1);
}

void opencl_async_error(struct request *r, cl_command_queue queue, cl_int err)
{
    EXPECT(err != 0 && r->header.slot == 0);
    fake.async_errors++;
}

cl_int opencl_sticky_error(struct request *r, cl_command_queue queue)
{
    EXPECT(r->header.slot != 0);
    return 0;
}

/* --- its objects ---------------------------------------------------------------- */

void *handles_get(struct handles *h, uint64_t id, unsigned type,
                  int32_t *error)
{
    uint64_t first = sample_id(type, 0);

    if (fake.no_objects || id < first || id >= first + 16) {
        return NULL;
    }
    return sample_object(type, id - first);
}

void *handles_take(struct handles *h, uint64_t id, unsigned type,
                   int32_t *error)
{
    return handles_get(h, id, type, error);
}

int handles_put(struct handles *h, uint64_t id, unsigned type, void *object)
{
    EXPECT(object != NULL);
    if (id >= HANDLE_HOST_FIRST) {
        return -EINVAL;
    }
    fake.entered++;
    fake.entered_id = id;
    fake.entered_type = type;
    fake.entered_error = 0;
    return 0;
}

int handles_put_error(struct handles *h, uint64_t id, unsigned type,
                      int32_t error)
{
    EXPECT(error != 0);
    if (id >= HANDLE_HOST_FIRST) {
        return -EINVAL;
    }
    fake.entered++;
    fake.entered_id = id;
    fake.entered_type = type;
    fake.entered_error = error;
    return 0;
}

uint64_t handles_host_id(struct handles *h, unsigned type, void *object)
{
    return HANDLE_HOST_FIRST + ((uintptr_t)object & 0xffff);
}

/* --- samples -------------------------------------------------------------------- */

static uint8_t byte_at(size_t i)
{
    return i * 7 + 3 + (i >> 8);
}

const void *sample(size_t n)
{
    static uint64_t bytes[FAKE_BLOB_SIZE / 8];

    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)bytes)[i] = byte_at(i);
    }
    return bytes;
}

bool is_sample(const void *at, size_t n)
{
    return at && memcmp(at, sample(n), n) == 0;
}

const uint64_t *sample_ids(size_t n, unsigned type)
{
    static uint64_t ids[10][16]; /* of several arrays of a call */
    uint64_t *of_type = ids[type % 10];

    for (size_t i = 0; i < n; i++) {
        of_type[i] = sample_id(type, i);
    }
    return of_type;
}

bool are_objects(const void *at, size_t n, unsigned type)
{
    void *const *objects = at;

    for (size_t i = 0; i < n; i++) {
        if (!objects || objects[i] != sample_object(type, i)) {
            return false;
        }
    }
    return true;
}

bool are_host_ids(const void *at, size_t n)
{
    uint64_t id;

    for (size_t i = 0; i < n; i++) {
        memcpy(&id, (const uint8_t *)at + i * 8, 8);
        if (id != HANDLE_HOST_FIRST + i) {
            return false;
        }
    }
    return true;
}

const void *sample_list(size_t n)
{
    static uint64_t list[16];

    for (size_t i = 0; i < n; i++) {
        list[i] = i + 1 < n && i != 1 ? 100 + i : 0;
    }
    return list;
}

bool is_sample_list(const void *at, size_t n)
{
    return at && memcmp(at, sample_list(n), n * 8) == 0;
}

void fill(void *at, size_t n)
{
    if (at) {
        memset(at, 0xa5, n);
    }
}

bool is_filled(const void *at, size_t n)
{
    const uint8_t *bytes = at;

    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != 0xa5) {
            return false;
        }
    }
    return true;
}

void touch(const void *at, size_t n)
{
    for (size_t i = 0; at && i < n; i++) {
        (void)((const volatile uint8_t *)at)[i];
    }
}

void touch_pairs(const void *at)
{
    const uint64_t *list = at;

    for (size_t i = 0; list && list[i]; i += 2) {
        touch(&list[i + 1], 8);
    }
}

const struct wire_span *fake_span(size_t n)
{
    static struct wire_span span;

    span = (struct wire_span){ FAKE_BLOB, 0, n };
    return &span;
}
