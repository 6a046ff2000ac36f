package admin

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// The source addresses of requests from this host alone. The rest of 127.0.0.0/8 is not
// among them: a sidecar of Istio forwards requests of a network from 127.0.0.6.
var loopback4, loopback6 = netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()

// fromHere serves a handler that changes something to programs on this host alone: /metrics
// and the probes may be open to a network.
func (s *Server) fromHere(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.local(r); err != nil {
			http.Error(w, fmt.Sprintf("%s %s is for programs on this host only: %v", r.Method, r.URL.Path, err), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// local is nil for a request of a program on this host that meant this server. A page
// in a browser is neither: its name is resolved to a loopback address only after the
// page has been loaded (DNS rebinding), and it stands in Host and Origin.
func (s *Server) local(r *http.Request) error {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return fmt.Errorf("the address %q is not known", r.RemoteAddr)
	}
	if ip := peer.Addr().Unmap(); ip != loopback4 && ip != loopback6 {
		return fmt.Errorf("%s is not %s or %s", ip, loopback4, loopback6)
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "Via"} {
		if r.Header.Get(name) != "" {
			return fmt.Errorf("a proxy has handed the request on, which has a header %s", name)
		}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && !strings.EqualFold(host, "localhost") && (s.Name == "" || !strings.EqualFold(host, s.Name)) {
		return fmt.Errorf("it was sent to %q, which is neither an address nor localhost, nor the name in http.listen", host)
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return fmt.Errorf("a page in a browser has sent it: %w", err)
	}
	return nil
}
