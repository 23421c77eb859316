// SPDX-License-Identifier: MIT

package host

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"ebpf-upgrader/internal/fleet/etcd"
	"ebpf-upgrader/internal/fleet/kube"
	"ebpf-upgrader/internal/fleet/record"
	"ebpf-upgrader/internal/fleet/web"
)

// accountDir has what Kubernetes gives each pod.
const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount/"

// Access says how an engine is reached.
type Access struct {
	// Engine is etcd://HOST:PORT,.../PREFIX, kubernetes://NAMESPACE/NAME or kubernetes://HOST:PORT/NAMESPACE/NAME.
	Engine string
	// TokenFile is for Kubernetes, User and PasswordFile are for etcd.
	TokenFile, User, PasswordFile string
	web.Options
}

// Open returns the store that an engine is. It opens no connection.
func Open(a Access) (record.Store, error) {
	if (a.CertFile == "") != (a.KeyFile == "") {
		return nil, errors.New("--fleet-cert-file and --fleet-key-file go together")
	}
	scheme, rest, _ := strings.Cut(a.Engine, "://")
	parts := strings.Split(rest, "/")
	if slices.Contains(parts, "") {
		return nil, malformed(a.Engine)
	}
	switch {
	case scheme == "etcd" && len(parts) >= 2:
		return openEtcd(a, parts[0], strings.Join(parts[1:], "/"))
	case scheme == "kubernetes" && (len(parts) == 2 || len(parts) == 3):
		return openKube(a, parts)
	}
	return nil, malformed(a.Engine)
}

func malformed(engine string) error {
	return fmt.Errorf("%q is no engine: etcd://HOST:2379/PREFIX, kubernetes://NAMESPACE/NAME or kubernetes://HOST:6443/NAMESPACE/NAME", engine)
}

func openEtcd(a Access, hosts, prefix string) (record.Store, error) {
	if (a.User == "") != (a.PasswordFile == "") {
		return nil, errors.New("--fleet-user and --fleet-password-file go together")
	}
	if a.TokenFile != "" {
		return nil, errors.New("--fleet-token-file is for Kubernetes; etcd takes --fleet-user and --fleet-password-file")
	}
	s := &etcd.Store{Client: web.New(a.Options), Prefix: prefix, User: a.User, PasswordFile: a.PasswordFile}
	for host := range strings.SplitSeq(hosts, ",") {
		if err := checkHost(host); err != nil {
			return nil, err
		}
		s.Endpoints = append(s.Endpoints, a.scheme(host)+host)
	}
	return s, nil
}

// scheme is plain HTTP where that is allowed, and to this host where no certificate is named.
func (a Access) scheme(host string) string {
	name, _, _ := net.SplitHostPort(host)
	if a.PlainHTTP || a.CAFile == "" && a.CertFile == "" && web.IsLoopback(name) {
		return "http://"
	}
	return "https://"
}

func checkHost(host string) error {
	u, err := url.Parse("https://" + host)
	if err != nil || u.Port() == "" || u.Host != host || u.Hostname() == "" {
		return fmt.Errorf("%q is no HOST:PORT", host)
	}
	return nil
}

func openKube(a Access, parts []string) (record.Store, error) {
	if a.User != "" || a.PasswordFile != "" {
		return nil, errors.New("--fleet-user and --fleet-password-file are for etcd; Kubernetes takes --fleet-token-file")
	}
	server := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	if len(parts) == 3 {
		server, parts = parts[0], parts[1:]
	} else if server == ":" {
		return nil, errors.New("this is no pod of Kubernetes; name the server: kubernetes://HOST:6443/NAMESPACE/NAME")
	}
	if err := checkHost(server); err != nil {
		return nil, err
	}
	if a.TokenFile == "" {
		a.TokenFile = accountDir + "token"
	}
	if a.CAFile == "" {
		a.CAFile = accountDir + "ca.crt"
	}
	return &kube.Store{
		Client: web.New(a.Options), Server: "https://" + server, Namespace: parts[0], Name: parts[1], TokenFile: a.TokenFile,
	}, nil
}
