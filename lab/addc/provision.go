package addc

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf16"
)

// provision makes the domain's databases on c while nothing runs yet: that is
// several times faster than asking a running controller.
func (d *Domain) provision(ctx context.Context, c *DC, people int) error {
	d.accounts(people)
	_, err := d.in(ctx, c.PID, "samba-tool", "domain", "provision", "--realm="+d.Realm, "--domain="+d.NetBIOS,
		"--server-role=dc", "--dns-backend=SAMBA_INTERNAL", "--adminpass="+d.Admin.Password,
		"--host-name="+c.Name, "--host-ip="+c.Addr, "--targetdir="+c.Dir, "--option=interfaces=lo eth1", "--option=bind interfaces only=yes")
	if err != nil {
		return err
	}
	if err := d.configure(c); err != nil {
		return err
	}
	sam, conf := filepath.Join(c.Dir, "private", "sam.ldb"), "--configfile="+c.conf()
	if _, err := d.in(ctx, c.PID, "samba-tool", "domain", "passwordsettings", "set", conf, "-H", sam,
		"--min-pwd-age=0", "--account-lockout-threshold=3", "--account-lockout-duration=30", "--reset-account-lockout-after=30"); err != nil {
		return fmt.Errorf("set the password policy: %w", err)
	}
	for _, f := range []struct {
		program, name string
		text          []byte
	}{
		{"ldbadd", "schema", d.schema()},
		{"ldbmodify", "classes", fmt.Appendf(nil, "dn: CN=User,CN=Schema,CN=Configuration,%s\nchangetype: modify\nadd: mayContain\nmayContain: msDS-KeyCredentialLink\n\n"+
			"dn: CN=Top,CN=Schema,CN=Configuration,%[1]s\nchangetype: modify\nadd: mayContain\nmayContain: msDS-KeyCredentialLink-BL\n", d.BaseDN)},
		{"ldbadd", "objects", d.objects()},
	} {
		ldif := filepath.Join(d.Dir, f.name+".ldif")
		if err := os.WriteFile(ldif, f.text, 0o600); err != nil {
			return err
		}
		if _, err := d.in(ctx, c.PID, f.program, conf, "--option=dsdb:schema update allowed=yes", "-H", sam, ldif); err != nil {
			return fmt.Errorf("add the %s: %w", f.name, err)
		}
	}
	if err := d.delegate(ctx, c, sam); err != nil {
		return fmt.Errorf("delegate: %w", err)
	}
	return d.kerberos()
}

// accounts makes up everybody, with random passwords.
func (d *Domain) accounts(people int) {
	for n := range people {
		given, family := givenNames[n%len(givenNames)], familyNames[n/len(givenNames)%len(familyNames)]
		sam := strings.ToLower(given+"."+family) + fmt.Sprintf(".%03d", n)
		d.People = append(d.People, d.account(sam, fmt.Sprintf("CN=%s %s %03d,OU=Staff", given, family, n)))
	}
	d.Tier0 = d.account("t0.operator", "CN=Tier 0 Operator,OU=Admins")
	d.Containment = d.account("svc-containment", "CN=Containment,OU=Service")
	d.Reader = d.account("svc-reader", "CN=Reader,OU=Service")
	d.Admin = Account{SAM: "Administrator", UPN: "Administrator@" + d.Name, DN: "CN=Administrator,CN=Users," + d.BaseDN, Password: password()}
}

func (d *Domain) account(sam, rdn string) Account {
	return Account{SAM: sam, UPN: sam + "@" + d.Name, DN: rdn + "," + d.BaseDN, Password: password()}
}

// The names are common ones of many countries and stand for nobody.
var (
	givenNames  = []string{"Ana", "Ben", "Chen", "Dara", "Emil", "Fatma", "Goran", "Hana", "Ivan", "Jin", "Kofi", "Lena", "Mina", "Noor", "Omar"}
	familyNames = []string{"Abe", "Brand", "Costa", "Diaz", "Eriksen", "Farah", "Grant", "Hoxha", "Ito", "Jansen", "Kaya", "Lund", "Marin", "Novak"}
)

// password returns a random one that meets the policy.
func password() string {
	return "Aa1!" + rand.Text()
}

// schema is what Windows Server 2016 has for key credentials and Samba's newest
// schema has not: msDS-KeyCredentialLink with its back link (MS-ADA2 2.361).
func (d *Domain) schema() []byte {
	var b bytes.Buffer
	for _, a := range []struct{ cn, name, oid, syntax, class, link, guid string }{
		{"ms-DS-Key-Credential-Link", "msDS-KeyCredentialLink", "2328", "2.5.5.7", "KoZIhvcUAQEBCw==", "2220", "D9ZHW5BgskCfNypN6I8wYw=="},
		{"ms-DS-Key-Credential-Link-BL", "msDS-KeyCredentialLink-BL", "2329", "2.5.5.1", "KwwCh3McAIVK", "2221", "iNeKk18i7k6Tua0koVnh2w=="},
	} {
		fmt.Fprintf(&b, "dn: CN=%s,CN=Schema,CN=Configuration,%s\nobjectClass: attributeSchema\nlDAPDisplayName: %s\nattributeID: 1.2.840.113556.1.4.%s\n"+
			"attributeSyntax: %s\noMSyntax: 127\noMObjectClass:: %s\nisSingleValued: FALSE\nlinkID: %s\nschemaIDGUID:: %s\n\n",
			a.cn, d.BaseDN, a.name, a.oid, a.syntax, a.class, a.link, a.guid)
	}
	return b.Bytes()
}

// objects is everything that is added to a new domain, as LDIF.
func (d *Domain) objects() []byte {
	var b bytes.Buffer
	for _, ou := range []string{"Staff", "Service", "Groups", "Admins"} {
		fmt.Fprintf(&b, "dn: OU=%s,%s\nobjectClass: organizationalUnit\n\n", ou, d.BaseDN)
	}
	for n, a := range append([]Account{d.Tier0, d.Containment, d.Reader}, d.People...) {
		fmt.Fprintf(&b, "dn: %s\nobjectClass: user\nsAMAccountName: %s\nuserPrincipalName: %s\ndisplayName: %s\nuserAccountControl: 512\nclearTextPassword:: %s\n",
			a.DN, a.SAM, a.UPN, strings.TrimPrefix(strings.Split(a.DN, ",")[0], "CN="), utf16le(a.Password))
		if n == 1 { // the containment account signs in from nowhere but LDAP, and is nobody's delegate
			fmt.Fprintln(&b, "description: containment")
		}
		fmt.Fprintln(&b)
	}
	fmt.Fprintf(&b, "dn: CN=Finance,OU=Groups,%s\nobjectClass: group\nsAMAccountName: Finance\n", d.BaseDN)
	for _, a := range d.People {
		fmt.Fprintf(&b, "member: %s\n", a.DN)
	}
	// Quarantine is empty; Ledger too, and it is in Finance.
	fmt.Fprintf(&b, "\ndn: CN=Quarantine,OU=Groups,%s\nobjectClass: group\nsAMAccountName: Quarantine\n\n", d.BaseDN)
	fmt.Fprintf(&b, "dn: CN=Ledger,OU=Groups,%s\nobjectClass: group\nsAMAccountName: Ledger\n", d.BaseDN)
	return b.Bytes()
}

func utf16le(s string) string {
	var b bytes.Buffer
	for _, c := range utf16.Encode([]rune(s)) {
		b.Write(binary.LittleEndian.AppendUint16(nil, c))
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// The object types of MS-ADTS that the delegation names.
const (
	classUser     = "bf967aba-0de6-11d0-a285-00aa003049e2"
	classGroup    = "bf967a9c-0de6-11d0-a285-00aa003049e2"
	resetPassword = "00299570-246d-11d0-a768-00aa006e0529" // extended right User-Force-Change-Password
	groupMember   = "bf9679c0-0de6-11d0-a285-00aa003049e2"
)

// writable are the attributes of users that the containment account may write.
var writable = []string{
	"bf967a68-0de6-11d0-a285-00aa003049e2", // userAccountControl
	"bf967a0a-0de6-11d0-a285-00aa003049e2", // pwdLastSet
	"28630ebf-41d5-11d1-a9c1-0000f80367c1", // lockoutTime
	"bf967915-0de6-11d0-a285-00aa003049e2", // accountExpires
	"bf9679d7-0de6-11d0-a285-00aa003049e2", // userWorkstations
	"bf9679ab-0de6-11d0-a285-00aa003049e2", // logonHours
	"5b47d60f-6090-40b2-9f37-2a4de88f3063", // msDS-KeyCredentialLink
	"800d94d7-b7a1-42a1-b14d-7cae1423d07f", // msDS-AllowedToDelegateTo
	"3f78c3e5-f79a-46bd-a0b8-9d18116ddc79", // msDS-AllowedToActOnBehalfOfOtherIdentity
}

// delegate gives the containment account what it needs on users below OU=Staff, to
// reset passwords and write some attributes, and on groups below OU=Groups their
// members. It also fills the groups whose members exist only now.
func (d *Domain) delegate(ctx context.Context, c *DC, sam string) error {
	conf := "--configfile=" + c.conf()
	if err := d.identify(ctx, c, sam); err != nil {
		return err
	}
	sid := d.Containment.SID
	sddl := fmt.Sprintf("(OA;CIIO;CR;%s;%s;%s)", resetPassword, classUser, sid)
	for _, attr := range writable {
		sddl += fmt.Sprintf("(OA;CIIO;RPWP;%s;%s;%s)", attr, classUser, sid)
	}
	if _, err := d.in(ctx, c.PID, "samba-tool", "dsacl", "set", conf, "-H", sam, "--objectdn=OU=Staff,"+d.BaseDN, "--sddl="+sddl); err != nil {
		return err
	}
	groups := fmt.Sprintf("(OA;CIIO;RPWP;%s;%s;%s)", groupMember, classGroup, sid)
	if _, err := d.in(ctx, c.PID, "samba-tool", "dsacl", "set", conf, "-H", sam, "--objectdn=OU=Groups,"+d.BaseDN, "--sddl="+groups); err != nil {
		return err
	}
	change := fmt.Sprintf("dn: CN=Finance,OU=Groups,%s\nchangetype: modify\nadd: member\nmember: CN=Ledger,OU=Groups,%[1]s\n\n", d.BaseDN)
	change += fmt.Sprintf("dn: CN=Domain Admins,CN=Users,%s\nchangetype: modify\nadd: member\nmember: %s\n\n", d.BaseDN, d.Tier0.DN)
	// dnsupdate registers it too, but only some time after the start.
	change += fmt.Sprintf("dn: CN=%s,OU=Domain Controllers,%s\nchangetype: modify\nadd: servicePrincipalName\nservicePrincipalName: ldap/%s\n", strings.ToUpper(c.Name), d.BaseDN, c.Host)
	ldif := filepath.Join(d.Dir, "changes.ldif")
	if err := os.WriteFile(ldif, []byte(change), 0o600); err != nil {
		return err
	}
	if _, err := d.in(ctx, c.PID, "ldbmodify", conf, "-H", sam, ldif); err != nil {
		return err
	}
	return d.privilege(ctx, c)
}

// privilege lets the containment account change who may act for others on c: a
// right of each controller that no descriptor gives. It does not replicate in Samba.
func (d *Domain) privilege(ctx context.Context, c *DC) error {
	ldif := filepath.Join(c.Dir, "privilege.ldif")
	text := fmt.Sprintf("dn: sid=%s\nobjectClass: privilege\nobjectSid: %[1]s\nprivilege: SeEnableDelegationPrivilege\n", d.Containment.SID)
	if err := os.WriteFile(ldif, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := d.in(ctx, c.PID, "ldbadd", "--configfile="+c.conf(), "-H", filepath.Join(c.Dir, "private", "privilege.ldb"), ldif)
	return err
}

// identify learns the SIDs and GUIDs that the directory gave everybody.
func (d *Domain) identify(ctx context.Context, c *DC, sam string) error {
	out, err := d.in(ctx, c.PID, "ldbsearch", "--configfile="+c.conf(), "-H", sam, "(objectCategory=person)", "sAMAccountName", "objectSid", "objectGUID")
	if err != nil {
		return err
	}
	accounts := map[string]*Account{}
	for n := range d.People {
		accounts[d.People[n].SAM] = &d.People[n]
	}
	for _, a := range []*Account{&d.Admin, &d.Tier0, &d.Containment, &d.Reader} {
		accounts[a.SAM] = a
	}
	for entry := range strings.SplitSeq(out, "\n\n") {
		value := func(name string) string {
			_, rest, _ := strings.Cut(entry, "\n"+name+": ")
			v, _, _ := strings.Cut(rest, "\n")
			return v
		}
		if a := accounts[value("sAMAccountName")]; a != nil {
			a.SID, a.GUID = value("objectSid"), value("objectGUID")
		}
	}
	for name, a := range accounts {
		if !strings.HasPrefix(a.SID, "S-1-5-21-") || len(a.GUID) != 36 {
			return fmt.Errorf("the account %s was not made", name)
		}
	}
	return nil
}

func (c *DC) conf() string { return filepath.Join(c.Dir, "etc", "smb.conf") }

// configure replaces the smb.conf of a fresh controller. Everything is in the
// file: smbd and winbindd are programs of their own that read nothing else. LDAP's
// ports cannot be changed, hence a network of its own for each controller.
func (d *Domain) configure(c *DC) error {
	for _, dir := range []string{"log", "pid", "ncalrpc", "lock", "state", "cache", "bind-dns", "usershares"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	text := strings.NewReplacer("{dir}", c.Dir, "{name}", strings.ToUpper(c.Name), "{realm}", d.Realm, "{netbios}", d.NetBIOS, "{dns}", strings.ToLower(d.Realm)).Replace(`[global]
	netbios name = {name}
	realm = {realm}
	workgroup = {netbios}
	server role = active directory domain controller
	server services = s3fs, rpc, ldap, cldap, kdc, drepl, winbindd, kcc, dnsupdate, dns
	interfaces = lo eth1
	bind interfaces only = yes
	dns forwarder =
	dns update command = /bin/true
	nsupdate command = /bin/true
	load printers = no
	disable spoolss = yes
	private dir = {dir}/private
	state directory = {dir}/state
	cache directory = {dir}/cache
	lock directory = {dir}/lock
	pid directory = {dir}/pid
	ncalrpc dir = {dir}/ncalrpc
	binddns dir = {dir}/bind-dns
	usershare path = {dir}/usershares
	ldap server require strong auth = allow_sasl_over_tls
	tls keyfile = {dir}/tls/key.pem
	tls certfile = {dir}/tls/cert.pem
	tls cafile = {dir}/../ca.pem
	log file = {dir}/log/samba.log
	max log size = 0
	log level = 1 auth_json_audit:5@{dir}/log/auth.json dsdb_json_audit:5@{dir}/log/dsdb.json
	dreplsrv:periodic_startup_interval = 1
	dreplsrv:periodic_interval = 1
	dreplsrv:notify_interval = 1
	kccsrv:periodic_startup_interval = 1
	kccsrv:periodic_interval = 5

[sysvol]
	path = {dir}/state/sysvol
	read only = No

[netlogon]
	path = {dir}/state/sysvol/{dns}/scripts
	read only = No

[finance]
	path = {dir}/usershares
	valid users = @{netbios}\Finance
`)
	return os.WriteFile(c.conf(), []byte(text), 0o644)
}

// kerberos writes the clients' krb5.conf.
func (d *Domain) kerberos() error {
	text := fmt.Sprintf("[libdefaults]\n default_realm = %s\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n dns_canonicalize_hostname = false\n[realms]\n %s = {\n", d.Realm, d.Realm)
	for _, c := range d.Controllers {
		text += "  kdc = " + c.Addr + ":88\n"
	}
	text += fmt.Sprintf(" }\n[domain_realm]\n .%s = %s\n", d.Name, d.Realm)
	return os.WriteFile(d.Krb5, []byte(text), 0o644)
}

// join makes c a second controller of the domain that the first one serves.
func (d *Domain) join(ctx context.Context, c *DC) error {
	_, err := d.in(ctx, c.PID, "samba-tool", "domain", "join", d.Name, "DC", "--targetdir="+c.Dir,
		"--server="+d.Controllers[0].Host, "--dns-backend=SAMBA_INTERNAL", "--option=netbios name="+strings.ToUpper(c.Name),
		"--option=interfaces=lo eth1", "--option=bind interfaces only=yes", "-U", d.Admin.SAM+"%"+d.Admin.Password)
	if err != nil {
		return err
	}
	if err := d.configure(c); err != nil {
		return err
	}
	return d.privilege(ctx, c)
}

// run starts Samba on c and waits until it answers over TLS. A controller that is
// forgotten ends by itself after an hour.
func (d *Domain) run(ctx context.Context, c *DC) error {
	log, err := os.Create(filepath.Join(c.Dir, "log", "samba.out"))
	if err != nil {
		return err
	}
	defer log.Close()
	// It lives until its space ends, not until ctx does.
	cmd := d.command(context.WithoutCancel(ctx), c.PID, "samba", "--foreground", "--no-process-group", "-M", "standard",
		"--configfile="+c.conf(), "--maximum-runtime=3600")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.Host, err)
	}
	alive, cancel := context.WithCancel(ctx)
	d.waits.Go(func() { _ = cmd.Wait(); cancel() })
	if err := until(alive, 60*time.Second, func() error {
		_, err := d.in(ctx, d.Station, "ldapsearch", "-x", "-LLL", "-H", "ldaps://"+c.Host, "-s", "base", "-b", "", "defaultNamingContext")
		return err
	}); err != nil {
		text, _ := os.ReadFile(filepath.Join(c.Dir, "log", "samba.log"))
		return fmt.Errorf("start %s: no answer over LDAPS: %w; its log ends: %s", c.Host, err, text[max(0, len(text)-600):])
	}
	return nil
}

// await waits until what is written on c arrives on the first controller: the
// way there joined last, and the topology generator has yet to draw it.
func (d *Domain) await(ctx context.Context, c *DC) error {
	mark := "replicates since " + rand.Text()
	if err := d.Modify(ctx, c, fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: description\ndescription: %s\n", d.Reader.DN, mark)); err != nil {
		return err
	}
	err := until(ctx, 90*time.Second, func() error {
		e, err := d.Read(ctx, d.Controllers[0], d.Reader.DN, "description")
		if err == nil && e["description"] != mark {
			err = fmt.Errorf("%s has not heard of a change made on %s", d.Controllers[0].Host, c.Host)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for replication: %w", err)
	}
	return nil
}

// until calls ask four times a second until it returns nil.
func until(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// output runs c and returns what it printed; an error carries both streams' ends.
func output(c *exec.Cmd) (string, error) {
	var out, said bytes.Buffer
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		text := strings.TrimSpace(out.String() + said.String())
		return out.String(), errors.Join(fmt.Errorf("%s: %w", filepath.Base(c.Path), err), errors.New(text[max(0, len(text)-800):]))
	}
	return out.String(), nil
}
