// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	referenceFile = "reference.toml"
	manualPage    = "../../man/penstock.toml.5"
)

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What reference.toml shows are the defaults.
func TestReferenceDefaults(t *testing.T) {
	c, err := Parse(referenceFile, []byte(readText(t, referenceFile)))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 1 || c.Warnings[0].Key != "mqtt" {
		t.Errorf("the warnings are %v, want that nothing uses the broker", c.Warnings)
	}
	c.Warnings = nil
	want := defaults()
	for _, kind := range slices.Sorted(slices.Values(Kinds())) {
		s := newService(string(kind), kind, want.Limits)
		got := service(t, c, string(kind))
		s.Listen = got.Listen
		switch kind { // what has no default
		case KindExec:
			s.Of.(*Exec).Command = got.Of.(*Exec).Command
		case KindTail:
			s.Of.(*Tail).File = got.Of.(*Tail).File
		case KindHandler:
			s.Of.(*Handler).Command = got.Of.(*Handler).Command
		case KindBridge:
			s.Of.(*Bridge).Device = got.Of.(*Bridge).Device
		case KindProxy:
			s.Of.(*Proxy).To = got.Of.(*Proxy).To
		case KindQOTD:
			s.Of.(*QOTD).Quotes = builtinQuotes
		}
		want.Services = append(want.Services, s)
	}
	want.Web = defaultWeb()
	want.MQTT = &MQTT{Broker: c.MQTT.Broker}
	want.Files = []string{referenceFile}
	opts := cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateComparable(Address{})}
	if diff := cmp.Diff(want, c, opts); diff != "" {
		t.Errorf("-defaults +reference.toml:\n%s", diff)
	}
}

// reference.toml has every key: those of all kinds once, the others in every
// kind that has them.
func TestReferenceComplete(t *testing.T) {
	var tree any
	md, err := toml.Decode(readText(t, referenceFile), &tree)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range names(limitKeys) {
		want = append(want, "limits."+name)
	}
	for _, name := range names(logKeys) {
		want = append(want, "log."+name)
	}
	for _, name := range names(loopKeys) {
		want = append(want, "loop."+name)
	}
	for _, name := range names(controlKeys) {
		want = append(want, "control."+name)
	}
	for _, name := range names(webKeys) {
		want = append(want, "web."+name)
	}
	for _, name := range names(mqttKeys) {
		want = append(want, "mqtt."+name)
	}
	for i, row := range kinds {
		of := names(row.keys)
		if i == 0 {
			of = slices.Concat(names(commonKeys), names(socketKeys), of)
		}
		for _, name := range of {
			want = append(want, fmt.Sprintf("service.%s.%s", row.name, name))
		}
	}
	for _, path := range want {
		if !md.IsDefined(strings.Split(path, ".")...) {
			t.Errorf("reference.toml lacks %s", path)
		}
	}
}

var manualItem = regexp.MustCompile(`(?m)^\.It Ic ([a-z0-9_]+)(?: = (.*))?$`)

// The manual page has every key and no other, and where it states a default it
// is the one of reference.toml.
func TestManualPage(t *testing.T) {
	var ref map[string]map[string]any
	if _, err := toml.DecodeFile(referenceFile, &ref); err != nil {
		t.Fatal(err)
	}
	value := map[string]any{}
	for _, kind := range Kinds() {
		keys, ok := ref["service"][string(kind)].(map[string]any)
		if !ok {
			t.Fatalf("%s has no [service.%s]", referenceFile, kind)
		}
		maps.Copy(value, keys)
	}
	maps.Copy(value, ref["mqtt"])
	maps.Copy(value, ref["web"])                                             // what it has in common with services is stated of these
	maps.Copy(value, ref["service"][string(kinds[0].name)].(map[string]any)) // its common keys are the plain ones
	maps.Copy(value, ref["limits"])
	maps.Copy(value, ref["log"])
	maps.Copy(value, ref["loop"])
	maps.Copy(value, ref["control"])

	known := slices.Concat(names(limitKeys), names(logKeys), names(loopKeys), names(controlKeys), names(webKeys), names(mqttKeys), serviceKeyNames())
	var got []string
	for _, m := range manualItem.FindAllStringSubmatch(readText(t, manualPage), -1) {
		name, text := m[1], strings.NewReplacer(`\(dq`, `"`, `\e`, `\`).Replace(m[2])
		got = append(got, name)
		if text == "" {
			continue
		}
		var stated map[string]any
		if _, err := toml.Decode(name+" = "+text, &stated); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(value[name], stated[name]); diff != "" && name != "per_source" {
			t.Errorf("%s, -reference.toml +manual page:\n%s", name, diff)
		}
	}
	for _, name := range known {
		if !slices.Contains(got, name) {
			t.Errorf("the manual page lacks %s", name)
		}
	}
	for _, name := range got {
		if !slices.Contains(known, name) {
			t.Errorf("the manual page has %s, which is no key", name)
		}
	}
}

// The examples of the manual page are files that work.
func TestManualExamples(t *testing.T) {
	page := readText(t, manualPage)
	blocks := regexp.MustCompile(`(?s)\.Bd -literal[^\n]*\n(.*?)\.Ed`).FindAllStringSubmatch(page, -1)
	tried := 0
	for _, m := range blocks {
		text := strings.NewReplacer(`\e`, `\`, `\&`, "", `\(dq`, `"`).Replace(m[1])
		if !strings.HasPrefix(text, "[") {
			continue // not a configuration
		}
		tried++
		if strings.HasPrefix(text, "[service") {
			text = regexp.MustCompile(`(?m)^file .*\n`).ReplaceAllString(text, "")
		}
		// A drop-in may describe no service, and would not stand alone.
		if _, err := Parse("example", []byte(text)); err != nil && !errors.Is(err, ErrNothing) {
			t.Errorf("%v\nin:\n%s", err, text)
		}
	}
	if tried < 3 {
		t.Errorf("found %d examples, want at least 3", tried)
	}
}
