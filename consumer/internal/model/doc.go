// Package model is the protocol's proof in executable form: four models, small
// enough to visit every state of them. [routing] goes from the input to the work
// partitions, [detecting] from a work partition to the state and the alerts of its
// shard, [timing] from events to the horizon behind which a shard may forget;
// [aligning] keeps the partitions of a backlog together. README.md has their
// properties and their limits.
//
// Nothing here runs in the product. The steps are named after those of the real
// code, and a rule (R1, D4) stands where it is kept. Each rule can be left out, and
// a test shows the shortest run that goes wrong without it.
package model
