// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
	"testing"
)

func TestAdmits(t *testing.T) {
	local := Subnets{Networks: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("fe80::/10")}}
	tests := []struct {
		name        string
		allow, deny []any
		addr        string
		want        bool
	}{
		{"no list admits everybody", nil, nil, "8.8.8.8", true},
		{"allow shuts out the rest", []any{"10.0.0.0/8"}, nil, "8.8.8.8", false},
		{"allow lets in", []any{"10.0.0.0/8"}, nil, "10.1.2.3", true},
		{"a single address", []any{"10.1.2.3"}, nil, "10.1.2.3", true},
		{"deny alone admits the rest", nil, []any{"10.0.0.0/8"}, "8.8.8.8", true},
		{"deny alone", nil, []any{"10.0.0.0/8"}, "10.1.2.3", false},
		{"the longer prefix allows", []any{"10.1.0.0/16"}, []any{"10.0.0.0/8"}, "10.1.2.3", true},
		{"the longer prefix denies", []any{"10.0.0.0/8"}, []any{"10.1.0.0/16"}, "10.1.2.3", false},
		{"deny on a tie", []any{"10.0.0.0/8"}, []any{"10.0.0.0/8"}, "10.1.2.3", false},
		{"mapped peer of a dual-stack socket", []any{"10.0.0.0/8"}, nil, "::ffff:10.1.2.3", true},
		{"mapped network", []any{"::ffff:10.0.0.0/104"}, nil, "10.1.2.3", true},
		{"IPv4 is not in ::/0", []any{"::/0"}, nil, "10.1.2.3", false},
		{"own network", []any{"local-subnets"}, nil, "192.168.1.77", true},
		{"not own network", []any{"local-subnets"}, nil, "192.168.2.77", false},
		{"link-local peers come with a zone", []any{"local-subnets"}, nil, "fe80::1%eth0", true},
		{"one of the own network is denied", []any{"local-subnets"}, []any{"192.168.1.13"}, "192.168.1.13", false},
		{"own network denied", nil, []any{"local-subnets"}, "192.168.1.13", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s Service
			var errAllow, errDeny error
			s.Allow, errAllow = parseSources(slices.Concat([]any{}, tt.allow))
			s.Deny, errDeny = parseSources(slices.Concat([]any{}, tt.deny))
			if errAllow != nil || errDeny != nil {
				t.Fatal(errAllow, errDeny)
			}
			if got := s.Admits(netip.MustParseAddr(tt.addr), local); got != tt.want {
				t.Errorf("Admits(%s) = %v, want %v", tt.addr, got, tt.want)
			}
		})
	}
}

// TestAdmitsInDoubt: when the machine's IPv4 networks are not all known, no
// client gets in that might have to stay out.
func TestAdmitsInDoubt(t *testing.T) {
	local := Subnets{Networks: []netip.Prefix{netip.MustParsePrefix("192.168.1.5/32"), netip.MustParsePrefix("fe80::/10")}, Incomplete: true}
	tests := []struct {
		name        string
		allow, deny []any
		addr        string
		want        bool
	}{
		{"allow holds what is known", []any{"local-subnets"}, nil, "192.168.1.5", true},
		{"allow does not guess", []any{"local-subnets"}, nil, "192.168.1.6", false},
		{"deny takes everybody", nil, []any{"local-subnets"}, "8.8.8.8", false},
		{"deny wins over a single address", []any{"192.168.1.6"}, []any{"local-subnets"}, "192.168.1.6", false},
		{"a list without the word is not in doubt", []any{"192.168.1.6"}, []any{"192.168.0.0/16"}, "192.168.1.6", true},
		{"IPv6 is known", nil, []any{"local-subnets"}, "2001:db8::1", true},
		{"mapped", nil, []any{"local-subnets"}, "::ffff:8.8.8.8", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s Service
			s.Allow, _ = parseSources(slices.Concat([]any{}, tt.allow))
			s.Deny, _ = parseSources(slices.Concat([]any{}, tt.deny))
			if got := s.Admits(netip.MustParseAddr(tt.addr), local); got != tt.want {
				t.Errorf("Admits(%s) = %v, want %v", tt.addr, got, tt.want)
			}
		})
	}
}

func TestAdmitsUID(t *testing.T) {
	uids, err := parseUIDs([]any{int64(1000), "root"})
	if err != nil {
		t.Fatal(err)
	}
	s := Service{AllowUID: uids}
	if !s.AdmitsUID(1000) || !s.AdmitsUID(0) || s.AdmitsUID(1001) {
		t.Errorf("AllowUID %v admits 1000: %v, 0: %v, 1001: %v", uids, s.AdmitsUID(1000), s.AdmitsUID(0), s.AdmitsUID(1001))
	}
	if !new(Service).AdmitsUID(1001) {
		t.Error("without allow_uid a user is refused")
	}
}

func TestParseSourcesRefuses(t *testing.T) {
	for _, s := range []any{"10.1.2.3/8", "local-subnet", "fe80::1%eth0", "", "10.0.0.0/33", int64(4)} {
		if got, err := parseSources([]any{s}); err == nil {
			t.Errorf("parseSources(%v) = %v, want an error", s, got)
		}
	}
}

func TestParseUnitSources(t *testing.T) {
	got, err := parseUnitSources([]any{"any", "10.0.0.0/8", "::1", "::ffff:1.2.3.4"})
	if want := []string{"any", "10.0.0.0/8", "::1/128", "1.2.3.4/32"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("= %v, %v, want %v", got, err, want)
	}
}
