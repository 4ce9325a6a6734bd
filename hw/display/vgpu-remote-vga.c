/*
 * `-device vgpu-remote-vga`: the device with VGA, for firmware and boot
 * screens.
 *
 * It is a virtio-vga as the guest sees it, but made here: the stock one cannot
 * be taken apart again (it registers a reset handler and legacy memory that
 * nobody can name later), and this one may be unplugged. Until the guest's
 * driver first shows a picture, the console shows VGA's.
 *
 * Two inner devices, hence two of each: VGACommonState and VgpuRemote, and a
 * table of console operations that asks whichever is shown.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "hw/pci/pci.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "ui/console.h"
#include "virtio-vga.h"

#define TYPE_VGPU_REMOTE_VGA "vgpu-remote-vga"
OBJECT_DECLARE_SIMPLE_TYPE(VgpuRemoteVGA, VGPU_REMOTE_VGA)

#define VRAM_MIB     8
#define LOWMEM_BASE  0xa0000
#define VGA_PORTS    0x3b0
#define VBE_PORTS    0x1ce

struct VgpuRemoteVGA {
    VirtIOVGABase parent_obj;

    VgpuRemote vdev;
    MemoryRegion *lowmem; /* at LOWMEM_BASE; set once there is a VGA */
};

/* --- the console --------------------------------------------------------- */

/* Which of the two is shown, and what its operations want as opaque. */
static const GraphicHwOps *shown(VirtIOVGABase *vvga, void **opaque)
{
    if (vvga->vgpu->enable) {
        *opaque = vvga->vgpu;
        return vvga->vgpu->hw_ops;
    }
    *opaque = &vvga->vga;
    return vvga->vga.hw_ops;
}

static void invalidate(void *vvga)
{
    void *opaque;

    shown(vvga, &opaque)->invalidate(opaque);
}

static void update(void *vvga)
{
    void *opaque;

    shown(vvga, &opaque)->gfx_update(opaque);
}

static void text_update(void *vvga, console_ch_t *text)
{
    void *opaque;

    shown(vvga, &opaque)->text_update(opaque, text);
}

/* What VGA knows nothing of is always the other's. */

static void ui_info(void *vvga, uint32_t head, QemuUIInfo *info)
{
    VirtIOGPUBase *g = ((VirtIOVGABase *)vvga)->vgpu;

    g->hw_ops->ui_info(g, head, info);
}

static void gl_block(void *vvga, bool block)
{
    VirtIOGPUBase *g = ((VirtIOVGABase *)vvga)->vgpu;

    g->hw_ops->gl_block(g, block);
}

static int get_flags(void *vvga)
{
    VirtIOGPUBase *g = ((VirtIOVGABase *)vvga)->vgpu;

    return g->hw_ops->get_flags(g);
}

static const GraphicHwOps console_ops = {
    .get_flags = get_flags,
    .invalidate = invalidate,
    .gfx_update = update,
    .text_update = text_update,
    .ui_info = ui_info,
    .gl_block = gl_block,
};

/* --- VGA ----------------------------------------------------------------- */

static bool vga_add(VgpuRemoteVGA *d, PCIDevice *pci, Error **errp)
{
    VGACommonState *vga = &d->parent_obj.vga;
    const MemoryRegionPortio *vga_ports, *vbe_ports;

    vga->vram_size_mb = VRAM_MIB;
    if (!vga_common_init(vga, OBJECT(d), errp)) {
        return false;
    }
    vga->legacy_address_space = pci_address_space(pci);
    d->lowmem = vga_init_io(vga, OBJECT(d), &vga_ports, &vbe_ports);
    memory_region_add_subregion_overlap(vga->legacy_address_space, LOWMEM_BASE,
                                        d->lowmem, 1);
    memory_region_set_coalescing(d->lowmem);
    portio_list_init(&vga->vga_port_list, OBJECT(d), vga_ports, vga, "vga");
    portio_list_set_flush_coalesced(&vga->vga_port_list);
    portio_list_add(&vga->vga_port_list, pci_address_space_io(pci), VGA_PORTS);
    portio_list_init(&vga->vbe_port_list, OBJECT(d), vbe_ports, vga, "vbe");
    portio_list_add(&vga->vbe_port_list, pci_address_space_io(pci), VBE_PORTS);
    pci_register_bar(pci, 0, PCI_BASE_ADDRESS_MEM_PREFETCH, &vga->vram);
    return true;
}

static void vga_remove(VgpuRemoteVGA *d)
{
    VGACommonState *vga = &d->parent_obj.vga;

    vga_common_reset(vga); /* and with it any alias of its memory */
    portio_list_del(&vga->vga_port_list);
    portio_list_del(&vga->vbe_port_list);
    memory_region_del_subregion(vga->legacy_address_space, d->lowmem);
    vga->legacy_address_space = NULL;
    vga_dirty_log_stop(vga);
    vmstate_unregister_ram(&vga->vram, DEVICE(d));
    g_clear_pointer(&vga->panning_buf, g_free);
}

/* --- PCI ----------------------------------------------------------------- */

/*
 * BAR 2 begins with VGA's registers as on a stdvga, so virtio's go to its end,
 * where notifications want most of the room.
 */
static void lay_out_virtio(VirtIOPCIProxy *proxy)
{
    VirtIOPCIRegion *regions[] = {
        &proxy->notify, &proxy->device, &proxy->isr, &proxy->common,
    };
    uint32_t end = memory_region_size(&proxy->modern_bar);

    proxy->modern_mem_bar_idx = 2;
    proxy->modern_io_bar_idx = 5;
    if (!(proxy->flags & VIRTIO_PCI_FLAG_PAGE_PER_VQ)) {
        proxy->common.size /= 2;
        proxy->isr.size /= 2;
    }
    for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
        end -= regions[i]->size;
        regions[i]->offset = end;
    }
}

static void add_hostmem(VirtIOPCIProxy *proxy, VirtIOGPUBase *g)
{
    if (!virtio_gpu_hostmem_enabled(g->conf)) {
        proxy->msix_bar_idx = 4;
        return;
    }
    proxy->msix_bar_idx = 1;
    memory_region_init(&g->hostmem, OBJECT(g), "virtio-gpu-hostmem",
                       g->conf.hostmem);
    pci_register_bar(&proxy->pci_dev, 4, PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_PREFETCH |
                     PCI_BASE_ADDRESS_MEM_TYPE_64, &g->hostmem);
    virtio_pci_add_shm_cap(proxy, 4, 0, g->conf.hostmem,
                           VIRTIO_GPU_SHM_ID_HOST_VISIBLE);
}

static void realize(VirtIOPCIProxy *proxy, Error **errp)
{
    VgpuRemoteVGA *d = VGPU_REMOTE_VGA(proxy);
    VirtIOVGABase *vvga = &d->parent_obj;
    VirtIOGPUBase *g = vvga->vgpu;

    if (!vgpu_remote_check(&d->vdev, errp) ||
        !vga_add(d, &proxy->pci_dev, errp)) {
        return;
    }
    lay_out_virtio(proxy);
    add_hostmem(proxy, g);
    virtio_pci_force_virtio_1(proxy);
    if (!qdev_realize(DEVICE(g), BUS(&proxy->bus), errp)) {
        vga_remove(d);
        return;
    }
    pci_std_vga_mmio_region_init(&vvga->vga, OBJECT(d), &proxy->modern_bar,
                                 vvga->vga_mrs, true, false);
    vvga->vga.con = g->scanout[0].con;
    graphic_console_set_hwops(vvga->vga.con, &console_ops, vvga);
    for (uint32_t i = 0; i < g->conf.max_outputs; i++) {
        object_property_set_link(OBJECT(g->scanout[i].con), "device", OBJECT(d),
                                 &error_abort);
    }
}

/* After the virtio device, which has closed the consoles. */
static void pci_exit(PCIDevice *pci)
{
    VgpuRemoteVGA *d = VGPU_REMOTE_VGA(pci);
    VirtIOVGABase *vvga = &d->parent_obj;
    PCIDeviceClass *parent = PCI_DEVICE_CLASS(
        object_class_by_name(TYPE_VIRTIO_VGA_BASE));

    for (size_t i = 0; i < ARRAY_SIZE(vvga->vga_mrs); i++) {
        memory_region_del_subregion(&vvga->parent_obj.modern_bar,
                                    &vvga->vga_mrs[i]);
    }
    vga_remove(d);
    parent->exit(pci);
}

static void instance_init(Object *obj)
{
    VgpuRemoteVGA *d = VGPU_REMOTE_VGA(obj);

    virtio_instance_init_common(obj, &d->vdev, sizeof(d->vdev),
                                TYPE_VGPU_REMOTE_DEVICE);
    VIRTIO_VGA_BASE(obj)->vgpu = VIRTIO_GPU_BASE(&d->vdev);
    vgpu_remote_describe(obj, &d->vdev);
}

/* Nobody can look at its regions any more: free those that are on the heap. */
static void instance_finalize(Object *obj)
{
    VgpuRemoteVGA *d = VGPU_REMOTE_VGA(obj);

    vgpu_window_free(&d->vdev);
    if (d->lowmem) {
        portio_list_destroy(&d->parent_obj.vga.vga_port_list);
        portio_list_destroy(&d->parent_obj.vga.vbe_port_list);
        g_free(d->lowmem);
    }
}

static void class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    VIRTIO_PCI_CLASS(klass)->realize = realize;
    PCI_DEVICE_CLASS(klass)->exit = pci_exit;
    dc->desc = "virtio-vga that computes on the host's device";
    dc->hotpluggable = true;
}

static const VirtioPCIDeviceTypeInfo vgpu_remote_vga_info = {
    .generic_name = TYPE_VGPU_REMOTE_VGA,
    .parent = TYPE_VIRTIO_VGA_BASE,
    .instance_size = sizeof(VgpuRemoteVGA),
    .instance_init = instance_init,
    .instance_finalize = instance_finalize,
    .class_init = class_init,
};

static void register_types(void)
{
    virtio_pci_types_register(&vgpu_remote_vga_info);
}

type_init(register_types)
