// Package kafka reads Azure Event Hubs live, over the Kafka protocol, which they speak,
// and hands what comes to eventhub to be read. It does not store.
package kafka

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

// Config says which event hubs are read and how. Event Hubs speak the Kafka protocol
// in the Standard, Premium and Dedicated tiers, not in Basic.
type Config struct {
	// Name is the feed's, behind "eventhub."; the first hub's when empty.
	Name string `yaml:"name"`
	// ConnectionString is of the namespace or of one hub, with the right to listen:
	// "Endpoint=sb://…/;SharedAccessKeyName=…;SharedAccessKey=…". It is read again
	// with each connection.
	ConnectionString secret.Ref `yaml:"connection_string"`
	// Hubs are the names of the event hubs; Entra's own are insights-logs-… with the
	// category in lower case.
	Hubs []string `yaml:"hubs"`
	// Group is the consumer group; "cordon" when empty. All replicas use one.
	Group string `yaml:"group"`
	// Brokers replaces the endpoint of the connection string, as HOST:PORT.
	Brokers []string `yaml:"brokers"`
	CAFile  string   `yaml:"ca_file"` // PEM certificates to trust in place of the system's
	// Expect is how often something comes when all is well. 0: that the namespace
	// answers is enough.
	Expect time.Duration `yaml:"expect"`
}

// Feed is the name of the feed.
func (c Config) Feed() connector.Name {
	name := c.Name
	if name == "" && len(c.Hubs) > 0 {
		name = c.Hubs[0]
	}
	return connector.Name("eventhub." + strings.ToLower(name))
}

// Check returns every mistake, each with its key in front, without a network.
func (c Config) Check() error {
	var errs []error
	add := func(key, format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, key+": "+format, args...))
	}
	if c.ConnectionString == "" {
		add("connection_string", "missing: a reference such as env:CORDON_EVENT_HUB")
	} else if err := c.ConnectionString.Check(); err != nil {
		add("connection_string", "%w", err)
	}
	if len(c.Hubs) == 0 {
		add("hubs", "none; name the event hubs, such as insights-logs-userriskevents")
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			add("brokers", "%q is not HOST:PORT", b)
		}
	}
	if c.Expect < 0 {
		add("expect", "%s is negative", c.Expect)
	}
	return errors.Join(errs...)
}

// endpoint reads the connection string and returns it with the brokers to speak to.
// No error holds any part of it but the host.
func (c Config) endpoint() (connection string, brokers []string, err error) {
	connection, err = c.ConnectionString.Read()
	if err != nil {
		return "", nil, err
	}
	if len(c.Brokers) > 0 {
		return connection, c.Brokers, nil
	}
	for _, part := range strings.Split(connection, ";") {
		name, value, _ := strings.Cut(part, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "Endpoint") {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || u.Hostname() == "" {
			break
		}
		return connection, []string{net.JoinHostPort(u.Hostname(), "9093")}, nil
	}
	return "", nil, fault.Errorf(fault.Invalid, "secret %s: no connection string: it has no Endpoint=sb://NAMESPACE.servicebus.windows.net/", c.ConnectionString)
}
