// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/test/testfleet"
)

// recreate installs a file that no server can exec. The file is renamed, gets the content of a good one, and is linked at the
// path again: the same inode with the same size is another program then.
func (i *install) recreate(ctx context.Context, r *rand.Rand) error {
	if err := i.replace(foreign, (*testfleet.Install).ReplaceOtherArch, i.program); err != nil {
		return err
	}
	pause(context.WithoutCancel(ctx), r, 0, 300*time.Millisecond)
	before, err := i.image()
	if err != nil {
		return err
	}
	path := i.path()
	away := path + ".away"
	if err := i.becomes(missing, func() error { return os.Rename(path, away) }); err != nil {
		return err
	}
	if err := i.view.do(func() error { return overwrite(away, i.program) }); err != nil {
		return err
	}
	if err := i.becomes(good, func() error { return os.Link(away, path) }); err != nil {
		return err
	}
	now, err := i.image()
	if err == nil && now != before {
		err = fmt.Errorf("the file at %s was %s and is %s: %w", path, before, now, unix.ESTALE)
	}
	return errors.Join(err, i.view.do(func() error { return os.Remove(away) }))
}

// overwrite gives a file the content of another one. No process may run it.
func overwrite(path, source string) error {
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o755)
}
