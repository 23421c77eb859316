// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

func TestWatch_RenameOverFile_IsReported(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watchFile(t, path, eventsOnly())
	awaitReady(t, w, imageOf(t, path))
	for range 3 {
		awaitReady(t, w, replace(t, path, static().bytes()))
	}
	must(t, os.Remove(path))
	awaitState(t, w, selector.StateMissing, "no such file or directory")
	awaitReady(t, w, replace(t, path, static().bytes()))
}

func TestWatch_HardLinkSwap_IsReported(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	w := watchFile(t, path, eventsOnly())
	awaitReady(t, w, imageOf(t, path))
	v2 := put(t, filepath.Join(root, "v2"), static().bytes())
	must(t, os.Link(v2, path+".next"))
	must(t, os.Rename(path+".next", path))
	awaitReady(t, w, imageOf(t, v2))
}

func TestWatch_DirectoryMadeAgain_IsReported(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	w := watchFile(t, path, eventsOnly())
	awaitReady(t, w, imageOf(t, path))
	for _, gone := range []string{filepath.Dir(path), filepath.Join(root, "opt")} {
		must(t, os.RemoveAll(gone))
		awaitState(t, w, selector.StateMissing, "")
		mkdir(t, filepath.Dir(path))
		awaitReady(t, w, replace(t, path, static().bytes()))
	}
}

// A directory that is in use makes no event when it is removed.
func TestWatch_DirectoryInUseRemoved_IsReported(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watchFile(t, path, eventsOnly())
	awaitReady(t, w, imageOf(t, path))
	dir, err := os.Open(filepath.Dir(path))
	must(t, err)
	defer func() { _ = dir.Close() }()
	must(t, os.Remove(path))
	awaitState(t, w, selector.StateMissing, "")
	must(t, os.Remove(filepath.Dir(path)))
	mkdir(t, filepath.Dir(path))
	awaitReady(t, w, replace(t, path, static().bytes()))
}

func TestWatch_ParentRenamedAndBack_IsReported(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	opt := filepath.Join(root, "opt")
	w := watchFile(t, path, eventsOnly())
	first := imageOf(t, path)
	awaitReady(t, w, first)
	must(t, os.Rename(opt, opt+".away"))
	awaitState(t, w, selector.StateMissing, "")
	must(t, os.Rename(opt+".away", opt))
	awaitReady(t, w, first)
	awaitReady(t, w, replace(t, path, static().bytes()))
}

// The links are prog -> current/bin/prog and current -> v1, then v2.
func TestWatch_MiddleLinkSwapped_IsReported(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]func(dir, version string) string{
		"relative": func(_, version string) string { return "../" + version },
		"absolute": func(dir, version string) string { return filepath.Join(dir, version) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			mkdir(t, dir, "links")
			v1 := put(t, filepath.Join(mkdir(t, dir, "v1", "bin"), "prog"), static().bytes())
			v2 := put(t, filepath.Join(mkdir(t, dir, "v2", "bin"), "prog"), static().bytes())
			current, path := filepath.Join(dir, "links", "current"), filepath.Join(dir, "prog")
			must(t, os.Symlink(target(dir, "v1"), current))
			must(t, os.Symlink("links/current/bin/prog", path))
			w := watchFile(t, path, eventsOnly())
			awaitReady(t, w, imageOf(t, v1))
			must(t, os.Symlink(target(dir, "v2"), current+".next"))
			must(t, os.Rename(current+".next", current))
			awaitReady(t, w, imageOf(t, v2))
			awaitReady(t, w, replace(t, v2, static().bytes()))
			must(t, os.Remove(path))
			awaitState(t, w, selector.StateMissing, "")
			must(t, os.Symlink(v1, path))
			awaitReady(t, w, imageOf(t, v1))
		})
	}
}

func TestReport_ManyInstalls_IsTheLast(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watchFile(t, path, eventsOnly())
	var last selector.Image
	for range 20 {
		last = replace(t, path, static().bytes())
	}
	awaitReady(t, w, last)
}

func TestWatch_ExchangedNames_AreReported(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	other := put(t, path+".other", static().bytes())
	w := watchFile(t, path, eventsOnly())
	for range 11 {
		must(t, unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE))
	}
	awaitReady(t, w, imageOf(t, path))
	must(t, unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE))
	awaitReady(t, w, imageOf(t, path))
}

func TestWatch_UnreadyFileChanges_IsReported(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, "prog")
	w := watchFile(t, path, eventsOnly())
	awaitState(t, w, selector.StateMissing, "")
	ready := func() {
		t.Helper()
		awaitReady(t, w, replace(t, path, static().bytes()))
	}
	putMode(t, path, static().bytes(), 0o644)
	awaitState(t, w, selector.StateUnready, "is not executable")
	must(t, os.Chmod(path, 0o755))
	awaitReady(t, w, imageOf(t, path))
	for detail, content := range map[string]string{
		"is empty":                        "",
		errNoFormat.Error():               "hello",
		"the script names no interpreter": "#!\n",
		`interpreter "/nowhere": no such file or directory`: "#!/nowhere\n",
	} {
		replace(t, path, []byte(content))
		awaitState(t, w, selector.StateUnready, detail)
		ready()
	}
	must(t, os.Remove(path))
	must(t, unix.Mkfifo(path, 0o755))
	awaitState(t, w, selector.StateUnready, "is not a regular file")
	ready()
	must(t, os.Remove(path))
	must(t, os.Symlink("prog", path))
	awaitState(t, w, selector.StateUnready, "too many levels of symbolic links")
	ready()
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o755))
	awaitState(t, w, selector.StateUnready, "is a directory")
	must(t, os.Remove(path))
	ready()
}

func TestWatch_UnreadyFile_IsRetried(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	w := watchFile(t, path, intervals{resync: never, retry: shortSettle})
	interpreter := filepath.Join(root, "interpreter")
	image := replace(t, path, []byte("#!"+interpreter+"\n"))
	awaitState(t, w, selector.StateUnready, `interpreter "`+interpreter+`": no such file or directory`)
	put(t, interpreter, static().bytes())
	awaitReady(t, w, image)
}

func TestResync_ChangeWithoutEvent_IsReported(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	interpreter := put(t, filepath.Join(root, "interpreter"), static().bytes())
	replace(t, path, []byte("#!"+interpreter+"\n"))
	w := watchFile(t, path, intervals{resync: shortSettle, retry: never})
	awaitReady(t, w, imageOf(t, path))
	must(t, os.Remove(interpreter))
	awaitState(t, w, selector.StateUnready, `interpreter "`+interpreter+`": no such file or directory`)
}

// The paths have ".." behind a link, are relative, or have superfluous components.
func TestPath_UnusualForm_IsResolvedAsByTheKernel(t *testing.T) {
	root, path := installed(t)
	t.Chdir(root)
	mkdir(t, root, "elsewhere")
	must(t, os.Symlink("../opt/bin", "elsewhere/link"))
	for _, name := range []string{"opt/bin/prog", "./opt//bin/./prog", "elsewhere/link/../bin/prog", root + "/elsewhere/link/prog"} {
		w := watchFile(t, name, eventsOnly())
		awaitReady(t, w, imageOf(t, path))
		awaitReady(t, w, replace(t, path, static().bytes()))
	}
}
