// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBridgeKeys: a bridge has one source, and what cannot be meant is said.
func TestBridgeKeys(t *testing.T) {
	const at = "x.toml:4: service.x."
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"device='/dev/ttyUSB0'", nil},
		{"device='/dev/ttyUSB0'\ncommand=[]", nil},
		{"command=['/bin/cat']", nil},
		{"device='/dev/x'\ndelimiter=''\ngap='5ms'", nil},
		{"", []string{`x.toml:1: service.x.device: missing, want the path of a device such as "/dev/ttyUSB0", or "command"`}},
		{"command=['/bin/cat']\ndevice='/dev/x'", []string{at + "command: a bridge has one source, and there is a device already"}},
		{"device='ttyUSB0'", []string{at + `device: "ttyUSB0" is not an absolute path`}},
		{"gap='5ms'\ndevice='/dev/x'", []string{at + `gap: has no effect beside a delimiter, want delimiter = ""`}},
		{"mode='8X1'\ndevice='/dev/x'", []string{at + `mode: "8X1" is not a mode such as "8N1", "7E1" or "8N2"`}},
		{"device='/dev/x'\nwrite='transaction'", nil},
		{"device='/dev/x'\nwrite='transaction'\ndelimiter=''\ngap='5ms'", nil},
		{"device='/dev/x'\nwrite='transaction'\ndelimiter=''\nreply_gap='5ms'", nil},
		{"device='/dev/x'\nwrite='transaction'\ndelimiter=''", []string{`x.toml:1: service.x.reply_gap: missing: without a delimiter only a pause ends a reply, want reply_gap = "20ms" or a gap`}},
		{"reply_timeout='0s'\ndevice='/dev/x'", []string{at + `reply_timeout: 0s is not in 1ms..10m0s`}},
		{"device='/dev/x'\nqueue=256\nbanner='" + strings.Repeat("x", 300) + "'", []string{"x.toml:6: service.x.banner: has 300 bytes, more than queue (256) takes"}},
		{"mode=8\ndevice='/dev/x'", []string{at + `mode: is an integer, want a string such as "8N1"`}},
		{"speed=0\ndevice='/dev/x'", []string{at + "speed: 0 is not in 1..20000000"}},
		{"rs485='rts-on-send'\nrs485_before='2ms'\nrs485_after='3ms'\ndevice='/dev/x'", nil},
		{"rs485_after='3ms'\ndevice='/dev/x'", []string{at + `rs485_after: has no effect without rs485, want rs485 = "rts-on-send" or "rts-after-send"`}},
		{"rs485_after='1500us'\ndevice='/dev/x'", []string{at + "rs485_after: 1.5ms is not a whole number of milliseconds"}},
		{"telnet='rfc2217'\ndevice='/dev/x'", nil},
		{"telnet='rfc2217'\ncommand=['/bin/cat']", []string{at + "telnet: there is no line to set: the source is a program"}},
		{"notice='{name}'\ndevice='/dev/x'", []string{at + "notice: {name} is not one of {state}"}},
		{"overflow='pause'\ndevice='/dev/x'", []string{at + `overflow: "pause" is not for kind "bridge": nobody may stop the source; want "drop-oldest", "drop-newest", "disconnect"`}},
	} {
		if diff := cmp.Diff(tt.want, mistakes(t, of(KindBridge)+tt.text+"\n")); diff != "" {
			t.Errorf("%q, -want +got:\n%s", tt.text, diff)
		}
	}
	c, err := Parse("x.toml", []byte(of(KindBridge)+"device='/dev/x'\nreply_timeout='2s'\nreply_gap='1s'\n"))
	if err != nil || fmt.Sprint(c.Warnings) != "x.toml:5: service.x.reply_timeout: warning: has no effect without write = \"transaction\"\nx.toml:6: service.x.reply_gap: warning: has no effect without write = \"transaction\"\n" {
		t.Errorf("keys of transactions without them: %v, %v", c.Warnings, err)
	}
	c, err = Parse("x.toml", []byte(of(KindBridge)+"command=['/bin/cat']\nspeed=1200\ndtr='off'\nmode='8N1'\n"))
	if err != nil || fmt.Sprint(c.Warnings) != "x.toml:5: service.x.speed: warning: has no effect: the source is a program\nx.toml:6: service.x.dtr: warning: has no effect: the source is a program\n" {
		t.Errorf("keys of a device beside a program: %v, %v", c.Warnings, err)
	}
	c, err = Parse("x.toml", []byte(of(KindBridge)+"device='/dev/x'\nenv={X='y'}\ndirectory='/usr'\n"))
	if err != nil || fmt.Sprint(c.Warnings) != "x.toml:5: service.x.env: warning: has no effect: the source is a device\nx.toml:6: service.x.directory: warning: has no effect: the source is a device\n" {
		t.Errorf("keys of a program beside a device: %v, %v", c.Warnings, err)
	}
}
