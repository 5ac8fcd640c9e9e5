package risk

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Weights are the numbers of the arithmetic that may be tried out otherwise. A zero
// field means the standard one. Microsoft's own level stays a floor whatever they
// are.
type Weights struct {
	// Thresholds are the least scores of the levels, 1 to 100, rising.
	Thresholds Thresholds `json:"thresholds,omitzero"`
	// Levels are the probabilities for a signal whose kind has none of its own, by
	// the level of its source, 0 to 1.
	Levels map[signal.Level]float64 `json:"levels,omitempty"`
	// Kinds are the weights of single kinds of signals, by catalogue id, by
	// riskEventType or title, or by family.
	Kinds map[string]KindWeight `json:"kinds,omitempty"`
	// Corroboration is what a further kill-chain stage and a further product within a
	// day each add to the factor on the odds, and the most it may become.
	Corroboration Corroboration `json:"corroboration,omitzero"`
}

// Thresholds are the least scores of the levels.
type Thresholds struct {
	Low    int `json:"low"`
	Medium int `json:"medium"`
	High   int `json:"high"`
}

// A KindWeight replaces the catalogue's numbers of one kind of signal.
type KindWeight struct {
	Prior    *float64     `json:"prior,omitempty"`    // 0 to 1; 0: by the signal's level
	HalfLife *float64     `json:"halfLife,omitempty"` // days; 0: it does not decay
	Floor    signal.Level `json:"floor,omitempty"`    // none: no floor
}

// Corroboration weighs signals that fall together.
type Corroboration struct {
	Stage   *float64 `json:"stage,omitempty"`
	Product *float64 `json:"product,omitempty"`
	Most    *float64 `json:"most,omitempty"`
}

// ParseWeights reads JSON. An unknown key, a number out of range and a kind that the
// catalogue does not have are fault.Invalid.
func ParseWeights(b []byte) (Weights, error) {
	var w Weights
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil {
		return w, fault.Errorf(fault.Invalid, "weights: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return w, fault.Errorf(fault.Invalid, "weights: something follows the JSON object")
	}
	return w, w.Check()
}

// Check returns fault.Invalid naming the first number that is out of range.
func (w Weights) Check() error {
	t := w.Thresholds
	if t != (Thresholds{}) && !(0 < t.Low && t.Low < t.Medium && t.Medium < t.High && t.High <= 100) {
		return fault.Errorf(fault.Invalid, "weights: thresholds %d, %d, %d do not rise from 1 to 100", t.Low, t.Medium, t.High)
	}
	probability := func(what string, p float64) error {
		if !(p >= 0 && p <= 1) {
			return fault.Errorf(fault.Invalid, "weights: %s is %g; it is a probability from 0 to 1", what, p)
		}
		return nil
	}
	for l, p := range w.Levels {
		if l.Rank() == signal.LevelHidden.Rank() && l != signal.LevelMedium {
			return fault.Errorf(fault.Invalid, "weights: %q is no level; they are none, low, medium, high", l)
		}
		if err := probability("level "+string(l), p); err != nil {
			return err
		}
	}
	for name, k := range w.Kinds {
		if !knownKind(name) {
			return fault.Errorf(fault.Invalid, "weights: kind %q is in no list of the catalogue; cordon coverage --json has their ids", name)
		}
		if k.Prior != nil {
			if err := probability("the prior of "+name, *k.Prior); err != nil {
				return err
			}
		}
		if k.HalfLife != nil && !(*k.HalfLife >= 0 && *k.HalfLife <= 36500) {
			return fault.Errorf(fault.Invalid, "weights: the half-life of %s is %g days", name, *k.HalfLife)
		}
		if !slices.Contains([]signal.Level{"", signal.LevelNone, signal.LevelLow, signal.LevelMedium, signal.LevelHigh}, k.Floor) {
			return fault.Errorf(fault.Invalid, "weights: the floor of %s is %q; it is none, low, medium or high", name, k.Floor)
		}
	}
	for what, p := range map[string]*float64{"stage": w.Corroboration.Stage, "product": w.Corroboration.Product, "most": w.Corroboration.Most} {
		if p != nil && !(*p >= 0 && *p <= 100) {
			return fault.Errorf(fault.Invalid, "weights: corroboration %s is %g; it is 0 to 100", what, *p)
		}
	}
	return nil
}

func knownKind(name string) bool {
	return slices.ContainsFunc(detection.All(), func(e detection.Entry) bool { return isKind(e, name) })
}

func isKind(e detection.Entry, name string) bool {
	if strings.EqualFold(e.ID(), name) || strings.EqualFold(e.Name, name) || strings.EqualFold(string(e.Family), name) {
		return true
	}
	return slices.ContainsFunc(e.Types, func(t string) bool { return strings.EqualFold(t, name) })
}

// Version names the weights: Rules alone for the standard ones, else with the
// beginning of a hash of what differs.
func (w Weights) Version() string {
	if w.standard() {
		return Rules
	}
	b, err := json.Marshal(w) // strings and numbers; a number that is none was refused by Check
	if err != nil {
		return Rules + "+unnamed"
	}
	sum := sha256.Sum256(b)
	return Rules + "+" + hex.EncodeToString(sum[:4])
}

func (w Weights) standard() bool {
	return w.Thresholds == (Thresholds{}) && len(w.Levels) == 0 && len(w.Kinds) == 0 && w.Corroboration == (Corroboration{})
}

// The standard thresholds, the factor on the odds for another stage or product, and
// its bound.
const (
	lowFrom, mediumFrom, highFrom = 20, 40, 70
	another, most                 = 0.5, 4
)

// numbers are weights, filled in.
type numbers struct {
	low, medium, high    int
	stage, product, most float64
	custom               *Weights // nil: the standard ones
}

func (w *Weights) numbers() numbers {
	n := numbers{lowFrom, mediumFrom, highFrom, another, another, most, nil}
	if w == nil || w.standard() {
		return n
	}
	n.custom = w
	if t := w.Thresholds; t != (Thresholds{}) {
		n.low, n.medium, n.high = t.Low, t.Medium, t.High
	}
	for _, p := range []struct {
		to   *float64
		from *float64
	}{{&n.stage, w.Corroboration.Stage}, {&n.product, w.Corroboration.Product}, {&n.most, w.Corroboration.Most}} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	n.most = max(n.most, 1)
	return n
}

func (n *numbers) levelOf(score int) signal.Level {
	switch {
	case score >= n.high:
		return signal.LevelHigh
	case score >= n.medium:
		return signal.LevelMedium
	case score >= n.low:
		return signal.LevelLow
	}
	return signal.LevelNone
}

func (n *numbers) leastScore(l signal.Level) int {
	return [...]int{0, n.low, n.medium, n.high}[l.Rank()]
}

// prior is the probability a level stands for when the kind has none of its own.
func (n *numbers) prior(l signal.Level) float64 {
	if n.custom != nil {
		for name, p := range n.custom.Levels {
			if name.Rank() == l.Rank() {
				return p
			}
		}
	}
	return [...]float64{0.02, 0.15, 0.40, 0.80}[l.Rank()]
}

// of returns the weights of a kind of signal. A weight given by id or type counts
// more than one given by family.
func (n *numbers) of(e *detection.Entry) (prior, halfLife float64, floor signal.Level) {
	prior, halfLife, floor = e.Prior, e.HalfLife, e.Floor
	if n.custom == nil || len(n.custom.Kinds) == 0 {
		return prior, halfLife, floor
	}
	var names []string
	for name := range n.custom.Kinds {
		if isKind(*e, name) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		fa, fb := strings.EqualFold(string(e.Family), a), strings.EqualFold(string(e.Family), b)
		switch {
		case fa && !fb:
			return -1
		case fb && !fa:
			return 1
		}
		return cmp.Compare(a, b)
	})
	for _, name := range names {
		k := n.custom.Kinds[name]
		if k.Prior != nil {
			prior = *k.Prior
		}
		if k.HalfLife != nil {
			halfLife = *k.HalfLife
		}
		if k.Floor != "" {
			floor = k.Floor
		}
	}
	return prior, halfLife, floor
}
