package directory_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

func client2(t *testing.T, c directory.Config, o directory.Options) *directory.Client {
	t.Helper()
	cl, err := directory.New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

// silent is a network on which everybody takes a connection and says nothing.
func silent(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	context.AfterFunc(ctx, func() { far.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			if _, err := far.Read(b); err != nil {
				return
			}
		}
	}()
	return near, nil
}

// A fake plays controllers that Samba cannot be: read-only ones, busy ones, ones
// that answer nonsense. It knows just enough LDAP for that.
type fake struct {
	readOnly bool
	ntds     []entry // NTDS settings and servers
	found    []entry // what any search below the domain finds
	modify   uint16  // result code of every write
	garbage  bool    // answers to searches are noise

	cert tls.Certificate
	pool string

	mu     sync.Mutex
	writes int
}

type entry struct {
	dn    string
	attrs map[string][]string
}

const fakeDN = "DC=corp,DC=example"

func newFake(t *testing.T) *fake {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, DNSNames: []string{"rodc.corp.example", "rw.corp.example"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &fake{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool: file}
}

func (f *fake) config(t *testing.T, dcs ...string) directory.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("a-password"), 0o600); err != nil {
		t.Fatal(err)
	}
	return directory.Config{Domain: "corp.example", DCs: dcs, CAFile: f.pool, Bind: directory.Bind{UPN: "svc@corp.example", Password: secret.Ref("file:" + file)}}
}

func (f *fake) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	go f.serve(tls.Server(far, &tls.Config{Certificates: []tls.Certificate{f.cert}}))
	return near, nil
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	for {
		p, err := ber.ReadPacket(conn)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			conn.Write(message(id, result(ldap.ApplicationBindResponse, 0)))
		case ldap.ApplicationSearchRequest:
			base := op.Children[0].Value.(string)
			if f.garbage && base != "" {
				conn.Write([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00})
				return
			}
			for _, e := range f.entries(base) {
				conn.Write(message(id, e.packet()))
			}
			conn.Write(message(id, result(ldap.ApplicationSearchResultDone, 0)))
		case ldap.ApplicationModifyRequest:
			f.mu.Lock()
			f.writes++
			f.mu.Unlock()
			conn.Write(message(id, result(ldap.ApplicationModifyResponse, f.modify)))
		default:
			return
		}
	}
}

func (f *fake) entries(base string) []entry {
	switch {
	case base == "":
		root := entry{attrs: map[string][]string{"defaultNamingContext": {fakeDN}, "configurationNamingContext": {"CN=Configuration," + fakeDN}}}
		if f.readOnly {
			root.attrs["supportedCapabilities"] = []string{"1.2.840.113556.1.4.800", "1.2.840.113556.1.4.1920"}
		}
		return []entry{root}
	case strings.HasPrefix(base, "CN=Sites,"):
		return f.ntds
	case base == fakeDN:
		return f.found
	}
	return nil
}

func message(id int64, op *ber.Packet) []byte {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	return p.Bytes()
}

func result(tag ber.Tag, code uint16) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "said the fake, whose bind password is a-password", ""))
	return p
}

func (e entry) packet() *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, e.dn, ""))
	list := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for name, values := range e.attrs {
		a := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		a.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, name, ""))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, v, ""))
		}
		a.AppendChild(set)
		list.AppendChild(a)
	}
	p.AppendChild(list)
	return p
}

// topology is what the directory shows of a writable and a read-only controller.
func topology(writable, readOnly bool) []entry {
	var out []entry
	add := func(name, class, holds string) {
		server := "CN=" + name + ",CN=Servers,CN=Default-First-Site-Name,CN=Sites,CN=Configuration," + fakeDN
		out = append(out, entry{server, map[string][]string{"dNSHostName": {name + ".corp.example"}}},
			entry{"CN=NTDS Settings," + server, map[string][]string{"objectClass": {"top", class}, holds: {fakeDN}}})
	}
	if readOnly {
		add("rodc", "nTDSDSARO", "msDS-hasFullReplicaNCs")
	}
	if writable {
		add("rw", "nTDSDSA", "msDS-hasMasterNCs")
	}
	return out
}

const someGUID = "00000000-0000-4000-8000-000000000001"

func TestReadOnlyControllersTakeNoWrite(t *testing.T) {
	t.Parallel()
	m := directory.Modification{GUID: someGUID, Changes: directory.Swap("userAccountControl", "512", "514")}
	f := newFake(t)
	f.readOnly, f.ntds = true, topology(false, true)
	cl := client2(t, f.config(t, "rodc.corp.example"), directory.Options{Dial: f.dial})
	if _, err := cl.Modify(t.Context(), m); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no writable controller") {
		t.Errorf("a domain without a writable controller: %v", err)
	}
	// The list says that it is writable and it says itself that it is not.
	f.ntds = topology(true, true)
	m.DC = "rw.corp.example"
	if _, err := cl.Modify(t.Context(), m); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a read-only controller asked by name: %v", err)
	}
	if f.writes != 0 {
		t.Errorf("%d writes reached it", f.writes)
	}
	cs, err := cl.Controllers(t.Context())
	if err != nil || len(cs) != 2 || cs[0].Host != "rw.corp.example" || cs[0].ReadOnly || !cs[1].ReadOnly {
		t.Errorf("controllers %+v, %v: the writable one first", cs, err)
	}
}

func TestResultCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[uint16]fault.Kind{
		ldap.LDAPResultReferral: fault.Unavailable, ldap.LDAPResultNoSuchAttribute: fault.Conflict, ldap.LDAPResultConstraintViolation: fault.Invalid,
		ldap.LDAPResultAttributeOrValueExists: fault.Conflict, ldap.LDAPResultNoSuchObject: fault.NotFound, ldap.LDAPResultInsufficientAccessRights: fault.Denied,
		ldap.LDAPResultBusy: fault.Unavailable, ldap.LDAPResultUnavailable: fault.Unavailable, ldap.LDAPResultUnwillingToPerform: fault.Invalid,
		ldap.LDAPResultEntryAlreadyExists: fault.Conflict, ldap.LDAPResultStrongAuthRequired: fault.Denied,
		ldap.LDAPResultOther: fault.Unknown, ldap.LDAPResultTimeLimitExceeded: fault.Unknown,
	} {
		f := newFake(t)
		f.ntds, f.modify = topology(true, false), code
		cl := client2(t, f.config(t, "rw.corp.example"), directory.Options{Dial: f.dial})
		_, err := cl.Modify(t.Context(), directory.Modification{GUID: someGUID, Changes: directory.Swap("a", "1", "2"), Secrets: []string{"a-password"}})
		e := (*directory.Error)(nil)
		if !errors.As(err, &e) || fault.KindOf(err) != want || e.Code != code || e.DC != "rw.corp.example" {
			t.Errorf("code %d: %v (%s), want %s", code, err, fault.KindOf(err), want)
		}
		if e != nil && strings.Contains(e.Text, "a-password") {
			t.Errorf("code %d: the secret came back in %q", code, e.Text)
		}
		if f.writes != 1 {
			t.Errorf("code %d: %d writes, want one", code, f.writes)
		}
	}
}

func TestTwoOfOneNameAreNobody(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.ntds = topology(true, false)
	for _, n := range []string{"0123456789abcdef", "fedcba9876543210"} {
		f.found = append(f.found, entry{"CN=" + n + "," + fakeDN, map[string][]string{"objectGUID": {n}, "objectClass": {"user"}}})
	}
	cl := client2(t, f.config(t, "rw.corp.example"), directory.Options{Dial: f.dial})
	if o, err := cl.Find(t.Context(), "anna@corp.example"); !errors.Is(err, fault.Conflict) {
		t.Errorf("found %q, %v; want a conflict", o.DN, err)
	}
}

func TestNonsenseIsNoAnswer(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.garbage = true
	cl := client2(t, f.config(t, "rw.corp.example"), directory.Options{Dial: f.dial})
	if o, err := cl.Find(t.Context(), "anna@corp.example"); !errors.Is(err, fault.Unavailable) {
		t.Errorf("found %q, %v; want unavailable", o.DN, err)
	}
}
