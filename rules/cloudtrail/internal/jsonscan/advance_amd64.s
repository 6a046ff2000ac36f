//go:build !purego

#include "go_asm.h"
#include "textflag.h"

// The bytes that end the plain run of a string: the quote and control characters, which are
// those that are 0x20 at most once bit 1 is flipped; and the backslash.
DATA flips<>+0(SB)/8, $0x0202020202020202
GLOBL flips<>(SB), RODATA|NOPTR, $8
DATA lows<>+0(SB)/8, $0x2020202020202020
GLOBL lows<>(SB), RODATA|NOPTR, $8
DATA slashes<>+0(SB)/8, $0x5c5c5c5c5c5c5c5c
GLOBL slashes<>(SB), RODATA|NOPTR, $8

// COMPARE sets CF unless the bytes of the transition at R12 come next; AX is their number.
#define COMPARE \
	MOVBLZX (node_transition+transition_n)(R12), AX; \
	VMOVDQU (node_transition+transition_bytes)(R12), Y0; \
	VPCMPEQB (DI)(SI*1), Y0, Y0; \
	VPMOVMSKB Y0, DX; \
	NOTL DX; \
	TZCNTL DX, DX; \
	CMPL DX, AX

// func advance(b []byte, f *Predictor, fields *[NumFields]Span, r *position) (stop int)
//
// DI: b, SI: offset, R8: the last offset from which 32 bytes can be loaded.
// R9: leads, R15: number of the node, R12: the node.
// R10: fields, R13: the field of the value at hand, BX: where the value starts.
// R11: r, Y11: all bytes of strings, or-ed, and some behind them.
TEXT ·advance(SB), NOSPLIT, $0-56
	MOVQ b_base+0(FP), DI
	MOVQ b_len+8(FP), R8
	SUBQ $const_minAdvance, R8
	MOVQ f+24(FP), R9
	MOVQ Predictor_nodes(R9), R9
	MOVQ fields+32(FP), R10
	MOVQ r+40(FP), R11
	MOVQ position_i(R11), SI
	MOVQ SI, BX
	VPXOR Y11, Y11, Y11
	MOVWLZX position_at(R11), R15
	MOVQ R15, R12
	SHLQ $6, R12
	ADDQ R9, R12
	MOVBLZX position_want(R11), R13
	VPBROADCASTQ flips<>(SB), Y12
	VPBROADCASTQ lows<>(SB), Y13
	VPBROADCASTQ slashes<>(SB), Y14

text:
	CMPQ SI, R8
	JGT  stopText
	VMOVDQU (DI)(SI*1), Y0
	VPXOR Y0, Y12, Y1
	VPMINUB Y1, Y13, Y2
	VPCMPEQB Y1, Y2, Y2
	VPCMPEQB Y0, Y14, Y3
	VPOR Y0, Y11, Y11
	VPOR Y2, Y3, Y2
	VPMOVMSKB Y2, AX
	TESTL AX, AX
	JNE found
	ADDQ $32, SI
	JMP text

found:
	TZCNTL AX, AX
	CMPB node_mispredictions(R12), $const_maxMispredictions
	JCC measured
	CMPB node_length(R12), AX
	JNE longer
	MOVBLZX node_length(R12), AX
measured:
	ADDQ AX, SI
	CMPB (DI)(SI*1), $0x22
	JNE stopClosing
	CMPL R13, $const_FirstWhole
	JAE stopQuote
	MOVL BX, (R10)(R13*8)
	MOVL SI, 4(R10)(R13*8)
	INCQ SI

next:
	CMPQ SI, R8
	JGT stopNext
	COMPARE
	JCS second

known: // the transition at R12
	MOVBLZX (node_transition+transition_want)(R12), R13
	CMPB (node_transition+transition_rare)(R12), $0
	JNE rare

arrive:
	MOVBLZX (node_transition+transition_text)(R12), DX
	MOVWLZX (node_transition+transition_to)(R12), R15
	ADDQ AX, SI
	MOVQ R15, R12
	SHLQ $6, R12
	ADDQ R9, R12
	MOVQ SI, BX
	TESTL DX, DX
	JNE text

	// A value that is not known to be a string: the span of an earlier member of that name
	// is forgotten. (The end of a string overwrites it.)
	CMPL R13, $const_NumFields
	JHS forgotten
	MOVQ $0, (R10)(R13*8)
forgotten:
	CMPQ SI, R8
	JGT stopValue
	MOVL (DI)(SI*1), AX
	CMPB AX, $0x7b // {
	JEQ object
	CMPB AX, $0x5b // [
	JEQ array
	CMPL AX, $0x6c6c756e // null
	JEQ word
	CMPL AX, $0x65757274 // true
	JEQ word
	CMPL AX, $0x736c6166 // fals
	JEQ false
	SUBB $0x30, AX
	JEQ integer
	CMPB AX, $9
	JHI stopValue

digit:
	INCQ SI
	CMPQ SI, R8
	JGT stopNumber
	MOVBLZX (DI)(SI*1), AX
	SUBB $0x30, AX
	CMPB AX, $9
	JLS digit
	DECQ SI

integer: // SI is its last digit; a fraction or an exponent may follow
	INCQ SI
	MOVBLZX (DI)(SI*1), AX
	CMPB AX, $0x2e // .
	JEQ stopNumber
	ORB $0x20, AX
	CMPB AX, $0x65 // e
	JEQ stopNumber
	JMP next

false:
	CMPB 4(DI)(SI*1), $0x65 // e
	JNE stopValue
	INCQ SI
word:
	ADDQ $4, SI
	JMP next

object:
	MOVWLZX node_object(R12), AX
	JMP open
array:
	MOVWLZX node_array(R12), AX
open:
	TESTL AX, AX
	JEQ stopValue
	CMPL R13, $const_FirstWhole
	JLO opened
	CMPL R13, $const_NumFields
	JHS opened
	MOVL SI, (R10)(R13*8)
opened:
	MOVQ AX, R15
	XORL R13, R13
	MOVQ R15, R12
	SHLQ $6, R12
	ADDQ R9, R12
	INCQ SI
	JMP next

second: // the transition before the last one
	IMUL3Q $nodeInfo__size, R15, R12
	MOVQ f+24(FP), DX
	ADDQ Predictor_infos(DX), R12
	ADDQ $(nodeInfo_before-node_transition), R12
	COMPARE
	JCS stopNext
	JMP known

rare: // the document ends, or a member of the top on the way, or another object is to be looked into
	CMPW (node_transition+transition_to)(R12), $const_done
	JEQ stopNext
	MOVBLZX (node_transition+transition_ends)(R12), DX
	TESTL DX, DX
	JEQ ended
	MOVBLZX (node_transition+transition_endAt)(R12), AX
	ADDL SI, AX
	MOVL AX, 4(R10)(DX*8)
	MOVBLZX (node_transition+transition_n)(R12), AX
ended:
	CMPL R13, $const_NumFields
	JLO arrive
	// The spans inside an earlier member of that name are forgotten: Scanner.clear.
	MOVQ f+24(FP), DX
	MOVBLZX Predictor_textField(DX), CX
	MOVQ $0, (R10)(CX*8)
	LEAL -const_NumFields(R13), CX
	ADDQ CX, CX
	ADDQ DX, CX
	MOVBLZX (Predictor_inside+FieldRange_First)(CX), DX
	MOVBLZX (Predictor_inside+FieldRange_N)(CX), CX
clear:
	TESTL CX, CX
	JEQ arrive
	MOVQ $0, (R10)(DX*8)
	INCQ DX
	DECL CX
	JMP clear

longer:
	MOVB AX, node_length(R12)
	INCB node_mispredictions(R12)
	JMP measured

stopNumber:
	MOVQ BX, SI
	JMP stopValue

stopText:
	MOVQ $const_stopText, AX
	JMP done
stopClosing:
	MOVQ $const_stopClosing, AX
	JMP done
stopQuote:
	MOVQ $const_stopQuote, AX
	JMP done
stopNext:
	MOVQ $const_stopNext, AX
	JMP done
stopValue:
	MOVQ $const_stopValue, AX
done:
	VPMOVMSKB Y11, CX
	VZEROUPPER
	MOVQ SI, position_i(R11)
	MOVQ BX, position_start(R11)
	MOVW R15, position_at(R11)
	MOVB R13, position_want(R11)
	NEGL CX
	SBBQ CX, CX
	MOVQ CX, position_high(R11)
	MOVQ AX, stop+48(FP)
	RET
