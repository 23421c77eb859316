// SPDX-License-Identifier: MIT

package sys

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile makes content the content of the file at path, in one step and through a power cut. Its mode is 0600. After an error the
// file before is at path, or the whole new one. WriteFile waits for the disk.
func WriteFile(path string, content []byte) error {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		_ = os.Remove(next)
		return err
	}
	return SyncFolder(path)
}

// SyncFolder puts the folder of a path on the disk: without that, a power cut can undo a rename or a removal in it.
func SyncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
