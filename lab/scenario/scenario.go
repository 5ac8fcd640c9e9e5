// Package scenario holds attack stories for a simulated tenant: who is in
// them, what happens when, who decides what, and how each person must end. A
// story names people by what they are, never by an id, so it plays on any
// seed.
//
// The stories are data (files/*.yaml); Parse reads others.
package scenario

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/lab/world"
)

//go:embed files/*.yaml
var files embed.FS

// Default is the story that a demonstration plays.
const Default = "demo"

// Scenario is one story. All instants are relative to the start of the play.
type Scenario struct {
	Name      string                `yaml:"name"`
	Title     string                `yaml:"title"`
	Story     string                `yaml:"story"`
	Directory Directory             `yaml:"directory"`
	Config    Config                `yaml:"config"`
	People    map[string]world.Pick `yaml:"people"`
	Protected []string              `yaml:"protected"` // aliases whose ids the product must be told to protect
	Events    []Timed               `yaml:"events"`
	Approvals []Approval            `yaml:"approvals"`
	Undo      []Undo                `yaml:"undo"`
	Expect    []Expectation         `yaml:"expect"`
	Faults    []string              `yaml:"faults"` // fault specifications of the simulated server
}

// Directory says what tenant the story needs.
type Directory struct {
	Users              int    `yaml:"users"` // 0 = the world's default
	Seed               uint64 `yaml:"seed"`
	OnPremisesClears   bool   `yaml:"onPremisesResetClearsRisk"`
	NoPasswordHashSync bool   `yaml:"noPasswordHashSync"`
}

// Config is what the story assumes of the product's configuration.
type Config struct {
	Writeback   bool   `yaml:"writeback"`   // a password set in the cloud reaches Active Directory
	Directories string `yaml:"directories"` // "none" (default): no domain is connected
}

// Timed is an event at an instant of the story.
type Timed struct {
	At          world.Duration `yaml:"at"`
	world.Event `yaml:",inline"`
}

// Approval is a scripted decision on the plan of one account.
type Approval struct {
	For      string         `yaml:"for"`
	Decision string         `yaml:"decision"` // approve or reject
	By       string         `yaml:"by"`       // an alias (that person decides), or an operator's name
	After    world.Duration `yaml:"after"`    // since the approval was asked for
	Reason   string         `yaml:"reason"`
}

// Undo is a scripted undo of one action.
type Undo struct {
	For           string         `yaml:"for"`
	Action        string         `yaml:"action"`
	AfterVerified world.Duration `yaml:"after_verified"`
	Reason        string         `yaml:"reason"`
	By            string         `yaml:"by"`
}

// Expectation is how one account must end.
type Expectation struct {
	For     string   `yaml:"for"`
	End     End      `yaml:"end"`
	Reason  string   `yaml:"reason"`  // text that the reason must contain; any case
	Actions []string `yaml:"actions"` // names of actions that must have been verified, in no order
}

// End is a kind of ending.
type End string

// The endings.
const (
	Contained End = "contained" // every step verified
	Held      End = "held"      // stopped by a brake or a missing arm, with a reason
	Refused   End = "refused"   // a plan was rejected or not allowed
	Waiting   End = "waiting"   // a person has to decide
	Untouched End = "untouched" // nothing in any directory changed
	Undone    End = "undone"    // contained, then put back
)

// Names lists the stories that come with the lab, sorted.
func Names() []string {
	entries, err := fs.ReadDir(files, "files")
	if err != nil { // the files are compiled in
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	return slices.Sorted(slices.Values(names))
}

// Load returns a story that comes with the lab.
func Load(name string) (*Scenario, error) {
	b, err := files.ReadFile("files/" + name + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("scenario %q does not exist; there are %s", name, strings.Join(Names(), ", "))
	}
	return Parse(name+".yaml", b)
}

// Options returns the options of a world for the story: o with its people,
// seed and settings where the story names them and o does not.
func (s *Scenario) Options(o world.Options) world.Options {
	if o.Users == 0 {
		o.Users = s.Directory.Users
	}
	if o.Seed == 0 {
		o.Seed = s.Directory.Seed
	}
	o.Settings.OnPremisesResetClearsRisk = o.Settings.OnPremisesResetClearsRisk || s.Directory.OnPremisesClears
	o.Settings.NoPasswordHashSync = o.Settings.NoPasswordHashSync || s.Directory.NoPasswordHashSync
	return o
}

// Cast finds the people of the story in a tenant and binds their aliases, so
// that events and state can name them.
func (s *Scenario) Cast(w *world.World) (map[string]world.Account, error) {
	cast := make(map[string]world.Account, len(s.People))
	by := map[string]string{}
	for _, alias := range sortedKeys(s.People) {
		a, err := w.Pick(s.People[alias])
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %s: %w", s.Name, alias, err)
		}
		if other, ok := by[a.Key()]; ok {
			return nil, fmt.Errorf("scenario %s: %s and %s are the same account, %s", s.Name, other, alias, a.DisplayName)
		}
		by[a.Key()] = alias
		if err := w.Bind(alias, a); err != nil {
			return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		cast[alias] = a
	}
	return cast, nil
}

// Play schedules the story's events from an instant on; speed divides their
// times (1 = as written). Nothing runs by itself: the world makes them happen
// as it is used. Cast must have been called.
func (s *Scenario) Play(w *world.World, from time.Time, speed float64) error {
	if speed <= 0 {
		return fmt.Errorf("scenario %s: speed %v is not above 0", s.Name, speed)
	}
	for i, e := range s.Events {
		at := from.Add(time.Duration(float64(e.At) / speed))
		if err := w.Schedule(at, e.Event); err != nil {
			return fmt.Errorf("scenario %s: event %d: %w", s.Name, i+1, err)
		}
	}
	return nil
}

// Length is when the last event of the story happens.
func (s *Scenario) Length() time.Duration {
	var last world.Duration
	for _, e := range s.Events {
		last = max(last, e.At)
	}
	return time.Duration(last)
}
