// SPDX-License-Identifier: MIT

package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"ebpf-upgrader/internal/sys"
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
	return h.keepCounted(append(h.without(release), release))
}

// forget keeps that it is not. The caller holds mu.
func (h *Host) forget(release string) error { return h.keepCounted(h.without(release)) }

// without returns the releases that count the host, but for one.
func (h *Host) without(release string) []string {
	return slices.DeleteFunc(slices.Clone(h.config.Counted), func(r string) bool { return r == release })
}

func (h *Host) keepCounted(releases []string) error {
	releases = releases[max(0, len(releases)-maxCounted):]
	if slices.Equal(releases, h.config.Counted) {
		return nil
	}
	h.config.Counted = releases
	if h.config.Dir == "" {
		return nil
	}
	text, err := json.Marshal(releases)
	if err != nil {
		return err
	}
	return sys.WriteFile(filepath.Join(h.config.Dir, countedFile), append(text, '\n'))
}
