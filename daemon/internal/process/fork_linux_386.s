// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// func enter(im *image) int
//
// The new process has the caller's stack pointer, and must not use it: so not by the
// vDSO, which does. INT keeps all registers but AX.
TEXT ·enter(SB),NOSPLIT,$0-8
	MOVL	im+0(FP), DI
	LEAL	image_calls(DI), BP // the call to make
	MOVL	call_number(BP), AX
	MOVL	(call_args+0)(BP), BX
	MOVL	(call_args+4)(BP), CX
	MOVL	(call_args+8)(BP), DX
	INT	$0x80
	TESTL	AX, AX
	JEQ	next
	MOVL	AX, ret+4(FP)
	RET
next:
	ADDL	$call__size, BP
again:
	MOVL	call_number(BP), AX
	MOVL	(call_args+0)(BP), BX
	MOVL	(call_args+4)(BP), CX
	MOVL	(call_args+8)(BP), DX
	MOVL	(call_args+12)(BP), SI
	INT	$0x80
	CMPL	AX, $0xfffff001
	JCS	made
	CMPL	call_must(BP), $0
	JNE	failed
made:
	MOVL	(call_args+0)(BP), AX
	CMPL	AX, call_last(BP)
	JCC	next
	INCL	(call_args+0)(BP)
	JMP	again
failed:
	MOVL	call_must(BP), CX
	SUBL	AX, CX
	MOVL	CX, image_failed(DI)
	LEAL	image_exit(DI), BP
	JMP	again
