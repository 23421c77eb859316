// SPDX-License-Identifier: MIT

package published

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// sqliteCrate depends on the crate that has the source of SQLite in one file. rag-rat 0.3.2 links libsqlite3 3.44 or newer,
// and Debian 12 has 3.40. Versions with a library of their own ignore it.
const sqliteCrate = `[package]
name = "source-of-sqlite"
version = "0.0.0"
edition = "2021"

[lib]
path = "lib.rs"

[dependencies]
libsqlite3-sys = "=0.38.2"
`

// sqliteFlags returns the flags with which the crate itself builds the file (its build.rs).
func sqliteFlags() []string {
	return []string{
		"-O1", "-DSQLITE_CORE", "-DSQLITE_DEFAULT_FOREIGN_KEYS=1", "-DSQLITE_ENABLE_API_ARMOR",
		"-DSQLITE_ENABLE_COLUMN_METADATA", "-DSQLITE_ENABLE_DBSTAT_VTAB", "-DSQLITE_ENABLE_FTS3",
		"-DSQLITE_ENABLE_FTS3_PARENTHESIS", "-DSQLITE_ENABLE_FTS5", "-DSQLITE_ENABLE_JSON1",
		"-DSQLITE_ENABLE_LOAD_EXTENSION=1", "-DSQLITE_ENABLE_MEMORY_MANAGEMENT", "-DSQLITE_ENABLE_RTREE",
		"-DSQLITE_ENABLE_STAT4", "-DSQLITE_SOUNDEX", "-DSQLITE_THREADSAFE=1", "-DSQLITE_USE_URI",
		"-DHAVE_USLEEP=1", "-DHAVE_ISNAN", "-DHAVE_LOCALTIME_R",
	}
}

// sqlite builds libsqlite3.a below the folder work and returns its folder. The library is linked statically, so that the
// servers run on any machine.
func (c Cache) sqlite(ctx context.Context, cargo, work string) (string, error) {
	dir := filepath.Join(work, "sqlite")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, text := range map[string]string{"Cargo.toml": sqliteCrate, "lib.rs": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	source, err := c.sqliteSource(ctx, cargo, dir)
	if err != nil {
		return "", err
	}
	object := filepath.Join(dir, "sqlite3.o")
	compile := exec.CommandContext(ctx, "gcc", append([]string{"-c", "-fPIC", "-w", "-o", object}, append(sqliteFlags(), source)...)...)
	if err := c.run(compile); err != nil {
		return "", err
	}
	return dir, c.run(exec.CommandContext(ctx, "ar", "rcs", filepath.Join(dir, "libsqlite3.a"), object))
}

// sqliteSource makes cargo fetch the crate, and returns the path of the file in it.
func (c Cache) sqliteSource(ctx context.Context, cargo, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, cargo, "metadata", "--format-version", "1", "--manifest-path", filepath.Join(dir, "Cargo.toml"))
	cmd.Stderr = c.Log
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("cargo metadata: %w", err)
	}
	var found struct {
		Packages []struct {
			Name string `json:"name"`
			Path string `json:"manifest_path"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return "", fmt.Errorf("read the output of cargo metadata: %w", err)
	}
	for _, p := range found.Packages {
		if p.Name == "libsqlite3-sys" {
			return filepath.Join(filepath.Dir(p.Path), "sqlite3", "sqlite3.c"), nil
		}
	}
	return "", fmt.Errorf("cargo metadata names no libsqlite3-sys")
}
