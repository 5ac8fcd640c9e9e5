//go:build !linux

package addc

import (
	"context"
	"fmt"
	"os/exec"
)

type spaces struct{}

func able() error {
	return fmt.Errorf("addc: %w: it takes Linux, for namespaces", ErrAbsent)
}

func (d *Domain) network(context.Context, int) error { return able() }

// Close does nothing: no domain was started.
func (d *Domain) Close() error { return nil }

func (d *Domain) share(bool) (func(), error) { return nil, able() }

func (d *Domain) in(context.Context, int, string, ...string) (string, error) { return "", able() }

func (d *Domain) command(ctx context.Context, _ int, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, name, args...)
}
