// SPDX-License-Identifier: Apache-2.0
//
// The server sends the changing part of the page as HTML, the same that the page was
// loaded with. It is put in place node by node, so that what has the focus, is selected or
// is scrolled stays as it is.
"use strict";

const live = document.getElementById("live");
const link = document.getElementById("link");
document.documentElement.classList.add("live");

// patch makes the children of old those of next. Rows have ids, by which they are found
// again when others come or go.
function patch(old, next) {
  let at = old.firstChild;
  for (const n of [...next.childNodes]) {
    const same = n.id ? document.getElementById(n.id) : at;
    if (same && same.parentNode === old && same.nodeName === n.nodeName && (same.id || "") === (n.id || "")) {
      if (same !== at) old.insertBefore(same, at);
      else at = at.nextSibling;
      if (n.nodeType !== Node.ELEMENT_NODE) {
        if (same.data !== n.data) same.data = n.data;
        continue;
      }
      for (const a of [...same.attributes]) if (!n.hasAttribute(a.name)) same.removeAttribute(a.name);
      for (const a of n.attributes) if (same.getAttribute(a.name) !== a.value) same.setAttribute(a.name, a.value);
      patch(same, n);
    } else {
      old.insertBefore(n, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function say(text, lost) {
  if (link.textContent !== text) link.textContent = text;
  link.classList.toggle("lost", lost);
}

let events;
function follow() {
  if (events) return;
  events = new EventSource("/events");
  events.addEventListener("live", (e) => {
    const t = document.createElement("template");
    t.innerHTML = "\n" + e.data + "\n";
    patch(live, t.content);
    say("live", false);
  });
  events.onerror = () => {
    say("the connection was lost; it is tried again", true);
    if (events && events.readyState === EventSource.CLOSED) { // refused: it does not try by itself
      events = undefined;
      setTimeout(look, 5000);
    }
  };
}

// A page that nobody sees asks for nothing.
function look() {
  if (!document.hidden) {
    follow();
  } else if (events) {
    events.close();
    events = undefined;
    say("asleep while it is hidden", false);
  }
}
document.addEventListener("visibilitychange", look);
look();

// The terminal.

const dialog = document.getElementById("terminal");
const output = document.getElementById("terminal-output");
const input = document.getElementById("terminal-input");
const state = document.getElementById("terminal-state");
const longest = 200000; // letters that are kept
let socket;
let end = "\n";
let opener;

// plain takes out what a terminal would act upon, such as colours, and has each line end
// alike, also where its end comes in two pieces.
let returned = false;
function plain(text) {
  const rest = returned && text.startsWith("\n");
  if (text) returned = text.endsWith("\r");
  if (rest) text = text.slice(1);
  return text.replace(/\r\n?/g, "\n").replace(/\x1b\[[0-9;?]*[ -\/]*[@-~]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]/g, "");
}

function print(text, kind) {
  const bottom = output.scrollHeight - output.scrollTop - output.clientHeight < 40;
  const span = document.createElement("span");
  if (kind) span.className = kind;
  span.textContent = plain(text);
  output.append(span);
  while (output.textContent.length > longest) output.firstChild.remove();
  if (bottom) output.scrollTop = output.scrollHeight;
}

function connect(name) {
  const s = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws/" + name + "?binary");
  const decoder = new TextDecoder();
  s.binaryType = "arraybuffer";
  s.onopen = () => { if (s === socket) state.textContent = "connected"; };
  s.onmessage = (e) => { if (s === socket) print(decoder.decode(e.data, { stream: true })); };
  s.onclose = (e) => {
    if (s === socket) state.textContent = e.reason || "not connected; Enter tries again";
  };
  state.textContent = "connecting";
  socket = s;
}

live.addEventListener("click", (e) => {
  const button = e.target.closest("button[data-terminal]");
  if (!button) return;
  opener = button;
  end = JSON.parse(button.dataset.end);
  output.replaceChildren();
  document.getElementById("terminal-name").textContent = button.dataset.terminal;
  dialog.dataset.service = button.dataset.terminal;
  dialog.showModal();
  input.focus();
  connect(button.dataset.terminal);
});

document.getElementById("terminal-form").addEventListener("submit", (e) => {
  e.preventDefault();
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(new TextEncoder().encode(end && input.value.endsWith(end) ? input.value : input.value + end));
    print(input.value + "\n", "sent");
    input.value = "";
  } else if (socket.readyState === WebSocket.CLOSED) {
    connect(dialog.dataset.service);
  }
});

document.getElementById("terminal-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => {
  const s = socket;
  socket = undefined;
  if (s) s.close();
  if (opener) opener.focus();
});
