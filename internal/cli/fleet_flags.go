// SPDX-License-Identifier: MIT

package cli

import (
	"cmp"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/pflag"

	"ebpf-upgrader/internal/fleet/host"
)

// fleetFlags say which fleet, how its engine is reached, and which host this is.
type fleetFlags struct {
	host.Access
	name, ring string
	openAfter  time.Duration
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

// addHost adds the flags of a host of a fleet.
func (o *fleetFlags) addHost(f *pflag.FlagSet) {
	o.addAccess(f)
	f.Lookup("fleet").Usage = "the fleet that decides when staged files are put in place: etcd://HOST:2379/PREFIX or kubernetes://NAMESPACE/NAME"
	f.StringVar(&o.name, "fleet-name", "", "what other hosts call this one (default the name of the host)")
	f.StringVar(&o.ring, "fleet-ring", "", "the label by which a wave may be kept for some hosts")
	f.DurationVar(&o.openAfter, "fleet-open-after", 0, "put staged files in place without the fleet when its engine was out of reach for as long; 0: never")
}

const maxFleetWord = 64

// check rejects what a host of a fleet cannot have. It opens no connection.
func (o *fleetFlags) check(flags *pflag.FlagSet) error {
	if o.Engine == "" {
		var err error
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Changed && f.Value.String() != f.DefValue && strings.HasPrefix(f.Name, "fleet-") {
				err = usageError("--%s needs --fleet", f.Name)
			}
		})
		return err
	}
	if o.openAfter < 0 {
		return usageError("--fleet-open-after %s: %s", o.openAfter, notNegative)
	}
	for flag, word := range map[string]string{"fleet-name": o.name, "fleet-ring": o.ring} {
		if len(word) > maxFleetWord || strings.ContainsFunc(word, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return usageError("--%s %q: must have at most %d bytes, without control characters", flag, word, maxFleetWord)
		}
	}
	_, err := o.record()
	return err
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
	return host.New(host.Config{}, store), nil
}

// hostName is what other hosts call this one.
func (o *fleetFlags) hostName() (string, error) {
	name, err := os.Hostname()
	return cmp.Or(o.name, name), err
}
