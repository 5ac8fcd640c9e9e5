package addc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Logon is what an outsider's tool said of one attempt to sign in.
type Logon struct {
	OK   bool
	Text string // the tool's own words
}

// Kinit asks for a Kerberos ticket with the password, of c alone.
func (d *Domain) Kinit(ctx context.Context, c *DC, sam, password string) (Logon, error) {
	dir, err := os.MkdirTemp(d.Dir, "kinit-")
	if err != nil {
		return Logon{}, err
	}
	defer os.RemoveAll(dir)
	conf := filepath.Join(dir, "krb5.conf")
	text := fmt.Sprintf("[libdefaults]\n default_realm = %s\n dns_lookup_kdc = false\n[realms]\n %s = {\n  kdc = %s:88\n }\n", d.Realm, d.Realm, c.Addr)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return Logon{}, err
	}
	cmd := d.command(ctx, d.Station, "kinit", "-c", filepath.Join(dir, "cache"), sam+"@"+d.Realm)
	cmd.Env = append(cmd.Env, "KRB5_CONFIG="+conf)
	cmd.Stdin = strings.NewReader(password + "\n")
	return attempt(cmd)
}

// Bind tries an LDAP simple bind over LDAPS on c.
func (d *Domain) Bind(ctx context.Context, c *DC, upn, password string) (Logon, error) {
	file, err := d.secret(password)
	if err != nil {
		return Logon{}, err
	}
	defer os.Remove(file)
	return attempt(d.command(ctx, d.Station, "ldapsearch", "-x", "-LLL", "-H", "ldaps://"+c.Host, "-D", upn, "-y", file, "-s", "base", "-b", d.BaseDN, "dc"))
}

// SMB tries to open a session with c, with the password over NTLM.
func (d *Domain) SMB(ctx context.Context, c *DC, sam, password string) (Logon, error) {
	return d.smb(ctx, c, "IPC$", sam, password)
}

// Finance tries to open the share that only members of the group Finance may.
func (d *Domain) Finance(ctx context.Context, c *DC, sam, password string) (Logon, error) {
	return d.smb(ctx, c, "finance", sam, password)
}

func (d *Domain) smb(ctx context.Context, c *DC, share, sam, password string) (Logon, error) {
	file, err := d.secret(fmt.Sprintf("username = %s\npassword = %s\ndomain = %s\n", sam, password, d.NetBIOS))
	if err != nil {
		return Logon{}, err
	}
	defer os.Remove(file)
	return attempt(d.command(ctx, d.Station, "smbclient", "//"+c.Host+"/"+share, "-A", file, "--use-kerberos=off", "-c", "exit"))
}

// A Ticket is a credential cache with what was got for a password once.
type Ticket struct {
	domain *Domain
	dir    string
}

// Ticket signs in on c by Kerberos and gets a service ticket for its file server.
// Close forgets it.
func (d *Domain) Ticket(ctx context.Context, c *DC, sam, password string) (*Ticket, error) {
	dir, err := os.MkdirTemp(d.Dir, "ticket-")
	if err != nil {
		return nil, err
	}
	t := &Ticket{d, dir}
	cmd := t.command(ctx, "kinit", sam+"@"+d.Realm)
	cmd.Stdin = strings.NewReader(password + "\n")
	if l, err := attempt(cmd); err != nil || !l.OK {
		return nil, errors.Join(fmt.Errorf("kinit: %s", l.Text), err, t.Close())
	}
	if l, err := t.SMB(ctx, c); err != nil || !l.OK {
		return nil, errors.Join(fmt.Errorf("the fresh ticket opens nothing: %s", l.Text), err, t.Close())
	}
	return t, nil
}

// SMB opens a session with c by the tickets that are there, without a password.
func (t *Ticket) SMB(ctx context.Context, c *DC) (Logon, error) {
	return attempt(t.command(ctx, "smbclient", "//"+c.Host+"/IPC$", "--use-kerberos=required", "--use-krb5-ccache="+t.cache(), "-c", "exit"))
}

// Delegate signs in on c as the account of a service and asks for a ticket to another
// service in the name of somebody who never signed in to the first (S4U2Self and
// S4U2Proxy, MS-SFU): who may is what delegation is about.
func (d *Domain) Delegate(ctx context.Context, c *DC, sam, password, victim, service string) (Logon, error) {
	dir, err := os.MkdirTemp(d.Dir, "delegate-")
	if err != nil {
		return Logon{}, err
	}
	t := &Ticket{d, dir}
	defer t.Close()
	cmd := t.command(ctx, "kinit", "-f", sam+"@"+d.Realm)
	cmd.Stdin = strings.NewReader(password + "\n")
	if l, err := attempt(cmd); err != nil || !l.OK {
		return l, errors.Join(err, fmt.Errorf("kinit: %s", l.Text))
	}
	return attempt(t.command(ctx, "kvno", "-U", victim, "-P", service))
}

// Close forgets the tickets.
func (t *Ticket) Close() error { return os.RemoveAll(t.dir) }

func (t *Ticket) cache() string { return filepath.Join(t.dir, "cache") }

func (t *Ticket) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := t.domain.command(ctx, t.domain.Station, name, args...)
	cmd.Env = append(cmd.Env, "KRB5CCNAME="+t.cache())
	return cmd
}

// attempt tells a tool that says no from a tool that does not run.
func attempt(c *exec.Cmd) (Logon, error) {
	out, err := c.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		return Logon{}, fmt.Errorf("%s: %w", c.Path, err)
	}
	return Logon{OK: err == nil, Text: text}, nil
}

// secret keeps a password off the command line, which every process may read.
func (d *Domain) secret(text string) (path string, err error) {
	f, err := os.CreateTemp(d.Dir, "secret-")
	if err != nil {
		return "", err
	}
	if _, err = f.WriteString(text); err != nil {
		f.Close()
		return "", err
	}
	return f.Name(), f.Close()
}

// Modify carries out LDIF changes on c as the built-in Administrator: what
// somebody else does in the domain.
func (d *Domain) Modify(ctx context.Context, c *DC, ldif string) error {
	file, err := d.secret(d.Admin.Password)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	cmd := d.command(ctx, d.Station, "ldapmodify", "-x", "-H", "ldaps://"+c.Host, "-D", d.Admin.UPN, "-y", file)
	cmd.Stdin = strings.NewReader(ldif)
	_, err = output(cmd)
	return err
}

// Read returns attributes of one object as c shows them to the Administrator; of
// several values the first. Binary values come as they are.
func (d *Domain) Read(ctx context.Context, c *DC, dn string, attributes ...string) (map[string]string, error) {
	file, err := d.secret(d.Admin.Password)
	if err != nil {
		return nil, err
	}
	defer os.Remove(file)
	out, err := d.in(ctx, d.Station, "ldapsearch", append([]string{"-x", "-LLL", "-o", "ldif-wrap=no", "-H", "ldaps://" + c.Host,
		"-D", d.Admin.UPN, "-y", file, "-s", "base", "-b", dn}, attributes...)...)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ":")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if encoded, is64 := strings.CutPrefix(value, ": "); is64 {
			b, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil {
				return nil, fmt.Errorf("read %s: %s: %w", dn, name, err)
			}
			value = string(b)
		} else {
			value = strings.TrimPrefix(value, " ")
		}
		if _, has := values[name]; !has {
			values[name] = value
		}
	}
	return values, nil
}

// Part keeps the controllers from each other; both go on answering everybody
// else. Rejoin ends it.
func (d *Domain) Part(ctx context.Context) error { return d.routes(ctx, "add") }

// Rejoin lets the controllers replicate again.
func (d *Domain) Rejoin(ctx context.Context) error { return d.routes(ctx, "del") }

func (d *Domain) routes(ctx context.Context, verb string) error {
	for _, c := range d.Controllers {
		for _, other := range d.Controllers {
			if other == c {
				continue
			}
			if _, err := d.in(ctx, c.PID, "ip", "route", verb, "unreachable", other.Addr+"/32"); err != nil {
				return fmt.Errorf("%s the way between %s and %s: %w", verb, c.Host, other.Host, err)
			}
		}
	}
	return nil
}

// Cut takes c off the network, Heal puts it back.
func (d *Domain) Cut(ctx context.Context, c *DC) error { return d.link(ctx, c, "down") }

// Heal puts c back on the network.
func (d *Domain) Heal(ctx context.Context, c *DC) error { return d.link(ctx, c, "up") }

func (d *Domain) link(ctx context.Context, c *DC, state string) error {
	_, err := d.in(ctx, d.Station, "ip", "link", "set", "p"+strings.TrimPrefix(c.Name, "dc"), state)
	return err
}

// Freeze stops every process of c where it is: its machine goes on taking in what is
// sent to it, and nobody looks at that, until Thaw or Kill. The one that only watches
// over the others is left out, because who started it would stop with it.
func (d *Domain) Freeze(ctx context.Context, c *DC) error {
	return d.each(ctx, c, `for p in /proc/[0-9]*; do grep -q "^PPid:.0$" $p/status || kill -STOP ${p#/proc/}; done`)
}

// Thaw lets c go on.
func (d *Domain) Thaw(ctx context.Context, c *DC) error { return d.each(ctx, c, "kill -CONT -1") }

// Kill ends every process of c by SIGKILL, in the middle of what they do. Connections
// to it are refused until Restart.
func (d *Domain) Kill(ctx context.Context, c *DC) error { return d.each(ctx, c, "kill -KILL -1") }

// each runs a script that sends signals to processes of c. The kernel leaves the
// namespace's first process out of "all", and the one that asks.
func (d *Domain) each(ctx context.Context, c *DC, script string) error {
	if _, err := d.in(ctx, c.PID, "sh", "-c", script); err != nil {
		return fmt.Errorf("signal the processes of %s: %w", c.Host, err)
	}
	return nil
}

// Restart starts c again after Kill, on the databases as they were left, and waits
// until it answers.
func (d *Domain) Restart(ctx context.Context, c *DC) error { return d.run(ctx, c) }

// Member reports whether c shows an account as a direct member of a group.
func (d *Domain) Member(ctx context.Context, c *DC, group, account string) (bool, error) {
	file, err := d.secret(d.Admin.Password)
	if err != nil {
		return false, err
	}
	defer os.Remove(file)
	out, err := d.in(ctx, d.Station, "ldapsearch", "-x", "-LLL", "-H", "ldaps://"+c.Host, "-D", d.Admin.UPN, "-y", file,
		"-s", "base", "-b", group, "(member="+account+")", "1.1")
	return strings.Contains(out, "dn:"), err
}

// Script runs a shell script on c as its root, as an administrator at the machine
// would, and returns what it printed.
func (d *Domain) Script(ctx context.Context, c *DC, script string) (string, error) {
	cmd := d.command(ctx, c.PID, "sh")
	cmd.Env = append(cmd.Env, "SMB_CONF_PATH="+c.conf())
	cmd.Stdin = strings.NewReader(script)
	return output(cmd)
}
