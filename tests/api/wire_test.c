/*
 * What every call must stand: it arrives as it was sent, in all its shapes; a
 * message that is too short or too long is refused; unknown objects and errors
 * of the host come back as errors; and no message makes the decoder touch
 * what is not its own (run it under ASan).
 *
 *     wire-test [CALL]         tests all calls, or one
 *     wire-test --seeds DIR    writes every message as it lies in a ring, for fuzzers
 *
 * SPDX-License-Identifier: MIT
 */
#include "opencl_print.h"
#include "wire_fake.h"

#define MUTATIONS 3000 /* of each call */

static uint8_t message[sizeof(fake.payload)];
static size_t message_size;
static uint8_t reply[4096];
static size_t reply_size;

static void reset(const struct wire_test *t, unsigned shape)
{
    memset(&fake, 0, offsetof(struct fake, payload));
    memset(fake_blob, 0, sizeof(fake_blob));
    fake.making = t->name;
    fake.large = shape == SHAPE_LARGE;
    fake.bare = shape == SHAPE_BARE;
}

static void make_message(const struct wire_test *t, unsigned shape)
{
    reset(t, shape);
    t->make();
    memcpy(message, fake.payload, fake.size);
    message_size = fake.size;
}

static enum wire_status serve(const struct wire_test *t, size_t n)
{
    return fake_serve(t->call, message, n, true, reply, &reply_size);
}

static int64_t reply_error(void)
{
    int64_t err = 0;

    memcpy(&err, reply, reply_size < 8 ? 0 : 8);
    return err;
}

/* --- the tests ------------------------------------------------------------------ */

static void arrives_as_sent(const struct wire_test *t)
{
    for (unsigned shape = SHAPE_FULL; shape <= SHAPE_BARE; shape <<= 1) {
        if (!(t->shapes & shape)) {
            continue;
        }
        reset(t, shape);
        EXPECT(t->make() == 0);
        EXPECT(fake.calls == 1 && fake.last && !strcmp(fake.last, t->name));
        EXPECT(fake.async_errors == 0);
        if (t->makes && !fake.bare) {
            EXPECT(fake.entered == 1 && fake.entered_id == NEW_ID &&
                   fake.entered_type == t->makes && fake.entered_error == 0);
        }
    }
}

static void other_length_is_refused(const struct wire_test *t)
{
    reset(t, SHAPE_FULL);
    for (size_t n = 0; n < message_size; n += 8) {
        EXPECT(serve(t, n) == WIRE_MALFORMED);
    }
    memset(message + message_size, 0, 8);
    EXPECT(serve(t, message_size + 8) == WIRE_MALFORMED);
    EXPECT(fake.calls == 0);
}

static void unknown_object_is_an_error(const struct wire_test *t)
{
    if (!t->needs_object) {
        return;
    }
    reset(t, SHAPE_FULL);
    fake.no_objects = true;
    EXPECT(serve(t, message_size) == WIRE_OK);
    EXPECT(reply_error() < 0 && reply_size == 8);
    EXPECT(fake.calls == 0 && fake.entered == 0);
}

static void error_of_the_host_comes_back(const struct wire_test *t)
{
    reset(t, SHAPE_FULL);
    fake.fail = -5;
    EXPECT(serve(t, message_size) == WIRE_OK);
    EXPECT(reply_error() == -5 && reply_size == 8);
    EXPECT(fake.calls == 1 && fake.entered == 0);
}

static void error_without_answer_is_kept(const struct wire_test *t)
{
    if (!t->never_waits) {
        return;
    }
    reset(t, SHAPE_FULL);
    fake.fail = -5;
    EXPECT(t->make() == 0);
    EXPECT(t->makes ? fake.entered == 1 && fake.entered_error == -5
                    : fake.async_errors == 1);
}

static void prints_as_one_line(const struct wire_test *t)
{
    char text[4096] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");
    struct wire_in in;

    wire_in_init(&in, message, message_size);
    opencl_print(f, t->call, in);
    fclose(f);
    EXPECT(!strncmp(text, t->name, strlen(t->name)));
    EXPECT(strlen(text) > 2 && !strcmp(text + strlen(text) - 2, ")\n"));
    EXPECT(strchr(text, '\n') == text + strlen(text) - 1);
}

/* xorshift64: the same mutations in every run. */
static uint64_t random64(void)
{
    static uint64_t state = 88172645463325252ull;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void mutate(uint8_t *payload, size_t n)
{
    static const uint64_t values[] = {
        0, 1, 2, 3, 7, 8, 64, 4096, 5000, 0x7fffffff, 0x80000000, 0xffffffff,
        0x100000000, UINT64_MAX / 8, UINT64_MAX / 8 + 1, 1ull << 63,
        UINT64_MAX - 7, UINT64_MAX, FAKE_BLOB, FAKE_BLOB | WIRE_SPAN_TRACKED,
    };
    uint64_t v = values[random64() % (sizeof(values) / sizeof(values[0]))];

    if (n) {
        memcpy(payload + random64() % (n / 8) * 8, &v, 8);
    }
}

static void hostile_message_harms_nobody(const struct wire_test *t)
{
    static uint8_t good[sizeof(message)];

    memcpy(good, message, message_size);
    for (unsigned i = 0; i < MUTATIONS; i++) {
        char text[8192];
        FILE *f = fmemopen(text, sizeof(text), "w");
        size_t n = message_size;
        struct wire_in in;

        reset(t, SHAPE_FULL);
        fake.hostile = true;
        for (uint64_t edits = random64() % 4 + 1; edits; edits--) {
            mutate(message, n);
        }
        if (random64() % 4 == 0) {
            n = random64() % (n / 8 + 1) * 8;
        }
        wire_in_init(&in, message, n);
        opencl_print(f, t->call, in);
        fclose(f);
        fake_serve(t->call, message, n, i & 1, reply, &reply_size);
        memcpy(message, good, message_size);
    }
}

static void unknown_call_is_refused(void)
{
    reset(&wire_tests[0], SHAPE_FULL);
    EXPECT(fake_serve(0, message, 0, true, reply, &reply_size) ==
           WIRE_UNKNOWN);
    EXPECT(fake_serve(0xfff, message, 0, true, reply, &reply_size) ==
           WIRE_UNKNOWN);
}

static bool write_message(const char *path)
{
    size_t size = (sizeof(struct wire_header) + fake.size + 15) & ~15;
    struct wire_header h = {
        .size = size, .payload = fake.size, .api = VGPU_API_OPENCL,
        .call = fake.call, .slot = 1, .seq = 1,
    };
    FILE *f = fopen(path, "w");

    memset(fake.payload + fake.size, 0, 16);
    return f && fwrite(&h, sizeof(h), 1, f) == 1 &&
           fwrite(fake.payload, size - sizeof(h), 1, f) == 1 &&
           fclose(f) == 0;
}

/* The message of each call in each shape, for a fuzzer to begin with. */
static int write_seeds(const char *dir)
{
    for (const struct wire_test *t = wire_tests; t->name; t++) {
        for (unsigned shape = SHAPE_FULL; shape <= SHAPE_BARE; shape <<= 1) {
            char path[4096];

            if (!(t->shapes & shape)) {
                continue;
            }
            reset(t, shape);
            t->make();
            snprintf(path, sizeof(path), "%s/%s-%u", dir, t->name, shape);
            if (!write_message(path)) {
                perror(path);
                return 1;
            }
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    unsigned n = 0;

    if (argc == 3 && !strcmp(argv[1], "--seeds")) {
        return write_seeds(argv[2]);
    }
    for (const struct wire_test *t = wire_tests; t->name; t++) {
        if (argc > 1 && strcmp(argv[1], t->name)) {
            continue;
        }
        n++;
        arrives_as_sent(t);
        if (t->shapes & SHAPE_LARGE) {
            make_message(t, SHAPE_LARGE);
            hostile_message_harms_nobody(t);
        }
        make_message(t, SHAPE_FULL);
        other_length_is_refused(t);
        unknown_object_is_an_error(t);
        error_of_the_host_comes_back(t);
        error_without_answer_is_kept(t);
        prints_as_one_line(t);
        hostile_message_harms_nobody(t);
    }
    unknown_call_is_refused();
    printf("%u calls, %u failures\n", n, failures);
    return failures != 0 || n == 0;
}
