package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// Requests that change something are for programs on this host. They are refused to a page
// in a browser of this host (DNS rebinding: its name resolves to 127.0.0.1 by then), and to
// a sidecar that forwards them from a network.
func TestChangesFromHereOnly(t *testing.T) {
	m := NewMetrics("")
	for _, tt := range []struct {
		from, host, header string // header: "Name: value"
		want               int
	}{
		{"127.0.0.1:5000", "127.0.0.1:9464", "", 200},
		{"127.0.0.1:5000", "localhost:9464", "", 200},
		{"127.0.0.1:5000", "LocalHost", "", 200},
		{"[::1]:5000", "[::1]:9464", "", 200},
		{"[::1]:5000", "[::1]", "", 200},
		{"[::ffff:127.0.0.1]:5000", "127.0.0.1", "", 200},
		{"127.0.0.1:5000", "hound.example:9464", "", 200}, // as in http.listen
		{"127.0.0.1:5000", "127.0.0.1:9464", "Origin: http://127.0.0.1:9464", 200},

		{"127.0.0.1:5000", "evil.example:9464", "", 403},
		{"127.0.0.1:5000", "evil.example", "", 403},
		{"127.0.0.1:5000", "localhost.evil.example:9464", "", 403},
		{"127.0.0.1:5000", "127.0.0.1.evil.example:9464", "", 403},
		{"127.0.0.1:5000", "", "", 403},
		{"127.0.0.1:5000", "127.0.0.1:9464", "Origin: http://evil.example", 403},
		{"127.0.0.1:5000", "127.0.0.1:9464", "Origin: null", 403},
		{"127.0.0.1:5000", "127.0.0.1:9464", "Sec-Fetch-Site: cross-site", 403},
		{"127.0.0.1:5000", "127.0.0.1:9464", "X-Forwarded-For: 192.0.2.1", 403},
		{"127.0.0.1:5000", "127.0.0.1:9464", "Forwarded: for=192.0.2.1", 403},
		{"127.0.0.1:5000", "127.0.0.1:9464", "Via: 1.1 proxy", 403},
		{"127.0.0.6:5000", "127.0.0.1:9464", "", 403},
		{"127.0.0.2:5000", "localhost", "", 403},
		{"192.0.2.1:5000", "127.0.0.1:9464", "", 403},
		{"[::2]:5000", "[::1]:9464", "", 403},
		{"[fe80::1%lo]:5000", "[::1]:9464", "", 403},
		{"@", "127.0.0.1", "", 403}, // a socket that has no address
	} {
		level := m.LogLevel(zerolog.InfoLevel)
		h := (&Server{Metrics: m, Level: level, Name: "hound.example"}).handler()
		r := httptest.NewRequest(http.MethodPut, "/loglevel?level=debug", nil)
		r.RemoteAddr, r.Host = tt.from, tt.host
		if name, value, ok := strings.Cut(tt.header, ": "); ok {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		want := zerolog.InfoLevel
		if tt.want == 200 {
			want = zerolog.DebugLevel
		}
		if w.Code != tt.want || level.Get() != want {
			t.Errorf("PUT /loglevel from %s to %q with %q = %d %q, level %s; want %d, level %s", tt.from, tt.host, tt.header, w.Code, w.Body, level.Get(), tt.want, want)
		}
		// Reading the level is open to all.
		r.Method = http.MethodGet
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 {
			t.Errorf("GET /loglevel from %s to %q = %d; want 200", tt.from, tt.host, w.Code)
		}
	}
}
