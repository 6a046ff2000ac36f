//go:build !purego

package jsonscan

import "golang.org/x/sys/cpu"

// hasAVX2 reports whether this processor has the instructions that advance needs.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasBMI1

// advance reads on in b, from inside the string that r is in, as long as all goes as
// predicted, and moves r. It stops for Scanner.Value at mispredictions, escapes, and
// numbers that are not whole or negative. It needs minAdvance bytes. Nothing can interrupt
// it.
//
//go:noescape
func advance(b []byte, f *Predictor, fields *[NumFields]Span, r *position) (stop int)
