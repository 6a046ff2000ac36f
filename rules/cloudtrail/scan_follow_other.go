//go:build !amd64

package cloudtrail

const canFollow = false

func follow([]byte, *foresight, *[numFields]span, *run) int { return stopText }
