// SPDX-License-Identifier: Apache-2.0

#include "go_asm.h"
#include "textflag.h"

// func enter(im *image) int
//
// The new process has the caller's stack pointer, and must not use it. System calls keep
// all registers but A0.
TEXT ·enter(SB),NOSPLIT|NOFRAME,$0-16
	MOV	im+0(FP), S2
	ADD	$image_calls, S2, S3 // the call to make
	MOV	call_number(S3), A7
	MOV	(call_args+0)(S3), A0
	MOV	(call_args+8)(S3), A1
	MOV	(call_args+16)(S3), A2
	ECALL
	BEQZ	A0, next
	MOV	A0, ret+8(FP)
	RET
next:
	ADD	$call__size, S3
again:
	MOV	call_number(S3), A7
	MOV	(call_args+0)(S3), A0
	MOV	(call_args+8)(S3), A1
	MOV	(call_args+16)(S3), A2
	MOV	(call_args+24)(S3), A3
	ECALL
	MOV	$-4096, A1
	BGEU	A1, A0, made // A0 <= A1
	MOV	call_must(S3), A1
	BNEZ	A1, failed
made:
	MOV	(call_args+0)(S3), A0
	MOV	call_last(S3), A1
	BGEU	A0, A1, next
	ADD	$1, A0
	MOV	A0, (call_args+0)(S3)
	JMP	again
failed:
	SUB	A0, A1
	MOV	A1, image_failed(S2)
	ADD	$image_exit, S2, S3
	JMP	again
