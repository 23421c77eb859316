// SPDX-License-Identifier: MIT

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed initramfs.sh
var initramfs string

// kernelSuite is the suite that is booted on other kernels.
const kernelSuite = "bookworm"

// diskModules are the modules of a kernel that lead to the disk, each after those that it needs. Some are built in.
func diskModules() []string {
	return []string{
		"virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_legacy_dev", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci",
		"block/virtio_blk",
	}
}

// onKernel boots bookworm on a kernel of test/kernels in an emulated machine, where the service serves a host.
func onKernel(ctx context.Context, cache, kernel string, p payload) (lived, error) {
	base, err := root(ctx, cache, kernelSuite)
	if err != nil {
		return lived{}, err
	}
	work, err := os.MkdirTemp("", "kernel-")
	if err != nil {
		return lived{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	image, err := machine(ctx, kernel, base, work, p)
	if err != nil {
		return lived{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	log := filepath.Join(work, "console") // a user can follow it
	err = command(ctx, nil, "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", "max,erms=off,fsrm=off,la57=off,avx=off,avx2=off", // as in test/kernels
		"-smp", "2", "-m", "2048", "-display", "none", "-no-reboot", "-nodefaults", "-serial", "file:"+log,
		"-kernel", image, "-initrd", filepath.Join(work, "initramfs"),
		"-drive", "format=raw,if=virtio,file="+filepath.Join(work, "disk"),
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on systemd.show_status=0")
	console, unread := os.ReadFile(log)
	if err = errors.Join(err, unread, ctx.Err()); err != nil {
		return lived{}, fmt.Errorf("%w\n%s", err, console)
	}
	return show(console)
}

// words say what the life does on a kernel.
func words(kernel string) string {
	if kernel == "5.10" {
		return "emulated counts-memory"
	}
	return "emulated"
}

// machine fetches a kernel, and makes its initramfs and its disk in the folder work. It returns the path of the kernel.
func machine(ctx context.Context, kernel, base, work string, p payload) (string, error) {
	text, err := output(ctx, "go", "run", "./test/kernels", "-image", kernel)
	if err != nil {
		return "", err
	}
	paths := strings.Fields(text)
	if len(paths) != 2 {
		return "", fmt.Errorf("fetch kernel %s: %q", kernel, text)
	}
	dirs := map[string]string{
		"ROOT": base, "DISK": filepath.Join(work, "disk"), "INITRAMFS": filepath.Join(work, "initramfs"), "PATH": os.Getenv("PATH"),
	}
	for _, name := range []string{"UPPER", "WORK", "MERGED", "FOLDER"} {
		dirs[name] = filepath.Join(work, name)
		err = errors.Join(err, os.Mkdir(dirs[name], 0o755))
	}
	err = errors.Join(err,
		p.over(dirs["UPPER"], words(kernel), "file:/dev/ttyS0"), collect(ctx, paths[0], paths[1], dirs["FOLDER"]))
	if err != nil {
		return "", err
	}
	var env []string
	for name, value := range dirs {
		env = append(env, name+"="+value)
	}
	return paths[0], command(ctx, env, "unshare", "--mount", "sh", "-c", initramfs)
}

// collect copies busybox and the modules of a kernel into a folder, in the order in which they are loaded.
func collect(ctx context.Context, image, busybox, dir string) error {
	modules := filepath.Join(dir, "modules")
	err := errors.Join(os.Mkdir(modules, 0o755), command(ctx, nil, "cp", busybox, filepath.Join(dir, "busybox")))
	for i, name := range diskModules() {
		found, _ := filepath.Glob(filepath.Join(filepath.Dir(image), "../lib/modules/*/kernel/drivers", name+".ko"))
		for _, file := range found {
			err = errors.Join(err, command(ctx, nil, "cp", file, fmt.Sprintf("%s/%02d.ko", modules, i)))
		}
	}
	return err
}
