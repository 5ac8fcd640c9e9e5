package world

import (
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	for _, n := range []int{20, 100, 2400, 100000} {
		t0 := time.Now()
		w, err := New(Options{Users: n})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(n, time.Since(t0), w.Count(Users), w.Count(IdentityAccounts), w.Count(RoleAssignments))
	}
}
