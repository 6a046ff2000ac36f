package cloudtrail

import "golang.org/x/sys/cpu"

// canFollow reports whether this processor has what follow needs.
var canFollow = cpu.X86.HasAVX2 && cpu.X86.HasBMI1

// follow reads on in b, from inside the string that r says, as long as all goes
// as foreseen, and takes r along. It stops at what it leaves to scanner.value:
// whatever it has not met before at this place, escapes, and numbers that are not
// whole or negative. It needs minFollow bytes. Nothing can interrupt it.
//
//go:noescape
func follow(b []byte, f *foresight, fields *[numFields]span, r *run) (stop int)
