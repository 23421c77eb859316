// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// kept are the figures of this run and of earlier ones: all rows take hours, and may be measured in parts.
type kept struct {
	file *os.File // nil keeps nothing
	all  []*figures
}

// openKept reads what stands in a file already.
func openKept(path string) (*kept, error) {
	if path == "" {
		return &kept{}, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	k := &kept{file: file}
	for decoder := json.NewDecoder(file); ; {
		f := &figures{}
		err := decoder.Decode(f)
		switch {
		case errors.Is(err, io.EOF):
			return k, nil
		case err != nil:
			return nil, errors.Join(fmt.Errorf("read figures in %s: %w", path, err), file.Close())
		}
		k.all = append(k.all, f)
	}
}

// of are the figures of a row with the same versions and flags of the service, nil if it is to be measured.
func (k *kept) of(like *figures) *figures {
	for _, f := range k.all {
		if f.Row == like.Row && f.From == like.From && f.To == like.To && slices.Equal(f.ServiceFlags, like.ServiceFlags) {
			return f
		}
	}
	return nil
}

func (k *kept) add(f *figures) error {
	k.all = append(k.all, f)
	if k.file == nil {
		return nil
	}
	return json.NewEncoder(k.file).Encode(f)
}
