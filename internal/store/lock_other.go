//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package store

import (
	"runtime"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// A fileLock says that this process owns an SQLite file.
type fileLock struct{}

// lockFile refuses: without a lock that the kernel drops, two writers could
// share one file.
func lockFile(path string) (*fileLock, error) {
	return nil, fault.Errorf(fault.Invalid, "sqlite %s: not supported on %s; use postgres://", path, runtime.GOOS)
}

func (l *fileLock) unlock() error { return nil }
