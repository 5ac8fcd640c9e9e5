package dispatch_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-f47efad2/cordon/internal/action"
)

// A secret that the directory itself made and told once rests as ciphertext from
// the moment its outcome is written, and is in no line of the trail.
func TestWhatTheDirectoryMadeIsKeptSealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.dir.sealed = []byte("ciphertext-of-a-pass")
		a := h.ask(person(1), enable)
		lost := h.ask(person(2), enable)
		h.dir.mishap = func(w write) mishap {
			if w.action == lost.ID {
				return resetAfter
			}
			return fine
		}
		for _, i := range []int{1, 2} {
			h.dir.change(write{account: fmt.Sprintf("user-%04d", i)}, func(v *version) { v.Disabled = true })
		}
		h.start()
		a, lost = h.settle(a, action.Verified), h.settle(lost, action.Verified)
		if string(a.Sealed) != "ciphertext-of-a-pass" {
			t.Errorf("kept %q", a.Sealed)
		}
		if len(lost.Sealed) != 0 {
			t.Errorf("nobody heard it, and %q is kept", lost.Sealed)
		}
		for _, e := range h.store.Trail() {
			if text := fmt.Sprintf("%+v", e); strings.Contains(text, "ciphertext") {
				t.Errorf("the trail shows it: %s", text)
			}
		}
		h.end()
	})
}
