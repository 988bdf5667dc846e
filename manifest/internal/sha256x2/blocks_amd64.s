//go:build !purego

#include "textflag.h"

// Registers:
//   SI X1 X2 X3-X6      message a: where it is read, its state, four groups of four words
//   DI X7 X8 X9-X12     message b likewise
//   AX                  round constants
//   X0                  the instruction's own operand: words and constants of a group
//   X13                 order of bytes
//   X14                 scratch

// LOAD takes 16 bytes of a message as four words into w.
#define LOAD(offset, from, w) \
	MOVOU  offset(from), w \
	PSHUFB X13, w

// ROUNDS does the four rounds of the words w.
#define ROUNDS(offset, w, s0, s1) \
	MOVO        w, X0          \
	PADDD       offset(AX), X0 \
	SHA256RNDS2 X0, s0, s1     \
	PSHUFD      $0x0e, X0, X0  \
	SHA256RNDS2 X0, s1, s0

// EXTEND finishes the words next, from w and those before it.
#define EXTEND(before, w, next) \
	MOVO       w, X14          \
	PALIGNR    $4, before, X14 \
	PADDD      X14, next       \
	SHA256MSG2 w, next

// The groups of rounds: the first four read the message; from the second on the
// words of four groups later are begun, from the fourth on finished.
#define FIRST(offset, w0, v0) \
	LOAD(offset, SI, w0)        \
	ROUNDS(offset, w0, X1, X2)  \
	LOAD(offset, DI, v0)        \
	ROUNDS(offset, v0, X7, X8)

#define SECOND(offset, w3, w0, v3, v0) \
	FIRST(offset, w0, v0) \
	SHA256MSG1 w0, w3     \
	SHA256MSG1 v0, v3

#define FOURTH(offset, w3, w0, w1, v3, v0, v1) \
	LOAD(offset, SI, w0)       \
	ROUNDS(offset, w0, X1, X2) \
	EXTEND(w3, w0, w1)         \
	SHA256MSG1 w0, w3          \
	LOAD(offset, DI, v0)       \
	ROUNDS(offset, v0, X7, X8) \
	EXTEND(v3, v0, v1)         \
	SHA256MSG1 v0, v3

#define MIDDLE(offset, w3, w0, w1, v3, v0, v1) \
	ROUNDS(offset, w0, X1, X2) \
	EXTEND(w3, w0, w1)         \
	SHA256MSG1 w0, w3          \
	ROUNDS(offset, v0, X7, X8) \
	EXTEND(v3, v0, v1)         \
	SHA256MSG1 v0, v3

#define LATE(offset, w3, w0, w1, v3, v0, v1) \
	ROUNDS(offset, w0, X1, X2) \
	EXTEND(w3, w0, w1)         \
	ROUNDS(offset, v0, X7, X8) \
	EXTEND(v3, v0, v1)

#define LAST(offset, w0, v0) \
	ROUNDS(offset, w0, X1, X2) \
	ROUNDS(offset, v0, X7, X8)

// func blocks(stateA, stateB *state, a, b *byte, n int)
TEXT ·blocks(SB), NOSPLIT, $64-40
	MOVQ  stateA+0(FP), R8
	MOVQ  stateB+8(FP), R9
	MOVQ  a+16(FP), SI
	MOVQ  b+24(FP), DI
	MOVQ  n+32(FP), CX
	LEAQ  ·constants(SB), AX
	MOVOU order<>(SB), X13
	MOVOU 0(R8), X1
	MOVOU 16(R8), X2
	MOVOU 0(R9), X7
	MOVOU 16(R9), X8

block:
	MOVOU X1, before-64(SP)
	MOVOU X2, before-48(SP)
	MOVOU X7, before-32(SP)
	MOVOU X8, before-16(SP)

	FIRST(0, X3, X9)
	SECOND(16, X3, X4, X9, X10)
	SECOND(32, X4, X5, X10, X11)
	FOURTH(48, X5, X6, X3, X11, X12, X9)
	MIDDLE(64, X6, X3, X4, X12, X9, X10)
	MIDDLE(80, X3, X4, X5, X9, X10, X11)
	MIDDLE(96, X4, X5, X6, X10, X11, X12)
	MIDDLE(112, X5, X6, X3, X11, X12, X9)
	MIDDLE(128, X6, X3, X4, X12, X9, X10)
	MIDDLE(144, X3, X4, X5, X9, X10, X11)
	MIDDLE(160, X4, X5, X6, X10, X11, X12)
	MIDDLE(176, X5, X6, X3, X11, X12, X9)
	MIDDLE(192, X6, X3, X4, X12, X9, X10)
	LATE(208, X3, X4, X5, X9, X10, X11)
	LATE(224, X4, X5, X6, X10, X11, X12)
	LAST(240, X6, X12)

	MOVOU before-64(SP), X0
	PADDD X0, X1
	MOVOU before-48(SP), X0
	PADDD X0, X2
	MOVOU before-32(SP), X0
	PADDD X0, X7
	MOVOU before-16(SP), X0
	PADDD X0, X8

	ADDQ $64, SI
	ADDQ $64, DI
	DECQ CX
	JNZ  block

	MOVOU X1, 0(R8)
	MOVOU X2, 16(R8)
	MOVOU X7, 0(R9)
	MOVOU X8, 16(R9)
	RET

// Words are big-endian in the message.
DATA order<>+0(SB)/8, $0x0405060700010203
DATA order<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL order<>(SB), (NOPTR+RODATA), $16
