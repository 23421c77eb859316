// SPDX-License-Identifier: MIT

package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ebpf-upgrader/internal/sys"
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
	return sys.WriteFile(filepath.Join(dir, fileName), append(text, '\n'))
}
