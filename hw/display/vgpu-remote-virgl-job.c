/*
 * Tokens: what the virgl worker has been asked to tell of, and its completions.
 *
 * Job n has token n + 1. What the worker completes is taken by the main loop, which
 * is woken for that (vgpu_jobs_serve), if anybody wants it soon; what nobody waits
 * for lies there until the next look.
 *
 * The main loop takes 30 to 50 us to wake, and a halted virtual processor as long: a
 * readback of a few pixels, for which a guest has to wait, takes 5. So the thread that
 * rang for it stays, and looks for a moment (vgpu_virgl_rung); the guest then finds
 * its answer when it begins to wait, and goes on. Where that does not help, since the
 * GPU has more to do, it is done more seldom.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "qemu/processor.h"

#define AWAIT_NS   250000 /* longer than a thread takes to wake on an idle machine */
#define PATIENCE   16     /* how many waits are left out at most, for one in vain */

uint32_t vgpu_jobs_completed(VgpuVirgl *v)
{
    return vgpu_virgl_reached(v, VIRGL_DONE_SLOT);
}

VgpuJob *vgpu_job_add(VgpuVirgl *v, const VgpuJob *job)
{
    uint32_t n = v->next_job;

    while (v->jobs[n].busy) {
        n = (n + 1) % ARRAY_SIZE(v->jobs);
    }
    v->next_job = (n + 1) % ARRAY_SIZE(v->jobs);
    v->jobs[n] = *job;
    v->jobs[n].busy = true;
    v->n_jobs++;
    v->n_wanted += job->wanted;
    return &v->jobs[n];
}

static void finish(VgpuRemote *vr, VgpuJob *job, const struct virgl_done *done)
{
    VgpuVirgl *v = &vr->virgl;
    VgpuJob was = *job;

    memset(job, 0, sizeof(*job));
    v->n_jobs--;
    v->n_wanted -= was.wanted;
    was.done(vr, &was, done);
    vgpu_staging_free(vr, &was);
    vgpu_backing_unref(was.backing);
}

/*
 * Take what has been completed, up to what is not for this thread. Returns NULL or
 * what is wrong.
 */
static const char *reap(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;
    uint32_t generation = v->generation;
    uint32_t end = vgpu_jobs_completed(v);

    if (end - v->done_seen > VIRGL_DONE_ENTRIES) {
        return "its worker counts wrong";
    }
    while (v->done_seen != end && v->generation == generation && v->ring) {
        struct virgl_done done =
            *(volatile struct virgl_done *)virgl_done_at(v->ring, v->done_seen);
        VgpuJob *job = done.token - 1 < ARRAY_SIZE(v->jobs)
                           ? &v->jobs[done.token - 1] : NULL;

        if (!job || !job->busy) {
            return "its worker completes what was not asked";
        }
        if (vr->quick && !job->quick) {
            break;
        }
        v->done_seen++;
        finish(vr, job, &done);
    }
    return NULL;
}

static bool arm(VgpuVirgl *v)
{
    return v->ring && ring_slot_arm(ring_slot(v->ring, VIRGL_DONE_SLOT),
                                    v->done_seen + 1);
}

void vgpu_jobs_arm(VgpuVirgl *v)
{
    if (arm(v)) {
        /* Not from here: whoever called has yet to hold his command. */
        event_notifier_set(&v->done);
    }
}

void vgpu_jobs_serve(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;
    const char *why;

    if (!v->ring) {
        return;
    }
    do {
        why = reap(vr);
    } while (!why && v->ring && v->n_wanted && arm(v));
    if (why) {
        vgpu_virgl_lose(vr, why);
        return;
    }
    vgpu_held_flush(vr);
    vgpu_virgl_moved_on(vr);
}

/* Until the awaited command is answered, or time is over. */
static void await(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;
    int64_t end = get_clock() + AWAIT_NS;
    const char *why = NULL;

    while (!why && v->ring && v->awaited && get_clock() < end) {
        uint32_t before = v->done_seen;

        cpu_relax();
        why = reap(vr);
        if (v->done_seen != before) {
            vgpu_held_flush(vr);
        }
    }
    if (why) {
        vgpu_virgl_lose(vr, why);
    } else {
        vgpu_virgl_moved_on(vr);
    }
}

void vgpu_virgl_rung(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;

    if (v->awaited && v->skipped < v->impatience) {
        v->skipped++;
    } else if (v->awaited) {
        await(vr);
        v->impatience = v->awaited ? MIN(2 * v->impatience + 1, PATIENCE) : 0;
        v->skipped = 0;
    }
    v->awaited = NULL;
    if (v->n_wanted) {
        vgpu_jobs_arm(v);
    }
}

void vgpu_jobs_lose(VgpuRemote *vr)
{
    VgpuVirgl *v = &vr->virgl;
    static const struct virgl_done lost = { .status = EPIPE };

    for (size_t i = 0; i < ARRAY_SIZE(v->jobs); i++) {
        if (v->jobs[i].busy) {
            finish(vr, &v->jobs[i], &lost);
        }
    }
}
