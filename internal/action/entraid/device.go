package entraid

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A device is Graph's device, the fields we use, under its names.
type device struct {
	ID                    string `json:"id"`
	DisplayName           string `json:"displayName,omitempty"`
	AccountEnabled        *bool  `json:"accountEnabled,omitempty"`
	OnPremisesSyncEnabled *bool  `json:"onPremisesSyncEnabled,omitempty"`
}

const paramDevices = "devices"

func (d directory) devices(spec action.Spec, want bool) *chores[device] {
	spec.Version, spec.Provider = 1, identity.EntraID
	spec.Permissions = []string{"Device.ReadWrite.All", "User.Read.All"}
	spec.Batch, spec.Bucket, spec.Propagation, spec.Within = 1, action.BucketDirectoryWrite, 30*time.Second, 5*time.Minute
	spec.Proof = "`accountEnabled` of each of the recorded devices has the wanted value."
	return &chores[device]{
		directory: d, spec: spec,
		read: func(ctx context.Context, id string, _ action.Request) ([]device, time.Time, error) {
			found, at, err := collect(ctx, d.graph, graph.Request{
				Path: graph.Path("users", id, "registeredDevices"), Priority: graph.High,
				Query: url.Values{"$select": {"id,displayName,accountEnabled,onPremisesSyncEnabled"}, "$top": {"999"}},
			}, func(v device) string { return v.ID })
			var out []device
			for _, v := range found {
				out = append(out, v)
			}
			if err != nil {
				err = fmt.Errorf("read the registered devices: %w", err)
			}
			return out, at, err
		},
		// A device that Active Directory masters is left: the next synchronisation
		// would undo it.
		todo: func(r action.Request, there []device) (left []device, refuse string, err error) {
			only, err := ids(r, paramDevices, func(id string) bool { return isGUID(strings.ToLower(id)) })
			if err == nil && want && len(only) == 0 {
				err = fault.Errorf(fault.Invalid, "%s: no device is named that could be enabled", paramDevices)
			}
			if err != nil {
				return nil, "", err
			}
			synced := 0
			for _, v := range there {
				switch {
				case len(only) > 0 && !slices.ContainsFunc(only, func(id string) bool { return strings.EqualFold(id, v.ID) }):
				case v.AccountEnabled != nil && *v.AccountEnabled == want:
				case v.OnPremisesSyncEnabled != nil && *v.OnPremisesSyncEnabled:
					synced++
				default:
					left = append(left, v)
				}
			}
			if len(left) == 0 && synced > 0 {
				refuse = fmt.Sprintf("%d devices are mastered in Active Directory: the next synchronisation would undo it", synced)
			}
			return left, refuse, nil
		},
		write: func(_ string, _ action.Request, v device) graph.Request {
			return graph.Request{Method: http.MethodPatch, Path: graph.Path("devices", v.ID), Body: map[string]bool{"accountEnabled": want}}
		},
		key:  func(v device) string { return strings.ToLower(v.ID) },
		text: func(list []device) string { return listed(list, func(v device) string { return line(v.DisplayName) }) },
	}
}

func deviceIDs(list []device) map[string]any {
	var out []string
	for _, v := range list {
		out = append(out, v.ID)
	}
	return map[string]any{paramDevices: strings.Join(out, ",")}
}

func disableDevices(d directory) action.Type {
	c := d.devices(action.Spec{
		Name: DisableDevices, Effect: action.EffectRestrict, Undo: EnableDevices,
		Title:    "Disable the registered devices",
		Summary:  "No device that is registered to the person gets tokens in its own name.",
		Remedies: []signal.Cause{signal.CauseDevice},
		Limits:   "The primary refresh token of a device ends with it, so that the person signs in anew on another one. Files and local accounts of the device are out of reach. Devices mastered in Active Directory are left. Others who use the device are hit as well.",
		Params:   action.Params{{Name: paramDevices, Type: "string", Text: "Only these: object ids, comma-separated; without it all."}},
	}, false)
	c.already = "no enabled device is registered"
	return reversible[device]{c, deviceIDs}
}

func enableDevices(d directory) action.Type {
	c := d.devices(action.Spec{
		Name: EnableDevices, Effect: action.EffectRelease, Undo: DisableDevices,
		Title:   "Enable registered devices",
		Summary: "The named devices get tokens again.",
		Limits:  "Only devices that are still registered to the person.",
		Params:  action.Params{{Name: paramDevices, Type: "string", Required: true, Text: "Object ids of the devices, comma-separated."}},
	}, true)
	c.already = "the devices are enabled"
	return reversible[device]{c, deviceIDs}
}
