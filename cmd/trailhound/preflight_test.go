package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Obstacles that a service would meet again and again while it runs are reported in one
// sentence, by its start and by topics check.
func TestPreflight(t *testing.T) {
	for name, c := range map[string]struct {
		configs map[string]string
		spoil   func(*kfake.Cluster)
		set     []string
		want    []string
	}{
		"transactions too long": {map[string]string{"transaction.max.timeout.ms": "5000"}, nil, []string{"kafka.transaction_timeout=15s"},
			[]string{"kafka.transaction_timeout is 15s, but the brokers allow at most 5s (transaction.max.timeout.ms=5000)"}},
		"session too short": {map[string]string{"group.min.session.timeout.ms": "60000", "group.max.session.timeout.ms": "90000"}, nil, []string{"kafka.session_timeout=45s"},
			[]string{"kafka.session_timeout is 45s, but the brokers allow from 1m to 1m30s"}},
		"no transactions": {nil, func(cluster *kfake.Cluster) { withoutRequest(cluster, kmsg.InitProducerID) }, nil,
			[]string{"these brokers have no transactions", "does not offer InitProducerId requests"}},
		"no coordinator of transactions": {nil, func(cluster *kfake.Cluster) {
			cluster.ControlKey(int16(kmsg.FindCoordinator), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				asked := req.(*kmsg.FindCoordinatorRequest)
				if asked.CoordinatorType != 1 {
					return nil, nil, false
				}
				res := asked.ResponseKind().(*kmsg.FindCoordinatorResponse)
				res.ErrorCode, res.ErrorMessage = kerr.InvalidRequest.Code, kmsg.StringPtr("coordinator with type code 1 is not supported")
				return res, nil, true
			})
		}, nil, []string{"these brokers have no transactions", "INVALID_REQUEST (42)", "coordinator with type code 1 is not supported"}},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := fakeCluster(t, kfake.BrokerConfigs(c.configs))
			s := newSite(t, cluster.ListenAddrs(), 1)
			s.must("", "topics", "create")
			if c.spoil != nil {
				c.spoil(cluster)
			}
			for _, args := range [][]string{{"run"}, {"topics", "check"}} {
				r := s.command("", append(sets(c.set), args...)...)
				for _, want := range c.want {
					if r.code != exitFailed || len(lines(r.stderr)) != 1 || !strings.Contains(r.stderr, want) {
						t.Errorf("%q = %d, %q; want 1 and one line with %q", args, r.code, r.stderr, want)
					}
				}
			}
		})
	}
}

// withoutRequest makes the brokers offer all requests but one.
func withoutRequest(cluster *kfake.Cluster, without kmsg.Key) {
	cluster.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		res := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		for key := range int16(kmsg.MaxKey) {
			r := kmsg.RequestForKey(key)
			if r == nil || key == int16(without) {
				continue
			}
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MaxVersion = key, min(r.MaxVersion(), 12)
			res.ApiKeys = append(res.ApiKeys, k)
		}
		return res, nil, true
	})
}
