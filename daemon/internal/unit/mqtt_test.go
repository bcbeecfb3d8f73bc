// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"strings"
	"testing"
)

// TestMQTT: a broker and a service that names it have the companion run where it is
// installed, with the way to that broker and no other, and with its files.
func TestMQTT(t *testing.T) {
	const room = "[service.a]\nkind = \"room\"\nlisten = [\"127.0.0.1:7\"]\n"
	const names = "mqtt = { room = \"a\" }\n"
	generate := func(broker, service string, m *Machine) map[string]string {
		t.Helper()
		text := service
		if broker != "" {
			text = "[mqtt]\nbroker = \"" + broker + "\"\n" + service
		}
		cfg, mistakes := load(t, text)
		if mistakes != nil {
			t.Fatal(mistakes)
		}
		files, err := Generate("/etc/penstock/penstock.toml", cfg, nil, m)
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		for _, f := range files {
			texts[f.Name] = f.Text
		}
		return texts
	}
	there := &Machine{MQTT: true}
	for name, files := range map[string]map[string]string{
		"not installed": generate("mqtt://b.lan", room+names, &Machine{}),
		"not named":     generate("mqtt://b.lan", room, there),
		"no table":      generate("", room, there),
		"masked":        generate("mqtt://b.lan", room+names, &Machine{MQTT: true, Overrides: func(string) Override { return Masked }}),
	} {
		if _, ok := files[MQTTDropIn]; ok || WantsMQTT(files[TargetDropIn]) {
			t.Errorf("%s: penstock-mqtt is to run", name)
		}
	}
	for broker, want := range map[string]string{
		"mqtt://b.lan":              "[Service]\nPrivateNetwork=no\nRestrictAddressFamilies=AF_INET AF_INET6\nIPAddressAllow=any\nX-Table=",
		"mqtt://192.0.2.1":          "[Service]\nPrivateNetwork=no\nRestrictAddressFamilies=AF_INET\nIPAddressAllow=192.0.2.1\nX-Table=",
		"mqtts://[2001:db8::1]":     "[Service]\nPrivateNetwork=no\nRestrictAddressFamilies=AF_INET6\nIPAddressAllow=2001:db8::1\nX-Table=",
		"mqtt://[fe80::1]:1%eth0":   "[Service]\nPrivateNetwork=no\nRestrictAddressFamilies=AF_INET6\nIPAddressAllow=fe80::1\nX-Table=",
		"unix:/run/mosquitto/m.skt": "[Service]\nX-Table=",
	} {
		files := generate(broker, room+names, there)
		if text := files[MQTTDropIn]; !strings.Contains(text, want) {
			t.Errorf("%s:\n%s\nlacks\n%s", broker, text, want)
		}
		if target := files[TargetDropIn]; !WantsMQTT(target) || !strings.Contains(target, "\nWants="+MQTTService+"\n") || strings.Contains(target, "Upholds="+MQTTService) || !StartsService(target) {
			t.Errorf("%s: the target has\n%s", broker, target)
		}
		if strings.Contains(files[ServiceDropIn], "mqtt") {
			t.Errorf("the daemon has\n%s", files[ServiceDropIn])
		}
	}
	secrets := "password_file = \"/etc/penstock/a b\"\nuser = \"u\"\nca_file = \"/c\"\ncert_file = \"/d\"\nkey_file = \"/e\"\n"
	text := generate("mqtts://b.lan", secrets+room+names, there)[MQTTDropIn]
	for _, want := range []string{
		"LoadCredential=\"password:/etc/penstock/a b\"\nSetCredential=password:unreadable\n",
		"LoadCredential=ca:/c\nSetCredential=ca:unreadable\n", "LoadCredential=cert:/d\n", "LoadCredential=key:/e\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the drop-in lacks %q:\n%s", want, text)
		}
	}
	was := generate("mqtt://b.lan", room+names, there)[MQTTDropIn]
	for _, service := range []string{room + "history = 5\n" + names, room + "mqtt = { room = \"b\" }\n"} {
		if generate("mqtt://b.lan", service, there)[MQTTDropIn] == was {
			t.Errorf("%s changes nothing", service)
		}
	}
	if generate("mqtt://b.lan", room+"welcome = \"hello\"\n"+names, there)[MQTTDropIn] != was {
		t.Error("what penstock-mqtt does not read restarts it")
	}
}
