// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"path/filepath"
)

// nfsKernel is the kernel that serves NFSv4 to itself: one is enough, as all have the same rule for leases.
const nfsKernel = "6.1"

// nfsModules are the modules of an NFSv4 server and a client, each after those that it needs.
func nfsModules() []string {
	return []string{
		"net/sunrpc/sunrpc", "net/sunrpc/auth_gss/auth_rpcgss", "fs/nfs_common/grace", "fs/lockd/lockd", "fs/nfs_common/nfs_acl",
		"fs/nfsd/nfsd", "fs/netfs/netfs", "fs/fscache/fscache", "net/dns_resolver/dns_resolver", "fs/nfs/nfs", "fs/nfs/nfsv4",
	}
}

// nfsFiles returns the modules by their paths in the guest, for a kernel with its image.
func nfsFiles(k kernel, image string) (map[string]string, error) {
	files := make(map[string]string)
	if k.name != nfsKernel {
		return files, nil
	}
	root := filepath.Join(filepath.Dir(filepath.Dir(image)), "lib/modules/*/kernel")
	for i, name := range nfsModules() {
		found, err := filepath.Glob(filepath.Join(root, name+".ko"))
		if err != nil || len(found) != 1 {
			return nil, errors.Join(err, fmt.Errorf("find module %s of %s: %d files", name, k.name, len(found)))
		}
		files[fmt.Sprintf("modules/%02d.ko", i)] = found[0]
	}
	return files, nil
}

// nfsGroup has a test with the install on NFSv4 without delegations, where each lease is refused. It is no
// column of the table.
func nfsGroup() group {
	return group{title: "NFSv4", binary: "service", tests: "^TestServer_BehindScript_UpgradedOnce$/^bpf$", under: "/bin/nfs"}
}
