package cef

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Config says where syslog is listened for, and whose is taken.
type Config struct {
	// Name is the feed's, behind "syslog."; protocol and port when empty.
	Name     string `yaml:"name"`
	Protocol string `yaml:"protocol"` // tcp, tls or udp; tcp when empty
	Listen   string `yaml:"listen"`   // HOST:PORT
	// CertFile and KeyFile are for tls. They are read again for each connection.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ClientCAFile lets in only senders with a certificate of these authorities.
	ClientCAFile string `yaml:"client_ca_file"`
	// Allow lists addresses and networks whose messages are taken; loopback when
	// empty.
	Allow []string `yaml:"allow"`
	// Expect is how often something comes when all is well; 0: 24 hours; negative: no
	// alarm is raised.
	Expect time.Duration `yaml:"expect"`
}

func (c Config) protocol() string { return cmp.Or(c.Protocol, "tcp") }

// Feed is the name of the feed.
func (c Config) Feed() connector.Name {
	_, port, _ := net.SplitHostPort(c.Listen)
	return connector.Name("syslog." + strings.ToLower(cmp.Or(c.Name, c.protocol()+"-"+port)))
}

// Interval is how often something is expected; zero: nothing is.
func (c Config) Interval() time.Duration { return max(0, cmp.Or(c.Expect, 24*time.Hour)) }

// Check returns every mistake, each with its key in front, without a network.
func (c Config) Check() error {
	var errs []error
	add := func(key, format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, key+": "+format, args...))
	}
	switch p := c.protocol(); {
	case p != "tcp" && p != "tls" && p != "udp":
		add("protocol", "%q is not one of tcp, tls, udp", p)
	case p == "tls" && (c.CertFile == "" || c.KeyFile == ""):
		add("cert_file", "tls needs cert_file and key_file")
	case p != "tls" && (c.CertFile != "" || c.KeyFile != "" || c.ClientCAFile != ""):
		add("protocol", "certificates are for tls; this is %s", p)
	}
	host, _, err := net.SplitHostPort(c.Listen)
	ip := net.ParseIP(host)
	switch {
	case err != nil:
		add("listen", "%q is not HOST:PORT", c.Listen)
	case len(c.Allow) == 0 && host != "localhost" && (ip == nil || !ip.IsLoopback()):
		add("allow", "none, and %s is not loopback: name the sensors whose messages are taken", c.Listen)
	}
	if _, err := c.allow(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c Config) allow() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, a := range c.Allow {
		p, err := netip.ParsePrefix(a)
		if err != nil {
			ip, err := netip.ParseAddr(a)
			if err != nil {
				return nil, fault.Errorf(fault.Invalid, "allow: %q is neither an address nor a network such as 192.0.2.0/24", a)
			}
			p = netip.PrefixFrom(ip, ip.BitLen())
		}
		out = append(out, p)
	}
	return out, nil
}

// Options returns what of a listener's options is configuration.
func (c Config) Options() (Options, error) {
	o := Options{Name: c.Feed(), Protocol: c.protocol(), Address: c.Listen}
	var err error
	if o.Allow, err = c.allow(); err != nil || o.Protocol != "tls" {
		return o, err
	}
	load := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		return &pair, err
	}
	if _, err := load(nil); err != nil {
		return o, fault.Errorf(fault.Invalid, "syslog %s: %w", c.Feed(), err)
	}
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: load}
	if c.ClientCAFile == "" {
		return o, nil
	}
	pem, err := os.ReadFile(c.ClientCAFile)
	if err != nil {
		return o, fault.Errorf(fault.Invalid, "syslog %s: client_ca_file: %w", c.Feed(), err)
	}
	o.TLS.ClientCAs, o.TLS.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !o.TLS.ClientCAs.AppendCertsFromPEM(pem) {
		return o, fault.Errorf(fault.Invalid, "syslog %s: client_ca_file: %s holds no certificate", c.Feed(), c.ClientCAFile)
	}
	return o, nil
}
