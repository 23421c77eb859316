// SPDX-License-Identifier: MIT

package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// fileName is the name of the state file in the state directory.
const fileName = "staged.json"

// Load reads the records that [Save] kept in a directory. There are none where there is no file.
func Load(dir string) (all []Record, err error) {
	path := filepath.Join(dir, fileName)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return all, nil
}

// Save keeps the records in a directory, in one step and through a power cut.
func Save(dir string, all []Record) error {
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fileName)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
