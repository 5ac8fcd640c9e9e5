//go:build !linux

package pgtest

import "syscall"

// owner returns how to run the server's programs.
func owner(string) (*syscall.SysProcAttr, error) { return nil, nil }

func hold() {}
