// Package addc starts a real Active Directory domain for tests: one or two Samba
// domain controllers with LDAPS under a CA of their own, Kerberos and SMB, people,
// groups, and a service account that is delegated the least it needs. It imports
// nothing of Cordon.
//
// Every controller lives in network, process and mount namespaces of its own, and
// so does a workstation from which an outsider's tools (kinit, ldapsearch,
// smbclient) are run. It therefore needs Linux, root and Debian's Samba packages
// (scripts/setup.sh samba). Everything ends with the process that started it, also
// when that is killed: nothing stays behind but a folder below os.TempDir.
//
// Sources: samba-tool(8), smb.conf(5), MS-ADTS for delegated rights.
package addc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options are what a caller may leave alone: every zero means the default.
type Options struct {
	Domain string // DNS name of the domain; corp.example
	DCs    int    // domain controllers that replicate with each other, 1 or 2; 1
	People int    // accounts in OU=Staff; 60
	Dir    string // where the databases are put, absolute; a new folder below os.TempDir
}

// A Domain is a running domain.
type Domain struct {
	Name    string // DNS name, "corp.example"
	NetBIOS string // "CORP"
	Realm   string // "CORP.EXAMPLE"
	BaseDN  string // "DC=corp,DC=example"
	Dir     string
	CAFile  string // PEM, issuer of every controller's certificate
	Krb5    string // krb5.conf for clients inside the workstation's namespaces

	Controllers []*DC
	People      []Account // members of OU=Staff, no special rights, nobody's but the test's that takes them
	Admin       Account   // the built-in Administrator
	Tier0       Account   // a member of Domain Admins outside the delegated OU
	Containment Account   // the service account: delegated on OU=Staff, and nothing else
	Reader      Account   // an ordinary account of a service: no rights delegated

	Station int    // process id of the workstation's first process
	Uplink  string // our end of the link to it

	spaces spaces
	waits  sync.WaitGroup // for the Samba processes
}

// A DC is one domain controller.
type DC struct {
	Name string // "dc1"
	Host string // "dc1.corp.example", the name in its certificate
	Addr string // IPv4 address, reachable from this machine
	Dir  string
	PID  int // of the first process in its namespaces
}

// An Account is one provisioned account.
type Account struct {
	SAM      string
	UPN      string
	DN       string
	SID      string // S-1-5-21-…
	GUID     string // objectGUID, lower case with dashes
	Password string
}

// ErrAbsent is in the chain of an error that says that this machine cannot run a
// domain controller: not root, not Linux, no Samba.
var ErrAbsent = errors.New("a domain controller cannot be started here")

// programs are what New runs.
var programs = []string{"samba", "samba-tool", "ldbadd", "ldbmodify", "ldbsearch", "ip", "nsenter", "kinit", "kvno", "ldapsearch", "ldapmodify", "smbclient"}

// New starts a domain; Close ends it. It takes about ten seconds for one
// controller and twenty-five for two on two idle cores.
func New(ctx context.Context, o Options) (*Domain, error) {
	if err := able(); err != nil {
		return nil, err
	}
	if o.Domain == "" {
		o.Domain = "corp.example"
	}
	if o.DCs == 0 {
		o.DCs = 1
	}
	if o.People == 0 {
		o.People = 60
	}
	if o.DCs < 1 || o.DCs > 2 {
		return nil, fmt.Errorf("addc: %d domain controllers; 1 or 2 can be started", o.DCs)
	}
	dir := o.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "addc-"); err != nil {
			return nil, fmt.Errorf("addc: %w", err)
		}
	}
	first, _, _ := strings.Cut(o.Domain, ".")
	d := &Domain{
		Name: o.Domain, NetBIOS: strings.ToUpper(first), Realm: strings.ToUpper(o.Domain),
		BaseDN: "DC=" + strings.ReplaceAll(o.Domain, ".", ",DC="), Dir: dir,
		CAFile: filepath.Join(dir, "ca.pem"), Krb5: filepath.Join(dir, "krb5.conf"),
	}
	if err := d.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("addc: %w", err), d.Close())
	}
	return d, nil
}

func (d *Domain) start(ctx context.Context, o Options) error {
	if err := d.network(ctx, o.DCs); err != nil {
		return fmt.Errorf("make the network: %w", err)
	}
	if err := d.certificates(time.Now()); err != nil {
		return fmt.Errorf("make the certificates: %w", err)
	}
	first := d.Controllers[0]
	if err := d.provision(ctx, first, o.People); err != nil {
		return fmt.Errorf("provision the domain: %w", err)
	}
	if err := d.run(ctx, first); err != nil {
		return err
	}
	for _, c := range d.Controllers[1:] {
		if err := d.join(ctx, c); err != nil {
			return fmt.Errorf("join %s: %w", c.Host, err)
		}
		if err := d.run(ctx, c); err != nil {
			return err
		}
		if err := d.await(ctx, c); err != nil {
			return err
		}
	}
	return d.save()
}

// State is the file in Domain.Dir from which Attach knows a running domain. It
// holds the lab's passwords and is readable by its owner only.
const State = "domain.json"

func (d *Domain) save() error {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	whole := filepath.Join(d.Dir, State+".new")
	if err := os.WriteFile(whole, b, 0o600); err != nil {
		return err
	}
	return os.Rename(whole, filepath.Join(d.Dir, State))
}

// Attach returns a domain that another process started and still runs. Do not
// Close it.
func Attach(dir string) (*Domain, error) {
	b, err := os.ReadFile(filepath.Join(dir, State))
	if err != nil {
		return nil, fmt.Errorf("addc: attach: %w", err)
	}
	d := &Domain{}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("addc: attach: %s: %w", State, err)
	}
	return d, nil
}

// Take returns an account of People that nobody has taken before, in this process
// or another, or an error when all are taken.
func (d *Domain) Take() (Account, error) {
	taken := filepath.Join(d.Dir, "taken")
	if err := os.MkdirAll(taken, 0o700); err != nil {
		return Account{}, fmt.Errorf("addc: take an account: %w", err)
	}
	for _, a := range d.People {
		f, err := os.OpenFile(filepath.Join(taken, a.SAM), os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case errors.Is(err, os.ErrExist):
		case err != nil:
			return Account{}, fmt.Errorf("addc: take an account: %w", err)
		default:
			return a, f.Close()
		}
	}
	return Account{}, fmt.Errorf("addc: take an account: all %d are taken; ask for more with Options.People", len(d.People))
}

// Addr returns the address behind one of the controllers' names, for a dialler:
// the names are known inside the lab only.
func (d *Domain) Addr(host string) (string, bool) {
	for _, c := range d.Controllers {
		if strings.EqualFold(host, c.Host) || strings.EqualFold(host, c.Addr) {
			return c.Addr, true
		}
	}
	return "", false
}
