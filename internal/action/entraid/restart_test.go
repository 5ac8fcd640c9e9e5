package entraid_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/dispatch/dispatchtest"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/store"
)

// Whatever can be undone is undone by another process than did it, from the store,
// and the directory holds what it held: after a success, and after a process that
// ended while it did not know what became of its requests, half of which may be done.
func TestUndoByAnotherProcess(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		faults []string
		ends   []action.State
	}{
		"proven": {nil, []action.State{action.Verified}},
		"half":   {[]string{"503,rate=50%@PATCH /", "503,rate=50%@POST /", "503,rate=50%@DELETE /"}, []action.State{action.Running, action.AcceptedState, action.Verified}},
		"cut":    {[]string{"reset-after@PATCH /", "reset-after@POST /", "reset-after@DELETE /"}, []action.State{action.Running, action.AcceptedState, action.Verified}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "cordon.db")
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, everything())
				types := byName(nil)
				var list []dispatchtest.Reversal
				for _, n := range slices.Sorted(func(yield func(action.Name) bool) {
					for n := range types {
						if types[n].Spec().Undo != "" && !yield(n) {
							return
						}
					}
				}) {
					b := l.bench(n)
					who := b.Fresh()
					list = append(list, dispatchtest.Reversal{Name: n, Account: who, Params: b.Params, State: func() any { return b.State(who) }})
				}
				if len(list) < 15 {
					t.Fatalf("%d actions can be undone", len(list))
				}
				started := 0
				start := func() dispatchtest.Process {
					l.faults() // of signing in
					client, err := graph.New(graph.Options{BaseURL: "https://graph.microsoft.com", Tokens: l.signIn(), Transport: l.tenant.Transport()})
					if err != nil {
						t.Fatal(err)
					}
					db, err := store.Open(context.Background(), "sqlite:"+path, store.Options{})
					if err != nil {
						t.Fatal(err)
					}
					if started++; started == 1 {
						l.faults(c.faults...)
					}
					return dispatchtest.Process{Runs: db.Runs(), Dispatch: db.Dispatch(), Types: entraid.Types(client), Close: func() {
						if err := db.Close(); err != nil {
							t.Error(err)
						}
					}}
				}
				dispatchtest.Reverts(t, list, start, time.Hour, c.ends...)
			})
		})
	}
}
