// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"fmt"
	"os/user"
	"strings"
	"testing"
)

// TestDevices: the sandbox opens for what the file names, for reading alone where nobody
// writes, and not at all without a device.
func TestDevices(t *testing.T) {
	bridge := func(name, keys string) string {
		return fmt.Sprintf("[service.%s]\nkind = 'bridge'\nlisten = ['@%s']\n%s\n", name, name, keys)
	}
	const head = "[Service]\nPrivateDevices=no\nDevicePolicy=closed\n"
	const usb = "Wants=modprobe@usbserial.service\nAfter=modprobe@usbserial.service\n"
	const acm = "Wants=modprobe@cdc_acm.service\nAfter=modprobe@cdc_acm.service\n"
	for _, tt := range []struct{ text, want string }{
		{bridge("a", "command = ['/bin/cat']"), ""},
		{bridge("a", "device = '/run/penstock/fifo'"), ""},
		{bridge("a", "device = '/dev/ttyUSB0'"), "[Unit]\n" + usb + "\n" + head + "DeviceAllow=char-ttyUSB r\nSupplementaryGroups=dialout\n"},
		{
			bridge("a", "device = '/dev/ttyUSB0'") + bridge("b", "device = '/dev/ttyUSB1'\nwrite = 'any'") + bridge("c", "device = '/dev/ttyUSB2'"),
			"[Unit]\n" + usb + "\n" + head + "DeviceAllow=char-ttyUSB rw\nSupplementaryGroups=dialout\n",
		},
		{
			bridge("a", "device = '/dev/serial/by-id/usb-x-if00'"),
			"[Unit]\n" + acm + usb + "\n" + head + "DeviceAllow=char-ttyACM r\nDeviceAllow=char-ttyUSB r\nSupplementaryGroups=dialout\n",
		},
		{bridge("a", "device = '/dev/ttyAMA0'\nwrite = 'any'"), head + "DeviceAllow=char-ttyAMA rw\nSupplementaryGroups=dialout\n"},
		{bridge("a", "device = '/dev/ttyS1'"), head + "DeviceAllow=char-ttyS r\nSupplementaryGroups=dialout\n"},
		{
			bridge("a", "device = '/dev/gps0'"),
			"[Unit]\n" + acm + usb + "\n" + head + "DeviceAllow=/dev/gps0 r\nDeviceAllow=char-ttyACM r\nDeviceAllow=char-ttyUSB r\nSupplementaryGroups=dialout\n",
		},
		{
			bridge("a", "device = '/dev/ttyGPS'\nwrite = 'any'"),
			"[Unit]\n" + acm + usb + "\n" + head + "DeviceAllow=/dev/ttyGPS rw\nDeviceAllow=char-ttyACM rw\nDeviceAllow=char-ttyUSB rw\nSupplementaryGroups=dialout\n",
		},
		{
			bridge("a", "device = '/dev/ttyGPS0'"), // a link all the same
			"[Unit]\n" + acm + usb + "\n" + head + "DeviceAllow=/dev/ttyGPS0 r\nDeviceAllow=char-ttyACM r\nDeviceAllow=char-ttyUSB r\nSupplementaryGroups=dialout\n",
		},
		{bridge("a", "device = '/dev/ttymxc2'"), head + "DeviceAllow=char-ttymxc r\nSupplementaryGroups=dialout\n"},
		{bridge("a", "device = '/dev/serial0'"), head + "DeviceAllow=/dev/serial0 r\nDeviceAllow=char-ttyAMA r\nDeviceAllow=char-ttyS r\nSupplementaryGroups=dialout\n"},
		{
			bridge("a", "device = '/dev/rfcomm0'"),
			"[Unit]\nWants=modprobe@rfcomm.service\nAfter=modprobe@rfcomm.service\n\n" + head + "DeviceAllow=char-rfcomm r\nSupplementaryGroups=dialout\n",
		},
		{bridge("a", "device = '/dev/bus/x'"), head + "DeviceAllow=/dev/bus/x r\n"},
		{bridge("a", "device = '/dev/hidraw0'"), head + "DeviceAllow=/dev/hidraw0 r\n"},
		{bridge("a", "device = '/dev/bus/%n \"x'"), head + "DeviceAllow=\"/dev/bus/%%n \\\"x\" r\n"},
	} {
		cfg, err := load(t, tt.text)
		if err != nil {
			t.Fatal(err)
		}
		files, err := Generate("/x", cfg, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range files {
			if f.Name == DevicesDropIn {
				_, got, _ = strings.Cut(f.Text, "\n")
			}
		}
		if _, err := user.LookupGroup("dialout"); err != nil { // the service would not start with it
			tt.want = strings.ReplaceAll(tt.want, "SupplementaryGroups=dialout\n", "")
		}
		if got != tt.want {
			t.Errorf("%s\ngot\n%s\nwant\n%s", tt.text, got, tt.want)
		}
	}
}
