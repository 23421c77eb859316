// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	goodImage  = "localhost/ebpf-upgrader-release:good"
	badImage   = "localhost/ebpf-upgrader-release:bad"
	shellImage = "localhost/ebpf-upgrader-release:shell"
)

// build builds packaging/container/Containerfile.release, once with a program that works, and once with false(1). No image is
// fetched: the base has what is used of this host's.
func (r *release) build(ctx context.Context, service, good string) error {
	folder, err := os.MkdirTemp(r.dir, "image-")
	if err != nil {
		return err
	}
	if err := errors.Join(withShell(ctx, folder), addFile(folder, "Containerfile", []byte("FROM scratch\nCOPY root/ /\n"))); err != nil {
		return err
	}
	if err := makeImage(ctx, folder, "--tag="+shellImage); err != nil {
		return err
	}
	for image, from := range map[string]string{goodImage: good, badImage: "/bin/false"} {
		text, err := os.ReadFile(from)
		if err := errors.Join(err, addFile(folder, "rag-rat", append(text, "newer"...))); err != nil { // the kernel ignores what follows
			return err
		}
		err = makeImage(ctx, folder, "--tag="+image, "--file=packaging/container/Containerfile.release",
			"--build-arg=SERVICE="+service, "--build-arg=BASE="+shellImage)
		if err != nil {
			return err
		}
	}
	return nil
}

func makeImage(ctx context.Context, folder string, options ...string) error {
	out, err := command(ctx, append(append([]string{"build", "--quiet", "--pull=never"}, options...), folder)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("podman build %s: %w\n%s", options[0], err, out)
	}
	return nil
}

// removeImages removes what build has built.
func removeImages() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := command(ctx, "rmi", "--force", goodImage, badImage, shellImage).CombinedOutput(); err != nil {
		return fmt.Errorf("podman rmi: %w\n%s", err, out)
	}
	return nil
}

// addFile writes a program, with the folders on the way.
func addFile(folder, path string, text []byte) error {
	path = filepath.Join(folder, path)
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o755))
}

// withShell copies the programs that a release needs in its image, and their libraries.
func withShell(ctx context.Context, folder string) error {
	files := []string{"/bin/sh", "/bin/cp", "/bin/mv", "/bin/chmod", "/bin/sleep"}
	out, err := exec.CommandContext(ctx, "ldd", files...).Output()
	if err != nil {
		return fmt.Errorf("ldd: %w", err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") && !strings.HasSuffix(word, ":") {
			files = append(files, word)
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err := errors.Join(err, addFile(filepath.Join(folder, "root"), file, text)); err != nil {
			return err
		}
	}
	return nil
}
