// SPDX-License-Identifier: MIT

// Package published builds published versions of rag-rat from their crates, once each, into a cache folder.
package published

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// Cache is a folder with one folder for each version, in the layout of cargo install: VERSION/bin/rag-rat.
// Several processes may use one folder at a time.
type Cache struct {
	Dir string
	// Log gets the output of cargo and of the C compiler.
	Log io.Writer
	// ReadOnly prevents builds.
	ReadOnly bool
}

// NewCache returns a read-only cache in dir; if dir is empty, the default cache, which builds what is missing.
func NewCache(dir string, log io.Writer) (Cache, error) {
	if dir != "" {
		return Cache{Dir: dir, Log: log, ReadOnly: true}, nil
	}
	dir, err := defaultDir()
	return Cache{Dir: dir, Log: log}, err
}

// defaultDir returns $EBPF_UPGRADER_CACHE/rag-rat, else ebpf-upgrader/rag-rat in the user's cache.
func defaultDir() (string, error) {
	dir := os.Getenv("EBPF_UPGRADER_CACHE")
	if dir == "" {
		caches, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find a folder for the builds: %w: set EBPF_UPGRADER_CACHE", err)
		}
		dir = filepath.Join(caches, "ebpf-upgrader")
	}
	return filepath.Abs(filepath.Join(dir, "rag-rat"))
}

var (
	// ErrNotBuilt means that a version is not in the cache.
	ErrNotBuilt = errors.New("not built")
	// ErrNoCargo means that a version cannot be built.
	ErrNoCargo = errors.New("cargo is missing: install Rust, or give a folder with binaries (-dir)")
)

var wellFormed = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)

// built returns the path of a version that has been built, else ErrNotBuilt.
func (c Cache) built(version string) (string, error) {
	if !wellFormed.MatchString(version) {
		return "", fmt.Errorf("version %q: want three numbers, as in 0.24.1", version)
	}
	path := filepath.Join(c.Dir, version, "bin", "rag-rat")
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("rag-rat %s: %w in %s", version, ErrNotBuilt, c.Dir)
	}
	return path, err
}

// Path returns the path of a version. It builds a missing one, or waits for another process that builds it.
func (c Cache) Path(ctx context.Context, version string) (string, error) {
	path, err := c.built(version)
	if c.ReadOnly || !errors.Is(err, ErrNotBuilt) {
		return path, err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := c.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, err := c.built(version); err == nil { // built by the process that held the lock
		return path, nil
	}
	if err := c.build(ctx, version); err != nil {
		return "", fmt.Errorf("build rag-rat %s: %w", version, err)
	}
	return c.built(version)
}

// lock waits until no other process builds. Two builds at the same time would only compete for the processors.
func (c Cache) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// build puts a complete version into the cache, or none.
func (c Cache) build(ctx context.Context, version string) error {
	cargo, err := exec.LookPath("cargo")
	if err != nil {
		return ErrNoCargo
	}
	fresh, err := os.MkdirTemp(c.Dir, "building-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(fresh) }()
	sqlite, err := c.sqlite(ctx, cargo, fresh)
	if err != nil {
		return fmt.Errorf("libsqlite3: %w", err)
	}
	target := filepath.Join(fresh, "target")
	root := filepath.Join(fresh, "root")
	// 0.24.1 declares a newer Rust than it needs. The default features download models.
	cmd := exec.CommandContext(ctx, cargo, "install", "rag-rat", "--version", version, "--no-default-features",
		"--locked", "--debug", "--ignore-rust-version", "--no-track", "--root", root)
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+target,
		// Writing debug information takes longer than writing the code.
		"CARGO_PROFILE_DEV_DEBUG=0", "CARGO_PROFILE_DEV_STRIP=symbols", "CARGO_INCREMENTAL=0",
		// The last one keeps pkg-config from finding the library of the system, which may be too old.
		"SQLITE3_LIB_DIR="+sqlite, "SQLITE3_STATIC=1", "SQLITE3_NO_PKG_CONFIG=1")
	cmd.Dir = fresh // the .cargo/config.toml of the checkout must not apply
	if err := c.run(cmd); err != nil {
		return err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	return os.Rename(root, filepath.Join(c.Dir, version))
}

func (c Cache) run(cmd *exec.Cmd) error {
	log := cmp.Or[io.Writer](c.Log, io.Discard)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(cmd.Path), cmd.Args[1], err)
	}
	return nil
}
