// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/view"
)

// An idl is a description, taken apart: the text between the brackets of each member,
// without comments and spaces, by kind and name.
type idl map[string][]string

var member = regexp.MustCompile(`(type|method|error) (\w+) ?(\([^()]*\))(?: -> (\([^()]*\)))?`)

func parseIDL(text string) idl {
	text = regexp.MustCompile(`(?m)#.*$`).ReplaceAllString(text, "")
	out := idl{}
	for _, m := range member.FindAllStringSubmatch(text, -1) {
		for _, fields := range m[3:] {
			out[m[1]+" "+m[2]] = append(out[m[1]+" "+m[2]], strings.Join(strings.Fields(fields), ""))
		}
	}
	return out
}

// shape returns what the fields of a struct are in the language of a description.
func shape(t *testing.T, v any) string {
	var fields []string
	for f := range reflect.TypeOf(v).Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		typ := typeName(t, f.Type)
		if options != "" && typ[0] != '?' {
			typ = "?" + typ
		}
		fields = append(fields, name+":"+typ)
	}
	return "(" + strings.Join(fields, ",") + ")"
}

var named = map[reflect.Type]string{
	reflect.TypeFor[view.Loop]():      "Loop",
	reflect.TypeFor[view.Listener]():  "Listener",
	reflect.TypeFor[view.Traffic]():   "Traffic",
	reflect.TypeFor[view.Source]():    "Source",
	reflect.TypeFor[view.Service]():   "Service",
	reflect.TypeFor[view.Conn]():      "Connection",
	reflect.TypeFor[view.Peer]():      "Peer",
	reflect.TypeFor[view.Companion](): "Companion",
	reflect.TypeFor[time.Time]():      "string",
	reflect.TypeFor[[]byte]():         "string", // in base64
	reflect.TypeFor[Message]():        "Message",
	reflect.TypeFor[Event]():          "Event",
	reflect.TypeFor[Piece]():          "Piece",
}

func typeName(t *testing.T, typ reflect.Type) string {
	if name, ok := named[typ]; ok {
		return name
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return "?" + typeName(t, typ.Elem())
	case reflect.Slice:
		return "[]" + typeName(t, typ.Elem())
	case reflect.Map:
		return "[string]" + typeName(t, typ.Elem())
	case reflect.String, reflect.Bool:
		return typ.Kind().String()
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "int"
	}
	t.Errorf("%v is not in the description", typ)
	return fmt.Sprint(typ)
}

// TestDescription: the description has the types of this program, field by field and in
// order, and nothing else.
func TestDescription(t *testing.T) {
	const peer = "(address:?string,uid:?int,pid:?int)" // it has a method for JSON of its own
	none := struct{}{}
	want := idl{
		"type Loop":             {shape(t, view.Loop{}), ""},
		"type Listener":         {shape(t, view.Listener{}), ""},
		"type Traffic":          {shape(t, view.Traffic{}), ""},
		"type Source":           {shape(t, view.Source{}), ""},
		"type Service":          {shape(t, view.Service{}), ""},
		"type Connection":       {shape(t, view.Conn{}), ""},
		"type Peer":             {peer, ""},
		"method Status":         {shape(t, none), shape(t, Status{})},
		"method Services":       {shape(t, ServiceFilter{}), shape(t, Services{})},
		"method List":           {shape(t, ServiceFilter{}), shape(t, Connections{})},
		"method Connect":        {shape(t, Target{}), shape(t, none)},
		"error Refused":         {"(reason:string)", ""},
		"error ExpectedUpgrade": {"()", ""},
		"error NoSuchService":   {"(service:string)", ""},
		"error Stopping":        {"()", ""},

		"method Kick":            {shape(t, Kick{}), shape(t, Kicked{})},
		"method Drain":           {shape(t, Drain{}), "()"},
		"method Resume":          {shape(t, Resume{}), "()"},
		"method Reload":          {"()", shape(t, Reloaded{})},
		"method SetLogLevel":     {shape(t, LogLevel{}), "()"},
		"error NoSuchConnection": {"(id:int)", ""},

		"type Message":   {shape(t, Message{}), ""},
		"method Join":    {shape(t, Joining{}), shape(t, Joined{})},
		"method Publish": {shape(t, Publication{}), shape(t, Published{})},
		"method Present": {shape(t, Presence{}), shape(t, none)},
		"type Companion": {shape(t, view.Companion{}), ""},
		"method Tell":    {"(companion:string,state:string)", "()"},
		"type Event":     {shape(t, Event{}), ""},
		"method Watch":   {shape(t, Watching{}), shape(t, Events{})},
		"type Piece":     {shape(t, Piece{}), ""},
		"method Tap":     {shape(t, Tapping{}), shape(t, Pieces{})},
	}
	compare(t, parseIDL(Description), want)
	standard := parseIDL(StandardDescription)
	for name := range standard {
		if strings.HasPrefix(name, "error") {
			delete(standard, name)
		}
	}
	compare(t, standard, idl{
		"method GetInfo":                 {shape(t, none), shape(t, Info{})},
		"method GetInterfaceDescription": {shape(t, InterfaceName{}), shape(t, DescriptionReply{})},
	})
}

func compare(t *testing.T, got, want idl) {
	t.Helper()
	for name, w := range want {
		if g := got[name]; !reflect.DeepEqual(g, w) {
			t.Errorf("%s is described as\n%v\nthe program has\n%v", name, g, w)
		}
	}
	for name := range got {
		if want[name] == nil {
			t.Errorf("%s is described, and this test does not know it", name)
		}
	}
}
