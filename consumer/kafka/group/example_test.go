package group_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/wire"
)

// One member of a group works on all partitions, and asks the coordinator before it fences
// their former owner.
func Example() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "trail"))
	if err != nil {
		panic(err)
	}
	defer cluster.Close()
	client := wire.NewClient(cluster.ListenAddrs(), nil, nil, nil)
	defer client.Close()

	ctx, stop := context.WithCancel(context.Background())
	assigned := make(chan group.Assignment, 1)
	member := group.Member{
		Client: client, Group: "app", Instance: "instance-1", Leave: true, Topics: []string{"trail"}, Log: zerolog.Nop(),
		Assigned: func(a group.Assignment) {
			if a.Generation > 0 {
				assigned <- a
			}
		},
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := member.Run(ctx); err != nil {
			panic(err)
		}
	})
	a := <-assigned
	fmt.Println(a.Partitions)
	confirmed, err := member.Confirm(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println("partition 2 is still its own:", confirmed.Has("trail", 2))

	stop()
	running.Wait()
	_, held := member.Current()
	fmt.Println("a member after Run:", held)
	// Output:
	// map[trail:[0 1 2]]
	// partition 2 is still its own: true
	// a member after Run: false
}
