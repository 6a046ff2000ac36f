package txn_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"

	"trailhound/consumer/kafka/txn"
	"trailhound/consumer/kafka/wire"
)

// Records for two topics in one transaction, and a second producer of the same transactional
// id, which fences the first.
func Example() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "alerts", "changelog"))
	if err != nil {
		panic(err)
	}
	defer cluster.Close()
	client := wire.NewClient(cluster.ListenAddrs(), nil, nil, nil)
	defer client.Close()

	ctx := context.Background()
	first := txn.Producer{Client: client, ID: "app-shard-0"}
	if err := first.Init(ctx); err != nil {
		panic(err)
	}
	changes := txn.Partition{Topic: "changelog"}
	first.Add(txn.Partition{Topic: "alerts"}, 0, nil, []byte("an alert"))
	first.Add(changes, 0, []byte("counter"), []byte("1"))
	first.Add(changes, 0, []byte("position"), []byte("42"))
	committed, err := first.Commit(ctx)
	if err != nil {
		panic(err)
	}
	next, _ := committed.Next(changes)
	fmt.Println("offset of the commit marker:", next)

	second := txn.Producer{Client: client, ID: "app-shard-0"}
	if err := second.Init(ctx); err != nil {
		panic(err)
	}
	first.Add(changes, 0, []byte("counter"), []byte("2"))
	_, err = first.Commit(ctx)
	fmt.Println("the first producer is fenced:", errors.Is(err, txn.ErrFenced))
	// Output:
	// offset of the commit marker: 2
	// the first producer is fenced: true
}
