// SPDX-License-Identifier: MIT

//go:build linux

package control

import (
	"fmt"
	"html"
	"net/http"
)

const landingPage = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>ebpf-upgrader</title></head>
<body>
<h1>ebpf-upgrader</h1>
<p>Upgrades running rag-rat servers to a new binary. Version %s.</p>
<ul>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="/healthz">/healthz</a>: does the service answer?</li>
<li><a href="/readyz">/readyz</a>: does it serve?</li>
</ul>
<p>For more, run <code>ebpf-upgrader status</code> on the host.</p>
</body>
</html>
`

// landing is for a browser that was given the address only.
func (s *Server) landing(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	_, _ = fmt.Fprintf(w, landingPage, html.EscapeString(s.cfg.Info.Version))
}
