// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// func enter(im *image) int
//
// The new process has the caller's stack pointer, and must not use it. System calls keep
// all registers but R0.
TEXT ·enter(SB),NOSPLIT|NOFRAME,$0-8
	MOVW	im+0(FP), R8
	ADD	$image_calls, R8, R6 // the call to make
	MOVW	call_number(R6), R7
	MOVW	(call_args+0)(R6), R0
	MOVW	(call_args+4)(R6), R1
	MOVW	(call_args+8)(R6), R2
	SWI	$0
	CMP	$0, R0
	BEQ	next
	MOVW	R0, ret+4(FP)
	RET
next:
	ADD	$call__size, R6
again:
	MOVW	call_number(R6), R7
	MOVW	(call_args+0)(R6), R0
	MOVW	(call_args+4)(R6), R1
	MOVW	(call_args+8)(R6), R2
	MOVW	(call_args+12)(R6), R3
	SWI	$0
	MOVW	$0xfffff001, R1
	CMP	R1, R0
	BLO	made
	MOVW	call_must(R6), R1
	CMP	$0, R1
	BNE	failed
made:
	MOVW	(call_args+0)(R6), R0
	MOVW	call_last(R6), R1
	CMP	R1, R0
	BHS	next
	ADD	$1, R0
	MOVW	R0, (call_args+0)(R6)
	B	again
failed:
	SUB	R0, R1
	MOVW	R1, image_failed(R8)
	MOVW	$image_exit, R6
	ADD	R8, R6
	B	again
