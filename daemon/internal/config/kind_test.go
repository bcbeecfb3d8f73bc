// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestKinds: each row is whole, and what is told of kinds elsewhere in words
// tells of this one. It is the list of what a new kind still lacks.
func TestKinds(t *testing.T) {
	page, builtin, readme := readText(t, manualPage), readText(t, "builtin.toml"), readText(t, "../../../README.md")
	_, chapter, _ := strings.Cut(page, "\n.Sh KINDS\n")
	chapter, _, _ = strings.Cut(chapter, "\n.Sh ")
	index, _, _ := strings.Cut(page, "\n.Sh LIMITS\n")
	_, overflow, _ := strings.Cut(page, "\n.Sh OVERFLOW\n")
	overflow, _, _ = strings.Cut(overflow, "\n.Sh ")
	for _, row := range kinds {
		t.Run(string(row.name), func(t *testing.T) {
			file := "kind_" + string(row.name) + ".go"
			if _, err := os.Stat(file); err != nil {
				t.Errorf("the row is not in %s: %v", file, err)
			}
			if row.overflow.preset == "" {
				t.Error("the row lacks overflow: what happens at a full queue")
			}
			if s := newService("x", row.name, Limits{}); (s.Of == nil) != (len(row.keys) == 0) {
				t.Errorf("the row has %d keys, and its defaults set Of to %#v", len(row.keys), s.Of)
			}
			if row.leads != "" && !slices.Contains(names(row.keys), row.leads) {
				t.Errorf("leads names %q, which is no key of the row", row.leads)
			}
			heading := regexp.MustCompile(`(?m)^\.Ss ([a-z, ]+, )?` + string(row.name) + `(,|$)`)
			if !heading.MatchString(chapter) {
				t.Errorf("penstock.toml(5) has no section on it under KINDS")
			}
			if !strings.Contains(index, "\n.It Cm "+string(row.name)+"\n") {
				t.Error("the index of kinds at the top of penstock.toml(5) lacks it")
			}
			if !regexp.MustCompile(`\b` + string(row.name) + `\b`).MatchString(overflow) {
				t.Error("OVERFLOW in penstock.toml(5) does not name it")
			}
			if !strings.Contains(builtin, `"`+string(row.name)+`"`) {
				t.Error("builtin.toml does not show it")
			}
			if !regexp.MustCompile("[`\"]" + string(row.name) + "[`\"]").MatchString(readme) {
				t.Error("README does not name it among the uses")
			}
		})
	}
}

// TestIdleDefault: a client of a kind that sends unasked is silent by nature, and
// has no idle limit unless the file sets one.
func TestIdleDefault(t *testing.T) {
	listens := []Kind{KindBridge, KindChargen, KindHandler, KindProxy, KindRoom, KindTicker, KindTail, KindExec}
	for _, row := range kinds {
		want := asking
		if slices.Contains(listens, row.name) {
			want = 0
		}
		if got := newService("x", row.name, Limits{}).IdleTimeout; got != want {
			t.Errorf("%s: idle_timeout is %v, want %v", row.name, got, want)
		}
	}
}

// TestKeyNames: no kind has a key by the name of one that every kind has, and
// none has a key twice.
func TestKeyNames(t *testing.T) {
	common := slices.Concat(names(commonKeys), names(socketKeys))
	for _, row := range kinds {
		seen := slices.Clone(common)
		for _, name := range names(row.keys) {
			if slices.Contains(seen, name) {
				t.Errorf("%s: key %q stands twice", row.name, name)
			}
			seen = append(seen, name)
		}
	}
}

// TestContinues: a reload keeps a service whatever key has changed, but for the kind,
// what ends a message, and whether clients speak TELNET. SameAs sees every change.
func TestContinues(t *testing.T) {
	for _, row := range kinds {
		fields := 0
		if s := newService("x", row.name, Limits{}); s.Of != nil {
			fields = reflect.ValueOf(s.Of).Elem().NumField()
		}
		for i := range fields {
			a, b := newService("x", row.name, Limits{}), newService("x", row.name, Limits{})
			v := reflect.ValueOf(b.Of).Elem()
			change(t, v.Field(i))
			if l, ok := b.Of.(*Lookup); ok && l.Answers != nil {
				l.measure(func() error { return nil }) // as Load does
			}
			name := v.Type().Field(i).Name
			if want := name != "Delimiter" && name != "Telnet"; a.Continues(b) != want {
				t.Errorf("%s: the service continues: %v, although %s has changed", row.name, !want, name)
			}
			if a.SameAs(b) {
				t.Errorf("%s: the services are the same, although %s has changed", row.name, name)
			}
		}
		for _, other := range kinds {
			a, b := newService("x", row.name, Limits{}), newService("x", other.name, Limits{})
			if want := row == other; a.Continues(b) != want {
				t.Errorf("%s continues as %s: %v", row.name, other.name, !want)
			}
		}
	}
	chat, lines := newService("x", KindRoom, Limits{}), newService("x", KindRoom, Limits{})
	chat.Of.(*Room).Preset = PresetTwisted
	if lines.Continues(chat) {
		t.Error("a room continues with another line end")
	}
}

// change gives v another value.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.Zero(v.Type().Key()), reflect.Zero(v.Type().Elem()))
	case reflect.Array:
		change(t, v.Index(0))
	case reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	default:
		t.Fatalf("a key is stored in a %v; say how to change one", v.Type())
	}
}

// TestReadmeExamples: what README shows as a file is one, without a mistake.
func TestReadmeExamples(t *testing.T) {
	blocks := regexp.MustCompile(`(?m)(?:^    .*\n)+`).FindAllString(readText(t, "../../../README.md"), -1)
	n := 0
	for _, block := range blocks {
		if !strings.HasPrefix(block, "    [") {
			continue
		}
		n++
		if _, err := Parse("README.md", []byte(strings.ReplaceAll(block, "\n    ", "\n")[4:])); err != nil {
			t.Errorf("%s%v", block, err)
		}
	}
	if n < 3 {
		t.Errorf("README has %d files, and shows three uses", n)
	}
}

// TestLookupSum: tables of the same questions and answers have one sum, whatever
// order they were read in, and others another, also when they differ in what
// belongs to what alone.
func TestLookupSum(t *testing.T) {
	sum := func(answers string) [2]uint64 {
		c, err := Parse("x.toml", []byte(of(KindLookup)+"answers = "+answers+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		return c.Services[0].Of.(*Lookup).Sum
	}
	want := sum(`{a = "1", b = "2"}`)
	if got := sum(`{b = "2", a = "1"}`); got != want {
		t.Errorf("another order has the sum %x, want %x", got, want)
	}
	for _, other := range []string{`{a = "2", b = "1"}`, `{a = "1", b = "3"}`, `{a = "1"}`, `{ab = "2", a = "1"}`, `{a = "1b2"}`} {
		if sum(other) == want {
			t.Errorf("%s has the same sum", other)
		}
	}
}
