// SPDX-License-Identifier: MIT

//go:build linux

package cli

import (
	"os"

	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/fleet/host"
)

// fleetFlags say which fleet, and how its engine is reached.
type fleetFlags struct {
	host.Access
}

// addAccess adds the flags by which an engine is reached.
func (o *fleetFlags) addAccess(f *pflag.FlagSet) {
	f.StringVar(&o.Engine, "fleet", "", "the engine with the fleet's record: etcd://HOST:2379/PREFIX or kubernetes://NAMESPACE/NAME")
	f.StringVar(&o.TokenFile, "fleet-token-file", "", "the token for Kubernetes (default that of the pod)")
	f.StringVar(&o.User, "fleet-user", "", "the user of etcd")
	f.StringVar(&o.PasswordFile, "fleet-password-file", "", "the password of --fleet-user")
	f.StringVar(&o.CAFile, "fleet-ca-file", "", "the certificates that the engine is trusted by (default those of the system, or of the pod)")
	f.StringVar(&o.CertFile, "fleet-cert-file", "", "this host's certificate, for an engine that asks for one")
	f.StringVar(&o.KeyFile, "fleet-key-file", "", "the key of --fleet-cert-file")
	f.BoolVar(&o.PlainHTTP, "fleet-plain-http", false, "reach an engine on another host without TLS")
}

// record opens the record of the fleet. It opens no connection.
func (o *fleetFlags) record() (*host.Host, error) {
	if o.Engine == "" {
		return nil, usageError("--fleet: must name the engine, such as etcd://HOST:2379/PREFIX or kubernetes://NAMESPACE/NAME")
	}
	store, err := host.Open(o.Access)
	if err != nil {
		return nil, usageError("--fleet: %w", err)
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	return host.New(host.Config{Name: name}, store), nil
}
