package ingest

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"sync"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// maxRecent bounds what is remembered; when it is reached, all is forgotten.
const maxRecent = 20_000

// recent remembers which versions of signals this process has committed. Sources
// are read with an overlap, so most of a page is what the page before held; to ask
// the rows about each of them would make what is new wait. What is forgotten here
// is found in the rows. Its zero value is ready.
type recent struct {
	mu   sync.Mutex
	seen map[signal.Key][sha256.Size]byte
}

// known takes the signals out of the page that were committed as they are, and
// counts them.
func (r *recent) known(page *connector.Page) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(page.Signals)
	page.Signals = slices.DeleteFunc(slices.Clone(page.Signals), func(s signal.Signal) bool {
		have, ok := r.seen[s.Key()]
		if !ok {
			return false
		}
		sum, ok := digest(s)
		return ok && have == sum
	})
	n -= len(page.Signals)
	return Result{Read: n, Duplicate: n}
}

// add remembers signals whose transaction has committed. What was rejected is not
// known: whoever tells it again hears so again.
func (r *recent) add(t identity.Tenant, signals []signal.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil || len(r.seen)+len(signals) > maxRecent {
		r.seen = map[signal.Key][sha256.Size]byte{}
	}
	for _, s := range signals {
		if refusal(t, s) != "" {
			continue
		}
		if sum, ok := digest(s); ok {
			r.seen[s.Key()] = sum
		}
	}
}

// digest covers the signal with its raw record; ok is false when that is no JSON.
func digest(s signal.Signal) (sum [sha256.Size]byte, ok bool) {
	b, err := json.Marshal(s)
	return sha256.Sum256(b), err == nil
}
