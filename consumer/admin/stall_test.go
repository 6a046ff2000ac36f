package admin

import (
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"trailhound/state"
)

// A local state on a disk that does not answer held up /metrics for as long as that lasted,
// and each scrape left a goroutine behind. The state is left out after a while, and asked once.
func TestStoreThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMetrics("test")
		hung := make(chan struct{})
		var asked atomic.Int32
		m.Watch(Instance{Ready: func() error { return nil }, Store: func() (state.Stats, error) {
			asked.Add(1)
			<-hung
			return state.Stats{DiskBytes: 7}, nil
		}})
		scrape := func() (text string, took time.Duration) {
			began := time.Now()
			w := httptest.NewRecorder()
			promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			return w.Body.String(), time.Since(began)
		}
		for range 3 {
			text, took := scrape()
			if took > storeWithin || !strings.Contains(text, "trailhound_ready 1") || strings.Contains(text, "trailhound_store_disk_bytes 7") {
				t.Errorf("/metrics takes %s while the local state does not answer; want at most %s, and all but the state:\n%s", took, storeWithin, text)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the local state was asked %d times; want once", n)
		}
		close(hung)
		synctest.Wait()
		if text, _ := scrape(); !strings.Contains(text, "trailhound_store_disk_bytes 7") {
			t.Errorf("/metrics when the local state answers again lacks it:\n%s", text)
		}
	})
}
