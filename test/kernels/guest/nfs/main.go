// SPDX-License-Identifier: MIT

//go:build linux

// Command nfs starts an NFSv4 server of the kernel in the guest, without delegations, mounts it, and replaces itself by the
// program of its arguments. The temporary folder of that program is on the mount.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	exported = "/export"
	mounted  = "/nfs"
	control  = "/proc/fs/nfsd"
	caches   = "/proc/net/rpc"
)

func main() {
	var err error
	var found unix.Statfs_t
	if _ = unix.Statfs(mounted, &found); found.Type != unix.NFS_SUPER_MAGIC { // otherwise an earlier try has mounted it
		err = errors.Join(loadModules(), loopback(), serve(), mount())
	}
	if err == nil {
		err = wantNoLease()
	}
	if err == nil {
		_ = os.Setenv("TMPDIR", mounted) // an earlier entry of the environment would hide an added one
		err = unix.Exec(os.Args[1], os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "nfs:", err)
	os.Exit(1)
}

// loadModules loads the files of a folder in the order of their names.
func loadModules() error {
	paths, err := filepath.Glob("/modules/*.ko")
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no modules: %w", err)
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		_ = f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) { // an earlier try has loaded it
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

// loopback turns the network interface lo on.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

// serve exports a folder to this machine. The kernel asks its caches about a client and a path; without rpc.mountd
// nothing fills them later, so the answers are written before the first question. nfsd gives out no delegation where the
// exported file system gives it no lease.
func serve() error {
	if err := errors.Join(os.MkdirAll(exported, 0o755), os.MkdirAll("/var/lib/nfs/v4recovery", 0o755)); err != nil {
		return err
	}
	for _, m := range []struct{ kind, at string }{{"tmpfs", exported}, {"nfsd", control}} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.kind, err)
		}
	}
	const (
		never   = 4_000_000_000        // the end of the answers' time, in seconds since 1970
		options = 0x2000 | 0x400 | 0x2 // NFSEXP_FSID, NFSEXP_NOSUBTREECHECK, NFSEXP_INSECURE_PORT of linux/nfsd/export.h; root stays root
		root    = 0                    // NFSv4 begins at the export with this number
	)
	for _, w := range []struct{ path, text string }{
		{"/proc/sys/fs/leases-enable", "0"},
		{caches + "/auth.unix.ip/channel", fmt.Sprintf("nfsd 127.0.0.1 %d all\n", never)},
		{caches + "/nfsd.export/channel", fmt.Sprintf("all %s %d %d 65534 65534 %d\n", exported, never, options, root)},
		{caches + "/nfsd.fh/channel", fmt.Sprintf("all 1 \\x00000000 %d %s\n", never, exported)},
		{control + "/versions", "-2 -3 +4 +4.1 +4.2\n"},
		{control + "/portlist", "tcp 2049"},
		{control + "/threads", "4"},
		{control + "/v4_end_grace", "Y"},
	} {
		if err := os.WriteFile(w.path, []byte(w.text), 0o600); err != nil {
			return fmt.Errorf("write %q: %w", w.text, err)
		}
	}
	return nil
}

func mount() error {
	if err := os.MkdirAll(mounted, 0o755); err != nil {
		return err
	}
	var err error
	for range 10 {
		err = unix.Mount("127.0.0.1:/", mounted, "nfs4", 0, "vers=4.1,addr=127.0.0.1,clientaddr=127.0.0.1,sec=sys,hard")
		if err == nil {
			return os.Chmod(mounted, 0o1777)
		}
		time.Sleep(time.Second)
	}
	return fmt.Errorf("mount NFS: %w", err)
}

// wantNoLease fails if a read lease on a file without a writer is not refused as for one with a writer.
func wantNoLease() error {
	path := filepath.Join(mounted, "file")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); !errors.Is(err, unix.EAGAIN) {
		return errors.Join(err, fmt.Errorf("a lease on %s is not refused as on a file with a writer: the test proves nothing", path))
	}
	return os.Remove(path)
}
