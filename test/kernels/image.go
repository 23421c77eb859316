// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
)

// printImage fetches one kernel for a test that boots it with a system of its own. The modules are in the tree of the
// package that the image is in.
func (o options) printImage(ctx context.Context, all []kernel) error {
	chosen, err := choose(all, o.image)
	if err != nil {
		return err
	}
	none := func(context.Context, string) (map[string]string, error) { return nil, nil }
	m, err := newMachine(ctx, o.cache, chosen, none)
	if err != nil {
		return err
	}
	defer m.close()
	for _, k := range chosen {
		fmt.Println(m.images[k.name])
	}
	fmt.Println(m.tools["busybox"])
	return nil
}
