// SPDX-License-Identifier: MIT

package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"ebpf-upgrader/internal/api"
	"ebpf-upgrader/internal/rollout"
)

const (
	// maxNames is how many names are looked up for one command. Users beyond are shown by their numbers.
	maxNames = 256
	// nameTimeout is how long all these lookups take at most: a directory service may not answer.
	nameTimeout = 500 * time.Millisecond
)

// userNames has the names of users, and of containers. It is not safe for concurrent use.
type userNames struct {
	known map[uint32]string
	left  time.Duration
	// lookup returns the name of a user id; tests replace it.
	lookup func(uid string) (string, error)
	// containers has the names of containers by their ids, and files is the root directory.
	containers map[string]string
	files      fs.FS
}

func newUserNames() *userNames {
	return &userNames{known: make(map[uint32]string), left: nameTimeout, containers: make(map[string]string), files: os.DirFS("/"), lookup: func(uid string) (string, error) {
		u, err := user.LookupId(uid)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	}}
}

// of returns the name of a user, or the number of one without.
func (n *userNames) of(uid uint32) string {
	name, isKnown := n.known[uid]
	if !isKnown {
		number := strconv.FormatUint(uint64(uid), 10)
		name = cmp.Or(printable(n.find(number)), number)
		n.known[uid] = name
	}
	return name
}

// inText is of for a sentence: "uid 1000" for a user without a name.
func (n *userNames) inText(uid uint32) string {
	name := n.of(uid)
	if name == strconv.FormatUint(uint64(uid), 10) {
		return "uid " + name
	}
	return name
}

// find looks a name up, as long as time is left.
func (n *userNames) find(uid string) string {
	if n.left <= 0 || len(n.known) >= maxNames {
		return ""
	}
	found := make(chan string, 1)
	go func() {
		name, _ := n.lookup(uid)
		found <- name
	}()
	began := time.Now()
	defer func() { n.left -= time.Since(began) }()
	select {
	case name := <-found:
		return name
	case <-time.After(n.left):
		return ""
	}
}

// maxListed is how many users are named in a line.
const maxListed = 3

// list names users, in the order of their ids: "ana, bob and 3 more". Only those are looked up that are named.
func (n *userNames) list(uids []uint32) string {
	uids = slices.Clone(uids)
	slices.Sort(uids)
	uids = slices.Compact(uids)
	names := make([]string, len(uids))
	for i, uid := range uids[:min(len(uids), maxListed)] {
		names[i] = n.inText(uid)
	}
	return listed(names)
}

func listed(words []string) string {
	if more := len(words) - maxListed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:maxListed], ", "), more)
	}
	return strings.Join(words, ", ")
}

// full is inText with the number: "ana (uid 1000)".
func (n *userNames) full(uid uint32) string {
	number := fmt.Sprintf("uid %d", uid)
	if name := n.inText(uid); name != number {
		return name + " (" + number + ")"
	}
	return number
}

// act says since when, by which user and why something is as it is.
func (n *userNames) act(by rollout.Act) string {
	text := sinceWhen(by.At)
	if by.PID != 0 {
		text += " by " + n.full(by.UID)
	}
	if by.Reason != "" {
		text += ": " + by.Reason
	}
	return text
}

func (n *userNames) abandonment(by rollout.Abandonment) string {
	if by.User != nil {
		return "for " + n.full(*by.User) + " " + n.act(by.Act)
	}
	return n.act(by.Act)
}

// pause describes the pause of all servers.
func (n *userNames) pause(s api.Status) string {
	by := rollout.Act{At: s.PausedSince, Reason: s.PauseReason}
	if s.PausedBy != nil {
		by.UID, by.PID = *s.PausedBy, 1
	}
	return n.act(by)
}

const (
	// maxContainerFile bounds what is read of a file of a container runtime.
	maxContainerFile = 4 << 20
	idLength, usual  = 64, 12
)

// container names a container: by the name that its runtime gave it, where this user may read that, and the beginning of its
// id. The --container flag takes the id.
func (n *userNames) container(id string) string {
	short, isShortened := shortID(id)
	if !isShortened {
		return short
	}
	name, isKnown := n.containers[id]
	if !isKnown && n.left > 0 && len(n.containers) < maxNames {
		began := time.Now()
		name = containerNameIn(n.files, id)
		n.left -= time.Since(began)
		n.containers[id] = name
	}
	if name == "" {
		return short
	}
	return cut(printable(name), widestArguments) + " (" + short + ")"
}

// shortID shortens an id as container tools do. The other names of containers are given by operators.
func shortID(id string) (short string, isShortened bool) {
	switch {
	case id == "":
		return "-", false
	case len(id) == idLength && strings.Trim(id, "0123456789abcdef") == "":
		return id[:usual], true
	}
	return cut(printable(id), widestArguments), false
}

// containerNameIn returns the name of a container from the files that Docker, Podman and CRI-O, or containerd keep in
// directories of root. No runtime is asked, and no process of the container has a say. It is empty where there is none.
func containerNameIn(files fs.FS, id string) string {
	var docker struct{ Name string }
	if readJSON(files, path.Join("var/lib/docker/containers", id, "config.v2.json"), &docker) && docker.Name != "" {
		return strings.TrimPrefix(docker.Name, "/")
	}
	var stored []struct {
		ID    string   `json:"id"`
		Names []string `json:"names"`
	}
	_ = readJSON(files, "var/lib/containers/storage/overlay-containers/containers.json", &stored)
	for _, c := range stored {
		if c.ID == id && len(c.Names) > 0 {
			return c.Names[0]
		}
	}
	bundles, _ := fs.Glob(files, path.Join("run/containerd/io.containerd.runtime.v2.task/*", id, "config.json"))
	for _, bundle := range bundles {
		var spec struct {
			Annotations map[string]string `json:"annotations"`
		}
		_ = readJSON(files, bundle, &spec)
		a := spec.Annotations
		if name := a["io.kubernetes.cri.container-name"]; name != "" {
			return a["io.kubernetes.cri.sandbox-name"] + "/" + name
		}
		if name := a["nerdctl/name"]; name != "" {
			return name
		}
	}
	return ""
}

// readJSON reports whether a file of limited size could be read and parsed.
func readJSON(files fs.FS, name string, into any) bool {
	f, err := files.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxContainerFile))
	return err == nil && json.Unmarshal(text, into) == nil
}
