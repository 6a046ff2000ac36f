//go:build !amd64

package rules

const canFollow = false

func follow([]byte, *foresight, *[numFields]span, *run) int { return stopText }
