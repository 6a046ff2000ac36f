//go:build !amd64

package rules

const canFollow = false

func follow([]byte, *[maxPlaces]lead, *[numFields]span, *run) int { return stopText }
