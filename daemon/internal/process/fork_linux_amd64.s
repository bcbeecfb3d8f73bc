// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// func enter(im *image) int
//
// The new process has the caller's stack pointer, and must not use it. System calls keep
// all registers but AX, CX and R11.
TEXT ·enter(SB),NOSPLIT,$0-16
	MOVQ	im+0(FP), BX
	LEAQ	image_calls(BX), R12 // the call to make
	MOVQ	call_number(R12), AX
	MOVQ	(call_args+0)(R12), DI
	MOVQ	(call_args+8)(R12), SI
	MOVQ	(call_args+16)(R12), DX
	SYSCALL
	TESTQ	AX, AX
	JEQ	next
	MOVQ	AX, ret+8(FP)
	RET
next:
	ADDQ	$call__size, R12
again:
	MOVQ	call_number(R12), AX
	MOVQ	(call_args+0)(R12), DI
	MOVQ	(call_args+8)(R12), SI
	MOVQ	(call_args+16)(R12), DX
	MOVQ	(call_args+24)(R12), R10
	SYSCALL
	CMPQ	AX, $0xfffffffffffff001
	JCS	made
	CMPQ	call_must(R12), $0
	JNE	failed
made:
	MOVQ	(call_args+0)(R12), AX
	CMPQ	AX, call_last(R12)
	JCC	next
	INCQ	(call_args+0)(R12)
	JMP	again
failed:
	MOVQ	call_must(R12), CX
	SUBQ	AX, CX
	MOVQ	CX, image_failed(BX)
	LEAQ	image_exit(BX), R12
	JMP	again
