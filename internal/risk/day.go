package risk

import (
	"math/bits"
	"slices"
	"time"
)

// A daybook finds the day within which most stages and products fall together.
type daybook struct {
	n        *numbers
	stages   []string
	products []string
	anchors  []anchor
	most     float64
}

// An anchor is a contribution's time and what falls into the day before it.
type anchor struct {
	at               int64 // microseconds
	counts           bool
	stage, product   uint64 // its own
	stages, products uint64 // of the day before it, its own included
}

func index(list *[]string, v string) uint64 {
	n := slices.Index(*list, v)
	if n < 0 {
		n = len(*list)
		*list = append(*list, v)
	}
	return 1 << min(n, 63)
}

// add takes a contribution in. What is hardly likely does not corroborate.
func (d *daybook) add(c *contribution) {
	a := anchor{at: c.micros, counts: c.p >= 0.1}
	a.stage, a.product = index(&d.stages, c.e.Tactic), index(&d.products, c.s.Source.Product())
	if a.counts {
		a.stages, a.products = a.stage, a.product
	}
	const day = int64(24 * time.Hour / time.Microsecond)
	for n := range d.anchors {
		o := &d.anchors[n]
		age := o.at - a.at
		if age >= 0 && age <= day && a.counts {
			o.stages, o.products = o.stages|a.stage, o.products|a.product
			d.note(o)
		}
		if age <= 0 && age >= -day && o.counts {
			a.stages, a.products = a.stages|o.stage, a.products|o.product
		}
	}
	d.note(&a)
	if d.anchors == nil {
		d.anchors = make([]anchor, 0, 32)
	}
	d.anchors = append(d.anchors, a)
}

func (d *daybook) note(a *anchor) {
	stages, products := bits.OnesCount64(a.stages), bits.OnesCount64(a.products)
	d.most = max(d.most, 1+d.n.stage*float64(max(0, stages-1))+d.n.product*float64(max(0, products-1)))
}

// factor is the factor on the odds: 1 to the most it may be.
func (d *daybook) factor() float64 { return min(max(d.most, 1), d.n.most) }
