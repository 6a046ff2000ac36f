//go:build !amd64

package rules

const canFollow = false

func follow([]byte, *[maxPlaces]place, *[numFields]span, *run) int { return stopText }
