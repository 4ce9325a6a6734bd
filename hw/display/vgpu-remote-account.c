/*
 * What a guest can make the device use up, counted: open files, lines on stderr,
 * and the liberty to save the VM.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include <sys/resource.h>

#include "hw/display/vgpu-remote.h"

#include "migration/blocker.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "trace/trace-hw_display_vgpu_remote.h"

bool vgpu_charge(VgpuRemote *vr, unsigned n)
{
    if (vr->fds + n > vr->fds_max) {
        return false;
    }
    vr->fds += n;
    return true;
}

void vgpu_uncharge(VgpuRemote *vr, unsigned n)
{
    assert(vr->fds >= n);
    vr->fds -= n;
}

/*
 * Blobs and fences are open files, and the usual soft limit of 1024 is meant
 * for programs that use select(). A quarter is for this device, the rest for
 * QEMU.
 */
unsigned vgpu_fds_allowed(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return VGPU_REMOTE_FDS_MAX / 16;
    }
    if (limit.rlim_cur < VGPU_REMOTE_FDS_MAX * 4) {
        limit.rlim_cur = MIN(limit.rlim_max, VGPU_REMOTE_FDS_MAX * 4);
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    return MIN(limit.rlim_cur / 4, VGPU_REMOTE_FDS_MAX);
}

void vgpu_report(VgpuRemote *vr, const char *fmt, ...)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    trace_vgpu_remote_report(text);
    if (now - vr->reported_ms >= 1000) {
        vr->reported_ms = now;
        warn_report("vgpu-remote: %s", text);
    }
}

bool vgpu_hold(VgpuRemote *vr, const char *who, Error **errp)
{
    if (vr->live == 0) {
        error_setg(&vr->blocker, "vgpu-remote: '%s' in the guest uses the "
                   "host's device, and its state there cannot be saved: end it "
                   "first", who);
        if (migrate_add_blocker(&vr->blocker, errp) < 0) {
            return false;
        }
    }
    vr->live++;
    return true;
}

void vgpu_release(VgpuRemote *vr)
{
    assert(vr->live > 0);
    vr->live--;
    if (vr->live == 0) {
        migrate_del_blocker(&vr->blocker);
    }
}
