// SPDX-License-Identifier: MIT

package host

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ebpf-upgrader/internal/sys"
)

const (
	idFile    = "fleet-id"
	machineID = "/etc/machine-id"
)

// ID returns the id of the host that keeps its state in dir. The first call makes dir and keeps a random number there, so that the
// id is the same after each start, and two services of one machine differ. Cloned machines have that number in common: the
// machine id, where there is one, and the name count too.
func ID(dir, name string) (string, error) {
	random, err := randomOf(dir)
	if err != nil {
		return "", err
	}
	machine, err := os.ReadFile(machineID)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // containers have none
		return "", err
	}
	return idOf(random, strings.TrimSpace(string(machine)), name), nil
}

func idOf(random, machine, name string) string {
	mac := hmac.New(sha256.New, []byte(random))
	_, _ = mac.Write([]byte(machine + "\x00" + name))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// randomOf is the number that is kept in dir.
func randomOf(dir string) (string, error) {
	path := filepath.Join(dir, idFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return keepRandom(path)
	}
	random := strings.TrimSpace(string(text))
	if err == nil && (len(random) != 2*sha256.Size || strings.Trim(random, "0123456789abcdef") != "") {
		err = fmt.Errorf("%s is damaged: remove it, and this host gets another id", path)
	}
	return random, err
}

func keepRandom(path string) (string, error) {
	number := make([]byte, sha256.Size)
	_, _ = rand.Read(number) // never fails
	random := hex.EncodeToString(number)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return random, sys.WriteFile(path, []byte(random+"\n"))
}
