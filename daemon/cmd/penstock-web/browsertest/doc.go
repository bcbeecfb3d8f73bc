// SPDX-License-Identifier: Apache-2.0

// Package browsertest looks at the page of penstock-web with a real browser, a headless
// Chromium, in front of the two real programs (make web-test). It is a module of its own,
// so that what drives the browser is no dependency of penstock.
package browsertest
