package dispatch_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// gauge keeps how long each request waited.
type gauge struct {
	mu     sync.Mutex
	waited []time.Duration
	left   chan struct{}
}

func (*gauge) Decided(action.Name, dispatch.Verdict, dispatch.Rule) {}
func (*gauge) Sent(action.Name, action.Verdict, time.Duration)      {}
func (*gauge) Settled(action.Name, action.State, time.Duration)     {}
func (*gauge) Owner(identity.Tenant, bool)                          {}
func (g *gauge) Left(_ action.Name, d time.Duration) {
	g.mu.Lock()
	g.waited = append(g.waited, d)
	g.mu.Unlock()
	g.left <- struct{}{}
}

// BenchmarkDispatch measures from the approved row to the request leaving, with
// the gate and everything before it but no network and no disk: one action at a
// time, then as fast as the concurrency allows.
func BenchmarkDispatch(b *testing.B) {
	for _, burst := range []int{1, 50} {
		b.Run(fmt.Sprintf("burst=%d", burst), func(b *testing.B) {
			g := &gauge{left: make(chan struct{}, burst)}
			var h *house
			var p *process
			n := 0
			for b.Loop() {
				if n%1000 == 0 { // the memory store looks at every row it ever had
					b.StopTimer()
					if p != nil {
						h.end()
					}
					h = newHouse(b)
					h.speed, h.opts.Meter = 1e6, g
					p = h.start()
					b.StartTimer()
				}
				for range burst {
					n++
					h.ask(person(n), disable)
					p.d.Nudge()
				}
				for range burst {
					<-g.left
				}
			}
			h.end()
			slices.Sort(g.waited)
			q := func(f float64) float64 { return float64(g.waited[int(f*float64(len(g.waited)-1))]) / 1e6 }
			b.ReportMetric(q(0.50), "p50-ms")
			b.ReportMetric(q(0.99), "p99-ms")
		})
	}
}
