// SPDX-License-Identifier: MIT

//go:build linux

package install

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ebpf-upgrader/selector"
)

const (
	shortSettle = 20 * time.Millisecond
	patience    = 10 * time.Second
)

// eventsOnly never looks by itself, so that whatever is told was told because of an event.
func eventsOnly() intervals { return intervals{resync: never, retry: never} }

// watched is a Watcher of which the latest that it told can be taken.
type watched struct {
	*Watcher
	said chan selector.Install
}

func watching(t *testing.T, path string, p intervals) *watched {
	t.Helper()
	return watchingWay(t, shortSettle, p, RootedPath{Path: path})
}

func watchingWay(t *testing.T, settle time.Duration, p intervals, path RootedPath) *watched {
	t.Helper()
	w := unwatched(t, settle, p, path)
	go w.run()
	return w
}

// unwatched has not begun.
func unwatched(t *testing.T, settle time.Duration, p intervals, path RootedPath) *watched {
	t.Helper()
	h := newHub(settle, p)
	t.Cleanup(h.Close)
	w := &watched{said: make(chan selector.Install, 1)}
	w.Watcher = h.newWatcher(path, w.put)
	return w
}

// now does what the Watcher's goroutine does when a file is to be looked at.
func (w *watched) now(inspect func()) { w.withRoot(func(time.Time) { inspect() }) }

// put has one goroutine that calls it, so that the last line never waits.
func (w *watched) put(i selector.Install) {
	select {
	case <-w.said:
	default:
	}
	w.said <- i
}

// await takes what w tells until it is what is wanted.
func await(t *testing.T, w *watched, what string, wanted func(selector.Install) bool) selector.Install {
	t.Helper()
	timeout := time.After(patience)
	var last selector.Install
	for {
		select {
		case i := <-w.said:
			if last = i; wanted(i) {
				return i
			}
		case <-timeout:
			t.Fatalf("%s was not told; the last told was %+v; %+v", what, last, w.hub.Stats())
		}
	}
}

func awaitReady(t *testing.T, w *watched, image selector.Image) {
	t.Helper()
	await(t, w, "ready "+image.String(), func(i selector.Install) bool {
		return i.State == selector.StateReady && i.Image == image
	})
}

func awaitState(t *testing.T, w *watched, state selector.State, detail string) {
	t.Helper()
	await(t, w, string(state)+": "+detail, func(i selector.Install) bool {
		return i.State == state && (detail == "" || i.Detail == detail)
	})
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); !done(); {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("it did not come to pass that %s", what)
		}
	}
}

// installed makes an install in a directory of its own, two below the one that is given back.
func installed(t *testing.T) (root, path string) {
	t.Helper()
	root = t.TempDir()
	return root, put(t, filepath.Join(mkdir(t, root, "opt", "bin"), "prog"), static().bytes())
}

func TestARenameOverTheFileIsTold(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watching(t, path, eventsOnly())
	awaitReady(t, w, imageOf(t, path))
	for range 3 {
		awaitReady(t, w, replace(t, path, static().bytes()))
	}
	must(t, os.Remove(path))
	awaitState(t, w, selector.StateMissing, "no such file or directory")
	awaitReady(t, w, replace(t, path, static().bytes()))
}

func TestAHardLinkSwapIsTold(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	w := watching(t, path, eventsOnly())
	awaitReady(t, w, imageOf(t, path))
	v2 := put(t, filepath.Join(root, "v2"), static().bytes())
	must(t, os.Link(v2, path+".next"))
	must(t, os.Rename(path+".next", path))
	awaitReady(t, w, imageOf(t, v2))
}

func TestTheDirectoryMayBeRemovedAndMadeAgain(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	w := watching(t, path, eventsOnly())
	awaitReady(t, w, imageOf(t, path))
	for _, gone := range []string{filepath.Dir(path), filepath.Join(root, "opt")} {
		must(t, os.RemoveAll(gone))
		awaitState(t, w, selector.StateMissing, "")
		mkdir(t, filepath.Dir(path))
		awaitReady(t, w, replace(t, path, static().bytes()))
	}
}

// TestTheDirectoryMayBeRemovedWhileSomebodyStandsInIt: it gets no event then.
func TestTheDirectoryMayBeRemovedWhileSomebodyStandsInIt(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watching(t, path, eventsOnly())
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

func TestAParentMayBeRenamedAwayAndBack(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	opt := filepath.Join(root, "opt")
	w := watching(t, path, eventsOnly())
	first := imageOf(t, path)
	awaitReady(t, w, first)
	must(t, os.Rename(opt, opt+".away"))
	awaitState(t, w, selector.StateMissing, "")
	must(t, os.Rename(opt+".away", opt))
	awaitReady(t, w, first)
	awaitReady(t, w, replace(t, path, static().bytes()))
}

// TestTheMiddleOfAChainOfLinksMayBeSwapped: prog -> current/bin/prog, current -> v1, then v2.
func TestTheMiddleOfAChainOfLinksMayBeSwapped(t *testing.T) {
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
			w := watching(t, path, eventsOnly())
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

func TestOfManyInstallsTheLastIsTold(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	w := watching(t, path, eventsOnly())
	var last selector.Image
	for range 20 {
		last = replace(t, path, static().bytes())
	}
	awaitReady(t, w, last)
}

func TestTwoFilesMaySwapNamesBackAndForth(t *testing.T) {
	t.Parallel()
	_, path := installed(t)
	other := put(t, path+".other", static().bytes())
	w := watching(t, path, eventsOnly())
	for range 11 {
		must(t, unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE))
	}
	awaitReady(t, w, imageOf(t, path))
	must(t, unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE))
	awaitReady(t, w, imageOf(t, path))
}

func TestAnUnreadyFileIsLookedAtAgainWhenItChanges(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, "prog")
	w := watching(t, path, eventsOnly())
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
		"is empty":                                          "",
		"is neither an ELF nor a script":                    "hello",
		"the script names no interpreter":                   "#!\n",
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

func TestAnUnreadyFileIsLookedAtAgainBecauseOfOthers(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	w := watching(t, path, intervals{resync: never, retry: shortSettle})
	interpreter := filepath.Join(root, "interpreter")
	image := replace(t, path, []byte("#!"+interpreter+"\n"))
	awaitState(t, w, selector.StateUnready, `interpreter "`+interpreter+`": no such file or directory`)
	put(t, interpreter, static().bytes())
	awaitReady(t, w, image)
}

func TestWhatMakesNoEventIsSeenByTheRegularLook(t *testing.T) {
	t.Parallel()
	root, path := installed(t)
	interpreter := put(t, filepath.Join(root, "interpreter"), static().bytes())
	replace(t, path, []byte("#!"+interpreter+"\n"))
	w := watching(t, path, intervals{resync: shortSettle, retry: never})
	awaitReady(t, w, imageOf(t, path))
	must(t, os.Remove(interpreter))
	awaitState(t, w, selector.StateUnready, `interpreter "`+interpreter+`": no such file or directory`)
}

// TestAPathIsTakenAsTheKernelTakesIt has ".." behind a link, a relative path and superfluous parts.
func TestAPathIsTakenAsTheKernelTakesIt(t *testing.T) {
	root, path := installed(t)
	t.Chdir(root)
	mkdir(t, root, "elsewhere")
	must(t, os.Symlink("../opt/bin", "elsewhere/link"))
	for _, name := range []string{"opt/bin/prog", "./opt//bin/./prog", "elsewhere/link/../bin/prog", root + "/elsewhere/link/prog"} {
		w := watching(t, name, eventsOnly())
		awaitReady(t, w, imageOf(t, path))
		awaitReady(t, w, replace(t, path, static().bytes()))
	}
}
