/*
 * The guest's session, as far as callers need it: a message is served at once,
 * by the worker's decoder in this same process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "session.h"
#include "wire_fake.h"

struct session {
    int none;
};

struct session fake_session;

static uint8_t reply[4096];
static size_t reply_size;
static enum wire_status reply_status;
static bool answered;

size_t call_payload_max(struct session *s)
{
    return sizeof(fake.payload);
}

int call_begin(struct call *c, struct session *s, enum vgpu_api api,
               uint16_t number, size_t payload, bool want)
{
    memset(c, 0, sizeof(*c));
    EXPECT(payload <= sizeof(fake.payload) && payload % 8 == 0);
    fake.call = number;
    fake.size = payload;
    answered = want;
    wire_out_init(&c->out, fake.payload, payload);
    return 0;
}

void call_send(struct call *c)
{
    EXPECT(!c->out.bad && c->out.p == c->out.end);
    reply_status = fake_serve(fake.call, fake.payload, fake.size, answered,
                              reply, &reply_size);
    EXPECT(reply_status == WIRE_OK);
}

void call_send_lazily(struct call *c)
{
    call_send(c);
}

int call_wait(struct call *c)
{
    wire_in_init(&c->reply, reply, reply_size);
    return reply_status == WIRE_OK ? 0 : -1;
}

void call_end(struct call *c)
{
}

int bulk_alloc(struct session *s, size_t size, struct bulk *b)
{
    EXPECT(size <= sizeof(fake_blob));
    memset(b, 0, sizeof(*b));
    b->span = *fake_span(size);
    b->data = fake_blob;
    return 0;
}

void bulk_free(struct session *s, struct bulk *b)
{
    EXPECT(b->data == fake_blob);
}

void bulk_free_later(struct session *s, struct bulk *b)
{
    EXPECT(b->data == fake_blob);
}

bool bulk_find(struct session *s, const void *ptr, size_t size,
               struct wire_span *span)
{
    return false;
}
