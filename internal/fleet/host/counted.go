// SPDX-License-Identifier: MIT

package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

const (
	countedFile = "fleet-counted"
	// maxCounted is above the number of releases that a record has.
	maxCounted = 16
)

// Counted returns the releases that count this host, as it kept them in dir, the latest last. The record names the hosts
// of all waves but the last; of those the host itself knows, so that a release that comes back does not count it twice.
func Counted(dir string) (releases []string, err error) {
	path := filepath.Join(dir, countedFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &releases)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: remove it: %w", path, err)
	}
	return releases, nil
}

// remember keeps that the host is in the count of a release. The caller holds mu.
func (h *Host) remember(release string) error {
	if slices.Contains(h.config.Counted, release) {
		return nil
	}
	kept := append(slices.Clone(h.config.Counted), release)
	return h.keepCounted(kept[max(0, len(kept)-maxCounted):])
}

// forget keeps that it is not any more. The caller holds mu.
func (h *Host) forget(release string) error {
	i := slices.Index(h.config.Counted, release)
	if i < 0 {
		return nil
	}
	return h.keepCounted(slices.Delete(slices.Clone(h.config.Counted), i, i+1))
}

func (h *Host) keepCounted(releases []string) error {
	h.config.Counted = releases
	if h.config.Dir == "" {
		return nil
	}
	text, err := json.Marshal(h.config.Counted)
	if err != nil {
		return err
	}
	return keep(filepath.Join(h.config.Dir, countedFile), string(text))
}
