package activedirectory_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/dispatch/dispatchtest"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// Whatever can be undone is undone by another process than did it, over connections
// of its own, and the domain holds what it held.
func TestUndoByAnotherProcess(t *testing.T) {
	t.Parallel()
	b := open(t)
	path := filepath.Join(t.TempDir(), "cordon.db")
	var list []dispatchtest.Reversal
	for _, c := range conformances() {
		if c.undo == "" {
			continue
		}
		bench := b.bench(t, c, "undo")
		who := bench.Fresh()
		list = append(list, dispatchtest.Reversal{Name: c.name, Account: who, Params: bench.Params, State: func() any { return bench.State(who) }})
	}
	dispatchtest.Reverts(t, list, func() dispatchtest.Process {
		db, err := store.Open(context.Background(), "sqlite:"+path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return dispatchtest.Process{
			Runs: db.Runs(), Dispatch: db.Dispatch(), Types: activedirectory.Types(open(t).client, nil),
			Options: dispatch.Options{RequestTimeout: patience, LeaseTTL: 2 * patience},
			Close: func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			},
		}
	}, 2*time.Minute, action.Verified)
}
