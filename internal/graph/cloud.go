package graph

import "strings"

// A Cloud is one of Microsoft's national clouds: where its tenants sign in and
// where their Graph is. A tenant exists in exactly one.
type Cloud struct {
	Name      string // as configuration writes it
	LoginURL  string // the Entra authority, without a tenant
	GraphURL  string // the Graph root, without a version
	PortalURL string // the Entra admin centre, for links; "" where none is published
	EventHubs string // DNS suffix of Event Hubs namespaces; "" where none is published

	// aliases are further hosts that the authority's own metadata may name.
	aliases []string
}

// Clouds returns the clouds that configuration can name. Hosts: Microsoft,
// "National cloud deployments"; the three sovereign clouds as Microsoft's own
// client libraries list them.
func Clouds() []Cloud {
	return []Cloud{
		{Name: "global", LoginURL: "https://login.microsoftonline.com", GraphURL: "https://graph.microsoft.com",
			PortalURL: "https://entra.microsoft.com", EventHubs: "servicebus.windows.net"},
		{Name: "usgov", LoginURL: "https://login.microsoftonline.us", GraphURL: "https://graph.microsoft.us",
			PortalURL: "https://entra.microsoft.us", EventHubs: "servicebus.usgovcloudapi.net"},
		{Name: "dod", LoginURL: "https://login.microsoftonline.us", GraphURL: "https://dod-graph.microsoft.us",
			PortalURL: "https://entra.microsoft.us", EventHubs: "servicebus.usgovcloudapi.net"},
		{Name: "china", LoginURL: "https://login.chinacloudapi.cn", GraphURL: "https://microsoftgraph.chinacloudapi.cn",
			PortalURL: "https://entra.microsoftonline.cn", EventHubs: "servicebus.chinacloudapi.cn",
			aliases: []string{"login.partner.microsoftonline.cn"}},
		{Name: "france", LoginURL: "https://login.sovcloud-identity.fr", GraphURL: "https://graph.svc.sovcloud.fr"},
		{Name: "germany", LoginURL: "https://login.sovcloud-identity.de", GraphURL: "https://graph.svc.sovcloud.de"},
		{Name: "singapore", LoginURL: "https://login.sovcloud-identity.sg", GraphURL: "https://graph.svc.sovcloud.sg"},
	}
}

// CloudNamed returns the cloud of that name; "" is the global one.
func CloudNamed(name string) (Cloud, bool) {
	if name == "" {
		name = "global"
	}
	for _, c := range Clouds() {
		if c.Name == name {
			return c, true
		}
	}
	return Cloud{}, false
}

func cloudNames() string {
	var names []string
	for _, c := range Clouds() {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}
