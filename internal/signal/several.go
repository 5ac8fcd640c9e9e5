package signal

import (
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Each returns s once for each of its subjects: an alert about several accounts is
// a signal for each of them. The first by its strongest identifier, in whatever order
// they are named, keeps the ExternalID; each other one has the
// subject's strongest identifier, or its name, behind a "#". All of them name the
// other accounts, and those in others, as Others. A subject that is named twice
// counts once. Whatever channel brings an alert makes the same signals of it.
func (s Signal) Each(subjects, others []identity.Ref) []Signal {
	var out []Signal
	seen := map[string]bool{}
	var all []identity.Ref
	for _, ref := range subjects {
		if id := strongest(ref); !seen[id] {
			seen[id] = true
			all = append(all, ref)
		}
	}
	slices.SortFunc(all, func(a, b identity.Ref) int { return strings.Compare(strongest(a), strongest(b)) })
	own := len(all)
	for _, ref := range others {
		if id := strongest(ref); !seen[id] {
			seen[id] = true
			all = append(all, ref)
		}
	}
	for n, ref := range all[:own] {
		one := s
		one.Subject, one.Others = ref, nil
		for k, other := range all {
			if k != n {
				one.Others = append(one.Others, other)
			}
		}
		if n > 0 {
			one.ExternalID = s.ExternalID + "#" + strongest(ref)
		}
		out = append(out, one)
	}
	return out
}

func strongest(r identity.Ref) string {
	if keys := r.Keys(); len(keys) > 0 {
		return keys[0].Value
	}
	return r.Name()
}
