package pgtest

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// owner returns how to run the server's programs and gives them the folder:
// PostgreSQL refuses to run as root, so root runs it as the user postgres. The
// server ends with the thread that starts it, so that a test binary that is
// killed leaves nothing behind.
func owner(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT, Setpgid: true}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	uid, gid, err := lookup()
	if err != nil {
		return nil, fmt.Errorf("as root the server runs as the user postgres: %w", err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, uid, gid)
}

// hold keeps the goroutine on its thread.
func hold() { runtime.LockOSThread() }
