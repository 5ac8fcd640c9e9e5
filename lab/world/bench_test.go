package world

import "testing"

// BenchmarkRequest measures what single requests cost in a tenant of 100,000.
func BenchmarkRequest(b *testing.B) {
	w, _ := small(b, func(o *Options) { o.Users = 100_000 })
	var ids []string
	w.Walk(Users, 10, func(_ int, it Item) bool { ids = append(ids, it.ID()); return len(ids) < 5000 })
	b.Run("get and render a user", func(b *testing.B) {
		i := 0
		for b.Loop() {
			it, ok := w.Get(Users, ids[i%len(ids)])
			if i++; !ok || len(it.Object()) == 0 {
				b.Fatal("no user")
			}
		}
	})
	b.Run("detection", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if err := w.Apply(Event{Type: EventDetection, User: ids[i%len(ids)], RiskEventType: "leakedCredentials"}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("disable and enable", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if _, err := w.Update(Actor{}, Users, ids[i%len(ids)], Object{"accountEnabled": i/len(ids)%2 != 0}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("scan all users by one property", func(b *testing.B) {
		for b.Loop() {
			n := 0
			w.Walk(Users, 0, func(_ int, it Item) bool {
				if v, _ := it.Value("accountEnabled"); v == true {
					n++
				}
				return true
			})
			if n == 0 {
				b.Fatal("nobody")
			}
		}
	})
}
