/*
 * `-device vgpu-remote`: the device on PCI, a display controller without VGA.
 *
 * virtio-gpu's own PCI base does all of it; what is ours is that bad
 * properties are refused before it makes a BAR of them, and that it may be
 * plugged and unplugged while the VM runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"

#include "hw/display/vgpu-remote.h"

#include "hw/virtio/virtio-gpu-pci.h"
#include "qemu/module.h"

#define TYPE_VGPU_REMOTE_PCI "vgpu-remote"
OBJECT_DECLARE_TYPE(VgpuRemotePCI, VgpuRemotePCIClass, VGPU_REMOTE_PCI)

struct VgpuRemotePCI {
    VirtIOGPUPCIBase parent_obj;

    VgpuRemote vdev;
};

struct VgpuRemotePCIClass {
    VirtioPCIClass parent_class;

    void (*parent_realize)(VirtIOPCIProxy *proxy, Error **errp);
};

static void realize(VirtIOPCIProxy *proxy, Error **errp)
{
    VgpuRemotePCI *pci = VGPU_REMOTE_PCI(proxy);

    if (vgpu_remote_check(&pci->vdev, errp)) {
        VGPU_REMOTE_PCI_GET_CLASS(pci)->parent_realize(proxy, errp);
    }
}

static void instance_init(Object *obj)
{
    VgpuRemotePCI *pci = VGPU_REMOTE_PCI(obj);

    virtio_instance_init_common(obj, &pci->vdev, sizeof(pci->vdev),
                                TYPE_VGPU_REMOTE_DEVICE);
    VIRTIO_GPU_PCI_BASE(obj)->vgpu = VIRTIO_GPU_BASE(&pci->vdev);
    vgpu_remote_describe(obj, &pci->vdev);
}

static void instance_finalize(Object *obj)
{
    vgpu_window_free(&VGPU_REMOTE_PCI(obj)->vdev);
}

static void class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    VirtioPCIClass *k = VIRTIO_PCI_CLASS(klass);
    VgpuRemotePCIClass *vpc = VGPU_REMOTE_PCI_CLASS(klass);

    vpc->parent_realize = k->realize;
    k->realize = realize;
    dc->desc = "virtio-gpu that computes on the host's device";
    dc->hotpluggable = true;
}

static const VirtioPCIDeviceTypeInfo vgpu_remote_pci_info = {
    .generic_name = TYPE_VGPU_REMOTE_PCI,
    .parent = TYPE_VIRTIO_GPU_PCI_BASE,
    .instance_size = sizeof(VgpuRemotePCI),
    .instance_init = instance_init,
    .instance_finalize = instance_finalize,
    .class_size = sizeof(VgpuRemotePCIClass),
    .class_init = class_init,
};

static void register_types(void)
{
    virtio_pci_types_register(&vgpu_remote_pci_info);
}

type_init(register_types)
