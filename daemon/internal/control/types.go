// SPDX-License-Identifier: Apache-2.0

package control

import (
	_ "embed"
	"time"

	"penstock/daemon/internal/view"
)

// Interface is the name of the interface that a daemon has, beside that of all Varlink
// services.
const Interface = "penstock.Control"

// StandardInterface is that of all Varlink services.
const StandardInterface = "org.varlink.service"

// MetricsInterface is that of systemd-report.
const MetricsInterface = "io.systemd.Metrics"

// Descriptions are those of all interfaces of a daemon.
var Descriptions = map[string]string{
	Interface: Description, StandardInterface: StandardDescription, MetricsInterface: MetricsDescription,
}

// MetricsDescription is that of io.systemd.Metrics, as systemd has it.
//
//go:embed io.systemd.Metrics.varlink
var MetricsDescription string

// Description is the interface in Varlink's own language.
//
//go:embed penstock.Control.varlink
var Description string

// StandardDescription is that of org.varlink.service, as it is published.
//
//go:embed org.varlink.service.varlink
var StandardDescription string

// The types of replies and parameters that view does not have. They are in the order of
// the description.

// A Status is the reply of Status: the process, and sums over its services.
type Status struct {
	Version     string        `json:"version"`
	PID         int           `json:"pid"`
	Uptime      time.Duration `json:"uptime_ns"`
	Phase       string        `json:"phase"`
	Managed     bool          `json:"managed"`
	Refused     string        `json:"refused,omitempty"`
	Restored    time.Time     `json:"restored,omitzero"`
	Services    int           `json:"services"`
	Connections int           `json:"connections"`
	Limit       int           `json:"limit"`
	Degraded    []string      `json:"degraded"`
	Loop        view.Loop     `json:"loop"`

	Companions []view.Companion `json:"companions"`
}

// StatusOf returns what a snapshot says of the process.
func StatusOf(s *view.Snapshot) Status {
	degraded := s.Degraded()
	if degraded == nil {
		degraded = []string{} // an array, and not null
	}
	companions := s.Companions
	if companions == nil {
		companions = []view.Companion{}
	}
	return Status{
		Version: s.Version, PID: s.PID, Uptime: s.Uptime, Phase: s.Phase, Managed: s.Managed,
		Refused: s.Refused, Restored: s.Restored,
		Services: s.InForce(), Connections: s.Clients(), Limit: s.Limit, Degraded: degraded, Loop: s.Loop, Companions: companions,
	}
}

// Snapshot returns the snapshot that the status is of, as far as it is known, with the
// given services.
func (s *Status) Snapshot(services []view.Service) *view.Snapshot {
	return &view.Snapshot{
		Version: s.Version, PID: s.PID, Uptime: s.Uptime, Phase: s.Phase, Managed: s.Managed,
		Refused: s.Refused, Restored: s.Restored, Limit: s.Limit, Loop: s.Loop, Companions: s.Companions, Services: services,
	}
}

// A ServiceFilter is the parameter of Services and List: one service, or "" for all.
type ServiceFilter struct {
	Service string `json:"service,omitempty"`
}

// Services is a reply of Services.
type Services struct {
	Services []view.Service `json:"services"`
}

// Connections is a reply of List.
type Connections struct {
	Connections []view.Conn `json:"connections"`
}

// A Target is the parameter of Connect.
type Target struct {
	Service string `json:"service"`
	Peer    string `json:"peer,omitempty"` // "192.0.2.1:4000"; "": the caller itself
}

// A Kick is the parameters of Kick: a number, or a service and a peer.
type Kick struct {
	ID      uint64 `json:"id,omitempty"`
	Service string `json:"service,omitempty"`
	Peer    string `json:"peer,omitempty"`
}

// Kicked is the reply of Kick.
type Kicked struct {
	Kicked int `json:"kicked"`
}

// A Drain is the parameters of Drain.
type Drain struct {
	Service string `json:"service"`
	Now     bool   `json:"now,omitempty"`
}

// A Resume is the parameter of Resume.
type Resume struct {
	Service string `json:"service"`
}

// Reloaded is the reply of Reload: the status line.
type Reloaded struct {
	Status string `json:"status"`
}

// A LogLevel is the parameter of SetLogLevel.
type LogLevel struct {
	Level string `json:"level"`
}

// Info is the reply of org.varlink.service.GetInfo.
type Info struct {
	Vendor     string   `json:"vendor"`
	Product    string   `json:"product"`
	Version    string   `json:"version"`
	URL        string   `json:"url"`
	Interfaces []string `json:"interfaces"`
}

// An InterfaceName is the parameter of GetInterfaceDescription.
type InterfaceName struct {
	Interface string `json:"interface"`
}

// A DescriptionReply is the reply of GetInterfaceDescription.
type DescriptionReply struct {
	Description string `json:"description"`
}
