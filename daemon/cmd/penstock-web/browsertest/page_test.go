// SPDX-License-Identifier: Apache-2.0

package browsertest

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// clientsOf is an expression for the number of clients of a service, as the page has it.
func clientsOf(service string) string {
	return fmt.Sprintf(`parseInt(document.querySelector("#s-%s td[data-label=Clients]").firstChild.data)`, service)
}

// TestLive: the page shows what is served, and what is new without being loaded again.
func TestLive(t *testing.T) {
	s := serve(t)
	b := s.browse(t, 1280, 860)
	b.do(chromedp.Navigate(s.url))
	b.until(`document.getElementById("link").textContent === "live"`)
	eval[bool](b, `window.loadedOnce = true`)
	if rows := eval[int](b, `document.querySelectorAll("#services tbody tr").length`); rows != 5 {
		t.Errorf("%d services", rows)
	}
	first := visit(t, s.lobby)
	first.until("welcome")
	b.until(clientsOf("lobby") + " === 1")
	b.until(`document.querySelectorAll("#clients tbody tr").length === 1`)
	one := visit(t, s.full)
	if _, err := io.WriteString(one, "x"); err != nil {
		t.Fatal(err)
	}
	one.until("x")
	_, _ = io.ReadAll(visit(t, s.full)) // refused: it is for one client
	b.until(`document.getElementById("troubles").textContent.includes("the service was full")`)
	b.until(`document.getElementById("events").textContent.includes("connection refused")`)
	b.until(`document.querySelector("#s-sensor path.line").getAttribute("d").split("L").length > 3`)
	first.leave()
	b.until(clientsOf("lobby") + " === 0")
	if !eval[bool](b, `window.loadedOnce === true`) {
		t.Error("the page was loaded again")
	}
}

// TestTerminal: a browser and a client by the port are in one room.
func TestTerminal(t *testing.T) {
	s := serve(t)
	g := visit(t, s.lobby)
	g.until("welcome")
	b := s.browse(t, 1280, 860)
	b.do(chromedp.Navigate(s.url))
	b.until(`document.getElementById("link").textContent === "live"`)
	b.do(chromedp.Click(chromedp.CSS(`button[data-terminal="lobby"]`)))
	b.until(`document.getElementById("terminal-output").textContent.includes("welcome 127.0.0.1")`)
	b.do(chromedp.SendKeys(chromedp.CSS("#terminal-input"), "hello from the browser"+kb.Enter))
	g.until("hello from the browser")
	if _, err := io.WriteString(g, "hello to the browser\n"); err != nil {
		t.Fatal(err)
	}
	b.until(`document.getElementById("terminal-output").textContent.includes("hello to the browser")`)
	b.until(clientsOf("lobby") + " === 2")
	b.picture("terminal.png")
	b.do(chromedp.Click(chromedp.CSS("#terminal-close")))
	b.until(clientsOf("lobby") + " === 1")

	// A service whose messages end otherwise.
	b.do(chromedp.Click(chromedp.CSS(`button[data-terminal="weather"]`)))
	b.until(`document.getElementById("terminal-state").textContent === "connected"`)
	b.do(chromedp.SendKeys(chromedp.CSS("#terminal-input"), "temp"+kb.Enter))
	b.until(`document.getElementById("terminal-output").textContent.includes("21.5 C\nrain\n")`)
}

// TestKeyboard: all is reached without a mouse, and the focus comes back to where it was,
// also when the page has changed meanwhile.
func TestKeyboard(t *testing.T) {
	s := serve(t)
	b := s.browse(t, 1280, 860)
	b.do(chromedp.Navigate(s.url))
	b.until(`document.getElementById("link").textContent === "live"`)
	b.do(chromedp.KeyEvent(kb.Tab))
	if got := eval[string](b, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first Tab is at %q", got)
	}
	const focus = `document.activeElement.dataset.terminal || ""`
	for range 10 {
		if eval[string](b, focus) == "lobby" {
			break
		}
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	if got := eval[string](b, focus); got != "lobby" {
		t.Fatalf("Tab has come to %q", got)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.getElementById("terminal").open && document.activeElement.id === "terminal-input"`)
	b.until(clientsOf("lobby") + " === 1") // the page goes on behind it
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.getElementById("terminal").open`)
	b.until(clientsOf("lobby") + " === 0")
	if got := eval[string](b, focus); got != "lobby" {
		t.Errorf("the focus is at %q", got)
	}
}

// TestViewports: nothing is cut off on a desk or on a phone, by day or by night, and what
// can be touched is large enough.
func TestViewports(t *testing.T) {
	s := serve(t)
	g := visit(t, s.lobby)
	g.until("welcome")
	one := visit(t, s.full)
	_, _ = io.WriteString(one, "x")
	one.until("x")
	_, _ = io.ReadAll(visit(t, s.full))
	for _, address := range s.busy {
		visit(t, address)
	}
	for _, tt := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"desk", 1280, 1000, "light"}, {"desk-dark", 1280, 1000, "dark"}, {"phone", 390, 844, "light"}, {"phone-dark", 390, 844, "dark"}, {"small", 320, 640, "light"}} {
		t.Run(tt.name, func(t *testing.T) {
			b := s.browse(t, tt.width, tt.height)
			call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: tt.scheme}}})
			b.do(chromedp.Navigate(s.url))
			b.until(`document.querySelector("#s-sensor path.line").getAttribute("d").split("L").length > 4`)
			if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > int(tt.width) {
				t.Errorf("the page is %d wide", wide)
			}
			ground := eval[string](b, `getComputedStyle(document.documentElement).backgroundColor`)
			if dark := strings.HasPrefix(ground, "rgb(1"); dark != (tt.scheme == "dark") {
				t.Errorf("the ground is %s", ground)
			}
			if tt.width < 700 {
				if high := eval[float64](b, `document.querySelector("button[data-terminal]").getBoundingClientRect().height`); high < 36 {
					t.Errorf("a button is %v high", high)
				}
			}
			b.picture(tt.name + ".png")
		})
	}
}

// TestWithoutScript: the page is a table of what was so when it was loaded.
func TestWithoutScript(t *testing.T) {
	s := serve(t)
	g := visit(t, s.lobby)
	g.until("welcome")
	b := s.browse(t, 1280, 860)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.do(chromedp.Navigate(s.url))
	text, err := chromedp.Run(b, chromedp.Text(chromedp.CSS("body")))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lobby", "sensor", "127.0.0.1:", "load again for newer values"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "Terminal\n") {
		t.Error("there is a button that does nothing")
	}
}
