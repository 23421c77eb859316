// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"encoding/json"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

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
