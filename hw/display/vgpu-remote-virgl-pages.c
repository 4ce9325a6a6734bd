/*
 * Guest pages that the worker reads itself, in the place of a copy.
 *
 * Where the guest's RAM is a memfd (memory-backend-memfd, shared, sealed against
 * shrinking, of ordinary pages) and /dev/udmabuf can be opened, the kernel makes a dmabuf
 * of exactly those pages that a resource's backing has. The worker is handed that, and
 * never the memfd: it can map no other page of the guest, whatever it does.
 *
 *   NOT     what is uploaded is copied; the second copy of more than a little asks
 *   ASKED   the worker was handed the pages, and uploads are copied until it answers
 *   THERE   uploads of more than a little name the pages: vgpu-remote-virgl-transfer.c
 *   NEVER   they are in too many pieces, not whole pages, or the worker did not want them
 *
 * So nobody waits for a mapping, and what is uploaded once, as most textures are, costs
 * none: to make one takes as long as to copy some 1 MiB. A worker that is lost has none,
 * and the next one is asked anew.
 *
 * The pages stay where they are for as long (they are "pinned"): all of them together are
 * at most what the server lets this device have. No file stays open here.
 *
 * Only uploads: a worker cannot be stopped at once, and one that is just being given up
 * must not write to a guest that was told that its command is over, or was reset. So what
 * is read back is copied by the device, and a worker maps pages for reading.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/ioctl.h>

#include "hw/display/vgpu-remote.h"

#include "exec/cpu-common.h"
#include "exec/ramblock.h"
#include "qemu/rcu.h"
#include "standard-headers/linux/udmabuf.h"
#include "trace/trace-hw_display_vgpu_remote.h"

#define DEVICE      "/dev/udmabuf"
#define PIECES_MAX  1024 /* the kernel's own limit, unless raised */
#define IMPORTS_MAX 1000 /* a worker takes some more: see its memory.c */
#define ASKED_MAX   16   /* packets that a worker need not have read yet */

/* --- whether there can be any -------------------------------------------- */

/* Shared memory of ordinary pages, of which the kernel may make a dmabuf. */
static bool is_shared_memory(RAMBlock *rb)
{
    return qemu_ram_get_fd(rb) >= 0 && qemu_ram_is_shared(rb) &&
           qemu_ram_pagesize(rb) == qemu_real_host_page_size();
}

static int is_suitable(RAMBlock *rb, void *opaque)
{
    int seals;

    if (!is_shared_memory(rb)) {
        return false;
    }
    seals = fcntl(qemu_ram_get_fd(rb), F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK);
}

static bool is_switched_off(void)
{
    const char *perf = getenv("VGPU_PERF");

    return perf && strstr(perf, "no_in_place");
}

void vgpu_pages_init(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;

    v->imports = g_hash_table_new(g_int64_hash, g_int64_equal);
    v->udmabuf = -1;
    if (is_switched_off()) {
        v->no_udmabuf = "switched off by VGPU_PERF";
    } else if (!qemu_ram_foreach_block(is_suitable, NULL)) {
        v->no_udmabuf = "no RAM is a shared, sealed memfd of ordinary pages";
    } else {
        v->udmabuf = open(DEVICE, O_RDWR | O_CLOEXEC);
        v->no_udmabuf = v->udmabuf < 0 ? DEVICE " cannot be opened" : NULL;
    }
}

void vgpu_pages_finish(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;

    if (v->udmabuf >= 0) {
        close(v->udmabuf);
        v->udmabuf = -1;
    }
    g_clear_pointer(&v->imports, g_hash_table_destroy);
}

/* --- making one ---------------------------------------------------------- */

/* @size bytes at @at of memfd @fd: one more piece, or more of the last one. */
static bool add_piece(struct udmabuf_create_list *l, int fd, uint64_t at,
                      uint64_t size)
{
    struct udmabuf_create_item *next = &l->list[l->count], *last = next - 1;

    if (l->count && last->memfd == fd && last->offset + last->size == at) {
        last->size += size;
        return true;
    }
    if (l->count == PIECES_MAX) {
        return false;
    }
    *next = (struct udmabuf_create_item) {
        .memfd = fd, .offset = at, .size = size,
    };
    l->count++;
    return true;
}

/* @size bytes at @host, which are attached. False: no dmabuf can have them. */
static bool add_pages(struct udmabuf_create_list *l, void *host, uint64_t size)
{
    ram_addr_t offset;
    RAMBlock *rb = qemu_ram_block_from_host(host, false, &offset);
    uint64_t at;

    if (!rb || !is_shared_memory(rb) ||
        size > qemu_ram_get_used_length(rb) - offset) {
        return false;
    }
    at = rb->fd_offset + offset;
    return QEMU_IS_ALIGNED(at | size, qemu_real_host_page_size()) &&
           add_piece(l, qemu_ram_get_fd(rb), at, size);
}

/* All pages in which @b has a byte, and no other. */
static bool add_backing(struct udmabuf_create_list *l, const VgpuBacking *b)
{
    uint64_t left = ROUND_UP(b->size, qemu_real_host_page_size());

    for (uint32_t i = 0; i < b->n && left; i++) {
        uint64_t size = MIN(left, b->iov[i].iov_len);

        if (!add_pages(l, b->iov[i].iov_base, size)) {
            return false;
        }
        left -= size;
    }
    return left == 0;
}

/* A dmabuf of @b's pages, or -1. */
static int make(VgpuVirgl *v, const VgpuBacking *b)
{
    g_autofree struct udmabuf_create_list *l =
        g_malloc0(sizeof(*l) + PIECES_MAX * sizeof(l->list[0]));

    RCU_READ_LOCK_GUARD();
    l->flags = UDMABUF_FLAGS_CLOEXEC;
    return add_backing(l, b) ? ioctl(v->udmabuf, UDMABUF_CREATE_LIST, l) : -1;
}

/* --- handing it over ----------------------------------------------------- */

static uint64_t bytes_of(const VgpuBacking *b)
{
    return ROUND_UP(b->size, qemu_real_host_page_size());
}

/* It has a number of the worker's no longer. */
static void forget(VgpuVirgl *v, VgpuBacking *b, VgpuPagesState state)
{
    g_hash_table_remove(v->imports, &b->id);
    v->pinned -= bytes_of(b);
    b->pages = state;
}

static void ask(VgpuRemote *vr, VgpuBacking *b)
{
    VgpuVirgl *v = &vr->virgl;
    struct proto_blob_import m = {
        .type = PROTO_BLOB_IMPORT, .blob = v->next_memory, .size = bytes_of(b),
    };
    int fd = make(v, b);

    if (fd < 0) {
        b->pages = VGPU_PAGES_NEVER;
        return;
    }
    trace_vgpu_remote_virgl_import(m.blob, m.size, b->n);
    b->id = v->next_memory++;
    b->pages = VGPU_PAGES_ASKED;
    g_hash_table_insert(v->imports, &b->id, b);
    v->pinned += m.size;
    v->n_asked++;
    vgpu_virgl_packet(vr, &m, fd); /* or it is lost, and all this undone */
    close(fd);
}

void vgpu_pages_want(VgpuRemote *vr, VgpuBacking *b)
{
    VgpuVirgl *v = &vr->virgl;

    if (v->udmabuf < 0 || b->pages != VGPU_PAGES_NOT || b->copies++ == 0) {
        return;
    }
    /* These may be other in a moment: then the next copy asks. */
    if (v->state == VGPU_VIRGL_READY && v->n_asked < ASKED_MAX &&
        g_hash_table_size(v->imports) < IMPORTS_MAX &&
        v->pinned <= vr->memory_max &&
        bytes_of(b) <= vr->memory_max - v->pinned) {
        ask(vr, b);
    }
}

const char *vgpu_pages_imported(void *opaque,
                                const struct proto_blob_imported *m)
{
    VgpuRemote *vr = opaque;
    VgpuVirgl *v = &vr->virgl;
    VgpuBacking *b = g_hash_table_lookup(v->imports, &m->blob);

    if (v->n_asked == 0 || (b && b->pages != VGPU_PAGES_ASKED)) {
        return "its worker answers what was not asked";
    }
    v->n_asked--;
    trace_vgpu_remote_virgl_imported(m->blob, m->status);
    if (b && m->status) {
        forget(v, b, VGPU_PAGES_NEVER);
    } else if (b) {
        b->pages = VGPU_PAGES_THERE;
    } /* else the guest took them away meanwhile */
    return NULL;
}

void vgpu_pages_drop(VgpuRemote *vr, VgpuBacking *b)
{
    VgpuVirgl *v = &vr->virgl;
    struct proto_blob_destroy m = { .type = PROTO_BLOB_DESTROY, .blob = b->id };

    if (b->pages != VGPU_PAGES_ASKED && b->pages != VGPU_PAGES_THERE) {
        return;
    }
    forget(v, b, VGPU_PAGES_NOT);
    if (v->state == VGPU_VIRGL_READY) {
        vgpu_virgl_packet(vr, &m, -1);
    }
}

void vgpu_pages_lost(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;
    GHashTableIter iter;
    gpointer b;

    g_hash_table_iter_init(&iter, v->imports);
    while (g_hash_table_iter_next(&iter, NULL, &b)) {
        ((VgpuBacking *)b)->pages = VGPU_PAGES_NOT;
    }
    g_hash_table_remove_all(v->imports);
    v->pinned = 0;
    v->n_asked = 0;
}

/* --- what it says -------------------------------------------------------- */

char *vgpu_pages_status(const VgpuVirgl *v)
{
    return g_strdup_printf("{\"why_copied\": \"%s\", \"pinned\": %" PRIu64
                           ", \"in_place\": %" PRIu64 ", \"copied\": %" PRIu64
                           "}", v->no_udmabuf ? v->no_udmabuf : "", v->pinned,
                           v->in_place, v->copied);
}
