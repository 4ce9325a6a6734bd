/*
 * Calls as text. See print.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include <ctype.h>
#include <inttypes.h>

#include "print.h"

#define TEXT_MAX     64 /* characters of a text */
#define BYTES_MAX    16 /* bytes of raw data */
#define ELEMENTS_MAX 8

static void print_text(FILE *f, const char *text, uint64_t n)
{
    fputc('"', f);
    for (uint64_t i = 0; i + 1 < n && i < TEXT_MAX; i++) {
        unsigned char c = text[i];

        if (c == '"' || c == '\\' || !isprint(c)) {
            fprintf(f, "\\x%02x", c);
        } else {
            fputc(c, f);
        }
    }
    fputs(n > TEXT_MAX + 1 ? "\"..." : "\"", f);
}

static void print_bytes(FILE *f, const uint8_t *bytes, uint64_t n)
{
    fprintf(f, "%" PRIu64 " bytes", n);
    for (uint64_t i = 0; i < n && i < BYTES_MAX; i++) {
        fprintf(f, "%s%02x", i ? "" : " ", bytes[i]);
    }
    fputs(n > BYTES_MAX ? "..." : "", f);
}

static void print_value(FILE *f, enum print_element element, uint16_t size,
                        const uint8_t *at)
{
    uint64_t v = 0;

    memcpy(&v, at, size);
    if (element == PRINT_ID_ELEMENT) {
        fprintf(f, "#%" PRIu64, v);
    } else if (element == PRINT_SIGNED_ELEMENT) {
        unsigned unused = 64 - 8 * size;

        fprintf(f, "%" PRId64, (int64_t)(v << unused) >> unused);
    } else {
        fprintf(f, "%" PRIu64, v);
    }
}

static void print_array(FILE *f, const struct print_param *p,
                        const uint8_t *at, uint64_t n)
{
    if (p->element == PRINT_BYTES) {
        print_bytes(f, at, n * p->size);
        return;
    }
    fputc('[', f);
    for (uint64_t i = 0; i < n && i < ELEMENTS_MAX; i++) {
        fputs(i ? " " : "", f);
        print_value(f, p->element, p->size, at + i * p->size);
    }
    fputs(n > ELEMENTS_MAX ? " ...]" : "]", f);
}

/* How many elements, or UINT64_MAX if that is beyond any message. */
static uint64_t count_of(const struct print_param *p, const uint64_t *item)
{
    uint64_t n = p->factor;

    for (int i = 0; i < 2; i++) {
        if (p->counts[i] >= 0 &&
            __builtin_mul_overflow(n, item[p->counts[i]], &n)) {
            return UINT64_MAX;
        }
    }
    return n;
}

static void print_span(FILE *f, const uint64_t *item)
{
    fprintf(f, "blob %" PRIu64 "+%" PRIu64 " %" PRIu64 " bytes",
            (uint64_t)(item[0] & ~WIRE_SPAN_TRACKED), item[1], item[2]);
}

/* An array or text, which is next in the message. */
static void print_data(FILE *f, const struct print_param *p,
                       const uint64_t *item, struct wire_in *in)
{
    uint64_t n = p->kind == PRINT_BULK    ? item[p->item + 2]
                 : p->kind == PRINT_ARRAY ? count_of(p, item)
                                          : item[p->item];
    const void *at = wire_get_array(in, n, p->kind == PRINT_BULK ? 1 : p->size);

    if (!at) {
        fputs("malformed", f);
    } else if (p->kind == PRINT_TEXT) {
        print_text(f, at, n);
    } else if (p->kind == PRINT_BULK) {
        print_bytes(f, at, n);
    } else {
        print_array(f, p, at, n);
    }
}

static void print_param(FILE *f, const struct print_param *p,
                        const uint64_t *item, struct wire_in *in)
{
    fprintf(f, "%s=", p->name);
    if (p->present >= 0 && !item[p->present]) {
        fputc('-', f);
        return;
    }
    switch ((enum print_kind)p->kind) {
    case PRINT_UNSIGNED:
        fprintf(f, "%" PRIu64, item[p->item]);
        break;
    case PRINT_SIGNED:
        fprintf(f, "%" PRId64, (int64_t)item[p->item]);
        break;
    case PRINT_ID:
        fprintf(f, item[p->item] ? "#%" PRIu64 : "-", item[p->item]);
        break;
    case PRINT_TEXT:
    case PRINT_LIST:
        if (item[p->item] == 0) {
            fputc('-', f);
        } else {
            print_data(f, p, item, in);
        }
        break;
    case PRINT_ARRAY:
        print_data(f, p, item, in);
        break;
    case PRINT_BULK:
        if (item[p->item]) {
            print_span(f, item + p->item);
        } else {
            print_data(f, p, item, in);
        }
        break;
    case PRINT_PLACE:
        print_span(f, item + p->item);
        break;
    case PRINT_WANTED:
        fputs("wanted", f);
        break;
    }
}

void print_call(FILE *f, const struct print_call *call, struct wire_in in)
{
    const uint64_t *item = wire_get_array(&in, call->items, 8);

    fprintf(f, "%s(", call->name);
    for (unsigned i = 0; item && i < call->params; i++) {
        fputs(i ? ", " : "", f);
        print_param(f, &call->param[i], item, &in);
    }
    fputs(wire_done(&in) ? ")\n" : ") malformed\n", f);
}
