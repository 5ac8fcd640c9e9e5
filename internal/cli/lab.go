package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/lab/graphsim"
	"github.com/seed-f47efad2/cordon/lab/scenario"
	"github.com/seed-f47efad2/cordon/lab/world"
)

// labApp is the client id under which the lab knows Cordon.
const labApp = "c0e5d0a1-1ab0-4c0d-8000-000000000001"

// A labSpec says which simulated tenant is wanted.
type labSpec struct {
	listen   string
	scenario string // "" plays nothing
	seed     uint64
	users    int
	speed    float64
	faults   []string
	secret   string        // of labApp; "": a random one
	delays   *world.Delays // nil: the lab's own
	limits   graphsim.Limits
	heard    func(secret string) // told every password that is set; nil: nobody is
}

// A lab is a simulated tenant behind a listener.
type lab struct {
	world    *world.World
	tenant   *graphsim.Tenant
	ca       *graphsim.CA
	listener net.Listener
	story    *scenario.Scenario // nil when none was asked for
	cast     map[string]world.Account
	secret   string
	speed    float64
	more     []string // further object ids that the product must leave alone
}

// openLab seeds the tenant and binds its listener; nothing is served yet.
func openLab(ctx context.Context, s labSpec) (*lab, error) {
	l := &lab{speed: s.speed, secret: s.secret}
	if l.speed == 0 {
		l.speed = 1
	}
	if l.speed < 0 {
		return nil, fault.Errorf(fault.Invalid, "--speed %v is not above 0", s.speed)
	}
	o := world.Options{Seed: s.seed, Users: s.users}
	if s.delays != nil {
		o.Delays = *s.delays
	}
	o.Delays = o.Delays.Faster(l.speed)
	faults := s.faults
	var err error
	if s.scenario != "" {
		if l.story, err = scenario.Load(s.scenario); err != nil {
			return nil, fault.Errorf(fault.Invalid, "%w", err)
		}
		o = l.story.Options(o)
		faults = append(append([]string{}, l.story.Faults...), faults...)
	}
	parsed, err := graphsim.ParseFaults(faults)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "--fault: %w", err)
	}
	if l.world, err = world.New(o); err != nil {
		return nil, fault.Errorf(fault.Invalid, "%w", err)
	}
	if l.story != nil {
		if l.cast, err = l.story.Cast(l.world); err != nil {
			return nil, fault.Errorf(fault.Invalid, "%w", err)
		}
	}
	if l.secret == "" {
		b := make([]byte, 24)
		if _, err := rand.Read(b); err != nil {
			return nil, err
		}
		l.secret = hex.EncodeToString(b)
	}
	app := graphsim.Responder(labApp, l.secret)
	app.Roles = append(app.Roles, "RoleEligibilitySchedule.Read.Directory")
	if l.tenant, err = graphsim.New(l.world, graphsim.Options{Speed: l.speed, Faults: parsed, Seed: s.seed, Apps: []graphsim.App{app}, Limits: s.limits, Secret: s.heard}); err != nil {
		return nil, fault.Errorf(fault.Invalid, "%w", err)
	}
	if l.ca, err = graphsim.NewCA(time.Now()); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if l.listener, err = lc.Listen(ctx, "tcp", s.listen); err != nil {
		return nil, fault.Errorf(fault.Invalid, "listen on %s: %w", s.listen, err)
	}
	return l, nil
}

func (l *lab) url() string { return "https://" + l.listener.Addr().String() }

// play starts the story now.
func (l *lab) play() error {
	if l.story == nil {
		return nil
	}
	return l.story.Play(l.world, l.world.Now(), l.speed)
}

// protected returns the object ids that the product must leave alone: the
// emergency-access accounts, the synchronisation account and those the story
// names.
func (l *lab) protected() (ids []string, why []string) {
	seen := map[string]bool{}
	add := func(id, reason string) {
		if id != "" && !seen[strings.ToLower(id)] {
			seen[strings.ToLower(id)] = true
			ids, why = append(ids, id), append(why, reason)
		}
	}
	l.world.WalkState(func(u world.UserState) bool {
		switch {
		case u.BreakGlass:
			add(u.ID, "emergency access")
		case u.SyncAccount:
			add(u.ID, "directory synchronisation")
		}
		return true
	})
	for _, id := range l.more {
		add(id, "listed")
	}
	if l.story != nil {
		for _, alias := range l.story.Protected {
			add(l.cast[alias].UserID, "named by the scenario")
		}
	}
	return ids, why
}

func newLab(e Env) *cobra.Command {
	return group("lab", "The simulated world, to try Cordon on", newLabGraph(e))
}

func newLabGraph(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "graph --ca-out FILE", Short: "A simulated Microsoft Graph tenant over HTTPS", Args: cobra.NoArgs,
		Long: `Serves a seeded tenant with Graph's documented limits until it is told to stop.
Its certificate comes from a CA made at start; --ca-out writes it. Tenant id,
client id and secret are printed (and can be given). GET /_lab/ledger lists every
request with its effect, GET /_lab/state the directory, POST /_lab/event makes
something happen.

Faults: ` + faultKinds(),
	}
	f := c.Flags()
	s := labSpec{}
	f.StringVar(&s.listen, "listen", "127.0.0.1:8443", "address")
	caOut := f.String("ca-out", "", "write the CA's certificate to this file")
	f.StringVar(&s.scenario, "scenario", "", "story to play from the start: "+strings.Join(scenario.Names(), ", "))
	f.Uint64Var(&s.seed, "seed", 1, "seed of directory and faults")
	f.IntVar(&s.users, "users", 0, "people in the directory (default 2400)")
	f.Float64Var(&s.speed, "speed", 1, "multiply every rate and divide every delay")
	f.StringArrayVar(&s.faults, "fault", nil, "fault to inject; may be repeated")
	f.StringVar(&s.secret, "client-secret", "", "client secret of the app (default: a random one)")
	passwords := f.String("passwords-out", "", "append each password that is set for somebody, as a JSON string a line, for whoever looks where it must not be")
	asJSON := jsonFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *caOut == "" {
			return fault.Errorf(fault.Invalid, "--ca-out FILE is missing: clients need the certificate")
		}
		if *passwords != "" {
			file, err := os.OpenFile(*passwords, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return fault.Errorf(fault.Invalid, "--passwords-out: %w", err)
			}
			defer file.Close()
			lines := json.NewEncoder(file)
			var one sync.Mutex
			s.heard = func(password string) {
				one.Lock()
				defer one.Unlock()
				_ = lines.Encode(password) // who reads the file misses it
			}
		}
		l, err := openLab(cmd.Context(), s)
		if err != nil {
			return err
		}
		if err := l.ca.WriteFile(*caOut); err != nil {
			return fault.Errorf(fault.Invalid, "--ca-out: %w", err)
		}
		if err := l.play(); err != nil {
			return err
		}
		ids, _ := l.protected()
		v := map[string]any{
			"url": l.url(), "tenant_id": l.world.TenantID(), "client_id": labApp, "client_secret": l.secret,
			"ca_file": *caOut, "protected": ids,
		}
		if err := out(e, *asJSON, v, func(w io.Writer) {
			fmt.Fprintf(w, "graph_url: %s\nlogin_url: %s\nca_file: %s\ntenant_id: %s\nclient_id: %s\nclient_secret: %s\n",
				l.url(), l.url(), *caOut, l.world.TenantID(), labApp, l.secret)
		}); err != nil {
			return err
		}
		return l.tenant.Serve(cmd.Context(), l.listener, l.ca)
	}
	return c
}

func faultKinds() string {
	var names []string
	for _, k := range graphsim.FaultKinds() {
		names = append(names, k[0])
	}
	return strings.Join(names, ", ")
}
