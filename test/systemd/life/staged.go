// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// shims stand for ssh and scp to another host: they act on this one. HOSTS is that host.
const shims = `HOSTS=there
ssh() { test "$1" = root@there && sh -c "$2"; }
scp() { cp "$1" "${2#root@there:}"; }
`

// recipes are those of docs/STAGING.md, in a life.
type recipes struct{ *life }

// looped runs the drop-in and the loop over hosts of docs/STAGING.md, with a shorter bake.
func (l recipes) looped() error {
	s, err := l.session("looped", "/usr/local/bin/rag-rat")
	if err != nil {
		return err
	}
	const file = folder + "/stage-loop"
	loop, err := os.ReadFile(file)
	short := strings.Replace(string(loop), "--bake 10m", "--bake 1s", 1)
	err = errors.Join(err, l.dropIn("/usr/local/bin"), os.WriteFile(file+"-here", []byte(shims+short), 0o644),
		newer(folder+"/packages/rag-rat"), lines("stage-loop-here"))
	s.expected++
	return errors.Join(err, s.upgraded(), dropIn(""), s.stop(l.life))
}

// diverted runs the diversion of docs/STAGING.md with two versions of a Debian package from an archive, and then goes back. The
// drop-in is that of the document for the folder of the package.
func (l recipes) diverted() error {
	const path = "/usr/bin/rag-rat"
	_, err := run("bash", "-exc", makeArchive)
	s, failed := l.session("diverted", path)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	before, err := os.Stat(path)
	if err = errors.Join(err, l.dropIn("/usr/bin")); err != nil {
		return err
	}
	err = lines("stage-deb")
	s.expected++
	err = errors.Join(err, s.upgraded())
	if version, unread := run("dpkg-query", "--show", "--showformat=${Version}", "rag-rat"); version != "2" {
		err = errors.Join(err, unread, fmt.Errorf("version %q is installed", version))
	}
	_, back := run("ebpf-upgrader", "rollback", path)
	if now, unread := os.Stat(path); unread != nil || !os.SameFile(now, before) {
		err = errors.Join(err, unread, errors.New("the file before is not in place again"))
	}
	return errors.Join(err, back, dropIn(""), s.stop(l.life))
}

// makeArchive makes two versions of a package, installs the first, and lets apt know the second.
const makeArchive = `
mkdir -p /srv/archive
cd /srv/archive
for version in 1 2; do
	mkdir -p tree/DEBIAN tree/usr/bin
	printf 'Package: rag-rat\nVersion: %s\nArchitecture: all\nMaintainer: test <test@example.org>\nDescription: a server\n' $version >tree/DEBIAN/control
	{ cat ` + folder + `/life; echo $version; } >tree/usr/bin/rag-rat
	chmod 755 tree/usr/bin/rag-rat
	dpkg-deb --root-owner-group -Zgzip -z1 -b tree rag-rat_$version.deb
done
dpkg -i rag-rat_1.deb
{ cat tree/DEBIAN/control; echo "Filename: ./rag-rat_2.deb"; echo "Size: $(stat -c %s rag-rat_2.deb)"
  echo "SHA256: $(sha256sum rag-rat_2.deb | cut -d' ' -f1)"; } >Packages
echo "deb [trusted=yes] file:/srv/archive ./" >/etc/apt/sources.list.d/rag-rat.list
apt-get update -o Dir::Etc::sourcelist=sources.list.d/rag-rat.list -o Dir::Etc::sourceparts=-
`

// session starts a session of bob on a file of root's, which is this program where there is none.
func (l recipes) session(name, path string) (*session, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := copyFile(path, folder+"/life"); err != nil {
			return nil, err
		}
	}
	log := fmt.Sprintf("%s.%s.log", path, name)
	s := &session{unit: name, binary: path, properties: []string{"User=bob"}}
	return s, errors.Join(os.WriteFile(log, nil, 0o644), os.Chown(log, 61002, 61002), l.sessions.add(s))
}

// dropIn applies the drop-in of docs/STAGING.md, for the install in a folder.
func (l recipes) dropIn(dir string) error {
	text, err := os.ReadFile(folder + "/stage-drop-in")
	if err != nil {
		return err
	}
	options := strings.TrimPrefix(strings.ReplaceAll(string(text), "/usr/local/bin", dir), "[Service]\n")
	return errors.Join(dropIn(options), l.works())
}

// newer writes a copy of this program with more behind it.
func newer(path string) error {
	text, err := os.ReadFile(filepath.Join(folder, "life"))
	return errors.Join(err, os.WriteFile(path, append(text, "newer"...), 0o755))
}

// stop ends the session.
func (s *session) stop(l *life) error {
	delete(l.sessions, s.unit)
	_, err := run("systemctl", "stop", s.unit)
	return err
}
