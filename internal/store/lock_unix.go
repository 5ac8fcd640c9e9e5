//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A fileLock says that this process owns an SQLite file. It is a file beside the
// database: closing any descriptor of the database itself would drop the locks
// that SQLite holds on it.
type fileLock struct{ f *os.File }

// lockFile takes the lock of the database at path, and returns fault.Conflict
// naming its holder when another process has it. The kernel drops the lock when
// its holder ends, however it ends.
func lockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "sqlite: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0) // who holds it is a courtesy
		err = errors.Join(err, f.Close())
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.Errorf(fault.Conflict,
				"sqlite %s is in use by another cordon process (pid %s); talk to that one with --server URL, or use postgres:// for several processes",
				path, strings.TrimSpace(string(holder[:n])))
		}
		return nil, fault.Errorf(fault.Invalid, "sqlite: lock %s.lock: %w", path, err)
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: lock %s.lock: %w", path, err), f.Close())
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: lock %s.lock: %w", path, err), f.Close())
	}
	return &fileLock{f}, nil
}

// unlock gives the lock up; the file stays, so that nobody locks a removed one.
func (l *fileLock) unlock() error {
	if l == nil {
		return nil
	}
	// A child that was forked in this moment has the file open too, until it becomes
	// another program: closing it here alone would leave it locked.
	_ = syscall.Flock(int(l.f.Fd()), syscall.LOCK_UN)
	if err := l.f.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
