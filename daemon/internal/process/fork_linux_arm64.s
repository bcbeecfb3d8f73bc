// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// func enter(im *image) int
//
// The new process has the caller's stack pointer, and must not use it. System calls keep
// all registers but R0.
TEXT ·enter(SB),NOSPLIT|NOFRAME,$0-16
	MOVD	im+0(FP), R19
	ADD	$image_calls, R19, R20 // the call to make
	MOVD	call_number(R20), R8
	MOVD	(call_args+0)(R20), R0
	MOVD	(call_args+8)(R20), R1
	MOVD	(call_args+16)(R20), R2
	SVC
	CBZ	R0, next
	MOVD	R0, ret+8(FP)
	RET
next:
	ADD	$call__size, R20
again:
	MOVD	call_number(R20), R8
	MOVD	(call_args+0)(R20), R0
	MOVD	(call_args+8)(R20), R1
	MOVD	(call_args+16)(R20), R2
	MOVD	(call_args+24)(R20), R3
	SVC
	CMN	$4095, R0
	BCC	made
	MOVD	call_must(R20), R1
	CBNZ	R1, failed
made:
	MOVD	(call_args+0)(R20), R0
	MOVD	call_last(R20), R1
	CMP	R1, R0
	BHS	next
	ADD	$1, R0
	MOVD	R0, (call_args+0)(R20)
	B	again
failed:
	SUB	R0, R1
	MOVD	R1, image_failed(R19)
	ADD	$image_exit, R19, R20
	B	again
