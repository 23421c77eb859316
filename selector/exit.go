// SPDX-License-Identifier: MIT

package selector

// Exit is how a process ended. The zero Exit is unknown.
type Exit struct {
	// Known reports whether Status was read: the parent may reap a process before that.
	Known bool
	// Status is the wait status, as wait(2) stores it.
	Status uint32
}

// Code is the argument of exit(2). It is valid only if the process called that: a signal did not end it.
func (e Exit) Code() (code int, exited bool) {
	return int(e.Status >> 8 & 0xff), e.Known && e.Status&0x7f == 0
}

// Signal is the number of the signal that ended the process, if one did.
func (e Exit) Signal() (number int, signaled bool) {
	number = int(e.Status & 0x7f)
	return number, e.Known && number != 0
}

// IsClean reports whether the process ended with exit code 0.
func (e Exit) IsClean() bool {
	code, exited := e.Code()
	return exited && code == 0
}
