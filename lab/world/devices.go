package world

import (
	"fmt"
	"strings"
)

// device is one registered device; it is replaced, never changed.
type device struct {
	pos          int
	id, deviceID string
	name         string
	os, version  string
	owner        string // user id
	trust        string // AzureAd, ServerAd, Workplace
	enabled      bool
	compliant    bool
	registered   int64
	seen         int64
}

// devices is the devices collection.
type devices struct {
	list       []*device
	byID       map[string]int
	byDeviceID map[string]int
}

func (d *devices) span() int       { return len(d.list) }
func (d *devices) count() int      { return len(d.list) }
func (d *devices) at(pos int) Item { return d.list[pos] }
func (d *devices) find(key string) (Item, bool) {
	if pos, ok := d.byID[strings.ToLower(key)]; ok {
		return d.list[pos], true
	}
	return nil, false
}
func (d *devices) findBy(property, value string) (Item, bool) {
	if property != "deviceId" {
		return nil, false
	}
	if pos, ok := d.byDeviceID[strings.ToLower(value)]; ok {
		return d.list[pos], true
	}
	return nil, false
}

func (d *devices) add(x *device) {
	x.pos = len(d.list)
	d.list = append(d.list, x)
	d.byID[x.id], d.byDeviceID[x.deviceID] = x.pos, x.pos
}

func (d *devices) edit(pos int, change func(*device)) {
	next := *d.list[pos]
	change(&next)
	d.list[pos] = &next
}

func (d *device) ID() string { return d.id }

// Value renders one property.
func (d *device) Value(p string) (any, bool) {
	switch p {
	case "id":
		return d.id, true
	case "deviceId":
		return d.deviceID, true
	case "accountEnabled":
		return d.enabled, true
	case "displayName":
		return d.name, true
	}
	v, ok := d.Object()[p]
	return v, ok
}

// Object renders the device.
func (d *device) Object() Object {
	o := Object{
		"id": d.id, "deviceId": d.deviceID, "deletedDateTime": nil, "accountEnabled": d.enabled, "displayName": d.name,
		"operatingSystem": d.os, "operatingSystemVersion": d.version, "trustType": d.trust, "isCompliant": d.compliant,
		"isManaged": d.trust != "Workplace", "deviceOwnership": "Company", "profileType": "RegisteredDevice",
		"registrationDateTime": second(d.registered), "approximateLastSignInDateTime": second(d.seen),
		"onPremisesSyncEnabled": nil, "physicalIds": []any{}, "systemLabels": []any{},
	}
	if d.trust == "Workplace" {
		o["deviceOwnership"] = "Personal"
	}
	if d.trust == "ServerAd" {
		o["onPremisesSyncEnabled"] = true
	}
	return o
}

func (c *change) patchDevice(id string, patch Object) error {
	pos, ok := c.w.devices.byID[strings.ToLower(id)]
	if !ok {
		return errNotFound(id)
	}
	var enabled bool
	for name, v := range patch {
		b, ok := v.(bool)
		switch {
		case strings.HasPrefix(name, "@"):
		case name != "accountEnabled":
			return errBad("Property '%s' cannot be set on a device.", name)
		case !ok:
			return errBad("Invalid value specified for property 'accountEnabled' of resource 'Device'.")
		default:
			enabled = b
		}
	}
	c.setDevice(pos, enabled)
	return nil
}

func (c *change) setDevice(pos int, enabled bool) {
	d := c.w.devices.list[pos]
	c.did("devices/"+d.id, "accountEnabled", d.enabled, enabled)
	if d.enabled == enabled {
		return
	}
	c.w.devices.edit(pos, func(d *device) { d.enabled = enabled })
	c.audit("Device", fmt.Sprintf("Update device (%s)", enabledActivity(enabled)), "Update",
		Object{"id": d.id, "displayName": d.name, "userPrincipalName": nil, "type": "Device"},
		[]Object{modified("AccountEnabled", d.enabled, enabled)})
}
